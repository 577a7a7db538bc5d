//! Which tile a kernel works with, measured by CubeCL's autotune: once for each device, kernel,
//! dtype, head size and order of magnitude of the lengths; kept between starts where CubeCL keeps
//! its caches.

use std::fmt::Debug;
use std::sync::Arc;

use burn_cubecl::CubeTuneId;
use burn_cubecl::tensor::CubeTensor;
use cubecl::AutotuneKey;
use cubecl::ir::ElemType;
use cubecl::tune::{LocalTuner, Tunable, TunableSet, local_tuner};
use serde::{Deserialize, Serialize};

use super::sizes::Shapes;
use crate::attention::engine::tell_once;

/// No kernel offers more tiles.
const CANDIDATES: usize = 4;

/// What a choice of tile is good for; lengths and rows count by their next power of two.
#[derive(Hash, Eq, PartialEq, Debug, Clone, Serialize, Deserialize, AutotuneKey)]
pub struct AttentionKey {
    kernel: String,
    dtype: ElemType,
    head_dim: usize,
    #[autotune(anchor)]
    heads: usize,
    #[autotune(anchor)]
    query_len: usize,
    #[autotune(anchor)]
    key_len: usize,
}

/// A kernel that can be launched with any of its tiles, on the same tensors each time.
#[derive(Clone)]
struct Job {
    key: AttentionKey,
    candidates: usize,
    launch: Arc<dyn Fn(usize) + Send + Sync>,
}

/// Launches a kernel with the fastest of its tiles; `launch` writes what it computes to tensors of
/// its own, the same whichever tile it is given.
pub fn tuned<T: Copy + Debug + Send + Sync + 'static>(
    kernel: &str,
    like: &CubeTensor,
    dtype: ElemType,
    shapes: Shapes,
    tiles: Vec<T>,
    launch: impl Fn(T) + Send + Sync + 'static,
) {
    static TUNER: LocalTuner<AttentionKey, CubeTuneId> = local_tuner!();
    if let [tile] = tiles[..] {
        return launch(tile);
    }
    assert!(tiles.len() <= CANDIDATES, "more tiles than are tried");
    let key = AttentionKey::new(
        kernel.to_owned(),
        dtype,
        shapes.head_dim,
        shapes.batch * shapes.heads,
        shapes.query_len,
        shapes.key_len,
    );
    let id = CubeTuneId::new(&like.client, &like.device);
    let set = TUNER.init(&id, || {
        let set = TunableSet::<_, Job, (), usize>::new_cloning_inputs(|job: &Job| job.key.clone());
        (0..CANDIDATES).fold(set, |set, at| {
            set.with(Tunable::identified(at, move |job: Job| {
                if at >= job.candidates {
                    return Err("the kernel has fewer tiles".to_owned());
                }
                (job.launch)(at);
                Ok(())
            }))
        })
    });
    let choices = tiles.clone();
    let job = Job {
        key: key.clone(),
        candidates: tiles.len(),
        launch: Arc::new(move |at| launch(tiles[at])),
    };
    TUNER.execute(&id, &like.client, set.clone(), job);
    if let Some(at) = TUNER.fastest_identity(&id, &set, &key) {
        tell_once(&format!(
            "attention: {key} was fastest with {:?}",
            choices[at]
        ));
    }
}
