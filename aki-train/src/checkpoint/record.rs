//! The learner's records on their way to a checkpoint, through Burn's learner.

use burn::train::checkpoint::{
    Checkpoint as BurnCheckpoint, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use super::manifest::FileSum;
use super::writer::Checkpoints;

/// Writes one of the learner's records, on a thread of Burn's.
pub struct FileWriter {
    pub(super) checkpoints: Checkpoints,
    pub(super) name: &'static str,
}

impl<R: BurnCheckpoint> Checkpointer<R> for FileWriter {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        let Some(name) = self.checkpoints.rank().record(self.name) else {
            return Ok(());
        };
        let folder = self.checkpoints.partial(step);
        // Burn has the file on the disk before it gets its name. It is read back for its sum, from
        // memory as a rule, so that it need not be in memory a second time.
        let written = std::fs::create_dir_all(&folder)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                record
                    .save(folder.join(&name))
                    .map_err(|error| plain(&error))
            })
            .and_then(|()| FileSum::of(&folder, &name).map_err(|error| error.to_string()));
        self.checkpoints.put(step, written)
    }

    /// Never called: [`Checkpoints`] removes old ones itself, since Burn would wait for the writing.
    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    /// Never called: [`Checkpoint`](super::Checkpoint) reads them.
    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        let reason = format!("checkpoint {step} is not read by its writer");
        Err(CheckpointerError::Unknown(reason))
    }
}

/// What went wrong, without the ranks of errors it went through.
fn plain(error: &CheckpointerError) -> String {
    let text = match error {
        CheckpointerError::IOError(error) => error.to_string(),
        CheckpointerError::Record(error) => error.to_string(),
        CheckpointerError::Unknown(text) => text.clone(),
    };
    let text = text.trim_start_matches("Record I/O error: ");
    text.trim_start_matches("I/O error: ").to_owned()
}

/// Has Burn save whenever it is asked; [`Checkpoints::begin`] says when to ask.
pub(crate) struct Always;

impl CheckpointingStrategy for Always {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}
