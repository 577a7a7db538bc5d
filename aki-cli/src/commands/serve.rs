//! `aki serve`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Done, open_model};
use crate::args::ServeArgs;
use crate::serve::{self, Fetcher, Settings};

/// Where the key may stand; as an argument every user of the machine would see it.
const KEY: &str = "AKI_API_KEY";

pub fn run(args: ServeArgs) -> Result<Done> {
    let key = key(args.api_key_file.as_deref())?;
    let max_body = usize::from(args.max_body) << 20;
    let fetcher = match &args.images_from[..] {
        [] => None,
        hosts => Some(Fetcher::new(hosts, max_body)?),
    };
    let listener = serve::listen(&args.addr)?;
    let (model, _) = open_model(&args.model, args.dtype, args.chat_template, args.device)?;
    // A tokenizer without tags for turns is told now, and not to every client.
    model.prompt("?", &[])?;
    let settings = Settings {
        name: args.name.unwrap_or_else(|| name_of(&args.model)),
        key,
        queue: args.queue.into(),
        connections: args.connections.into(),
        max_body,
        max_pictures: args.max_pictures.into(),
        fetcher,
        max_tokens: args.max_tokens as usize,
        max_prompt: args.max_prompt as usize,
        upright: args.exif_orientation || model.config.exif_orientation,
        time_limit: Duration::from_secs(args.time_limit),
        patience: Duration::from_secs(args.patience),
        grace: Duration::from_secs(args.grace),
    };
    serve::run(model, listener, settings)?;
    Ok(Done::Interrupted)
}

/// The hash of the key that clients must send, if there is one.
fn key(file: Option<&Path>) -> Result<Option<blake3::Hash>> {
    let (key, whence) = match (file, std::env::var_os(KEY)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => bail!("{KEY} is set and --api-key-file is given; use one of them"),
        (None, Some(key)) => (key.to_string_lossy().into_owned(), KEY.to_owned()),
        (Some(file), None) => {
            let name = file.display().to_string();
            let key = std::fs::read_to_string(file);
            (key.with_context(|| format!("cannot read {name}"))?, name)
        }
    };
    let key = key.trim();
    let fit = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        fit,
        "the key in {whence} must be one word of ASCII characters"
    );
    Ok(Some(blake3::hash(key.as_bytes())))
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
