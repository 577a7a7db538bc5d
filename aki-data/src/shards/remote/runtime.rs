//! Waits for what is asynchronous.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::attempts::Failure;

/// Waits for something that a store does, no longer than `limit`.
///
/// All stores share one runtime with one thread, which is started when the first is
/// asked. It moves bytes from sockets into small buffers; what is done with them is
/// done by the caller's thread.
pub(super) fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, Failure> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    if Handle::try_current().is_ok() {
        // Waiting would stop the tasks that are waited for.
        return Err(Failure::lasting(
            "remote shards cannot be read from within an asynchronous task; use a thread",
        ));
    }
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(1).thread_name("data-remote");
        builder.enable_all().build().map_err(|e| e.to_string())
    });
    let runtime = runtime.as_ref().map_err(Failure::lasting)?;
    let result = runtime.block_on(async { tokio::time::timeout(limit, what).await });
    result.map_err(|_| Failure::passing(format!("nothing came for {} s", limit.as_secs_f64())))
}
