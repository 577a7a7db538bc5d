//! The `[[stage]]` of the run file.

use super::ImportError;
use super::settings::{Settings, or};

/// Refuses what is no instruction tuning, or is driven in a way that runs here don't know.
pub(super) fn check_kind(settings: &mut Settings) -> Result<(), ImportError> {
    for (key, known) in [
        ("loss", "supervised_finetune"),
        ("lr_scheduler", "cosine"),
        ("training_config.template", "default"),
    ] {
        if let Some(value) = settings.text(key)?
            && value != known
        {
            let reason = format!("only \"{known}\" can be imported, not \"{value}\"");
            return Err(settings.fault(key, &reason));
        }
    }
    for (key, known) in [("num_epochs", 1), ("gradient_accumulation_steps", 1)] {
        if let Some(value) = settings.whole(key)?
            && value != known
        {
            let reason = format!("only {known} can be imported, not {value}");
            return Err(settings.fault(key, &reason));
        }
    }
    Ok(())
}

/// The `[[stage]]`.
pub(super) fn stage(
    settings: &mut Settings,
    notices: &mut Vec<String>,
) -> Result<String, ImportError> {
    let key = "training_config.total_training_steps";
    if settings.get(key)?.and_then(serde_json::Value::as_i64) == Some(-1) {
        let reason = "-1 goes by the sizes of the data sets, which are not known here; write the \
                      number of steps";
        return Err(settings.fault(key, reason));
    }
    let steps = or(settings.whole(key)?, 50_000, key, notices);
    let key = "training_config.batch_size";
    let batch = or(settings.whole(key)?, 4, key, notices);
    notices.push(format!(
        "{key}: {batch} is a GPU's; the original's script starts 8, {} pictures a step",
        batch.saturating_mul(8)
    ));
    let key = "training_config.max_length";
    let length = or(settings.whole(key)?, 512, key, notices);
    // The start of the text counts too.
    let length = length + 1;
    let checkpoints = or(
        settings.whole("checkpoint_steps")?,
        1000,
        "checkpoint_steps",
        notices,
    );
    let warmup = or(
        settings.whole("warmup_steps")?,
        150,
        "warmup_steps",
        notices,
    );
    let mut rate = |key, usual| Ok(or(settings.number(key)?, usual, key, notices));
    let lr = rate("learning_rate", 2e-5)?;
    let min_lr = rate("min_lr", 1e-6)?;
    let decay = rate("weight_decay", 1e-4)?;
    Ok(format!(
        "[[stage]]\nname = \"sft\"\ntarget = \"sources\"\nattention = \"mma\"\nsteps = {steps}\n\
         batch = {batch}\nmax_text_len = {length}\nthreads = 1\n\
         evaluate_every = 1000\ncheckpoint_every = {checkpoints}\naugmentation = \"reference\"\n\
         freeze = [\"vision_encoder.*\"]\n\
         optimizer = {{ lr = {lr:?}, min_lr = {min_lr:?}, warmup_steps = {warmup}, \
         weight_decay = {decay:?}, clip_norm = 1.0 }}\n"
    ))
}
