//! `aki serve`.

use std::path::Path;

use aki_train::folder::ModelFolder;
use anyhow::Result;

use super::Done;
use crate::args::ServeArgs;
use crate::serve::{self, Settings};

pub fn run(args: ServeArgs) -> Result<Done> {
    let name = args.name.unwrap_or_else(|| name_of(&args.model));
    let (device, _) = args.device.open()?;
    let mut model = ModelFolder::load(&args.model, args.dtype.map(Into::into), &device)?;
    if args.chat_template {
        model.use_chat_template()?;
    }
    let settings = Settings {
        name,
        addr: args.addr,
        queue: args.queue,
        grace: serve::seconds(args.grace),
    };
    serve::run(model, settings)?;
    Ok(Done::Interrupted)
}

/// The name of a folder.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize();
    let name = whole.as_deref().unwrap_or(folder).file_name();
    name.map_or_else(
        || "aki".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
