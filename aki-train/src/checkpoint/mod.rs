//! Checkpoints: `checkpoints/{stage}/step-{n}/` with all that a run needs to go on as if nothing had
//! happened.
//!
//! | file | what is in it |
//! |---|---|
//! | `model.bpk` | the network's weights |
//! | `optimizer.bpk` | master weights and moments; `optimizer-{rank}.bpk` where ranks keep a share each |
//! | `schedule.bpk` | the learning rate's schedule |
//! | `data.json` | where the sources stand; `data-{rank}.json` of several ranks |
//! | `state.json` | what else the strategy keeps |
//! | `manifest.json` | names, sizes and BLAKE3 sums of the others, and of itself |
//!
//! Files are written in the background into `step-{n}.part`, the manifest last, all on the disk before the
//! folder gets its name, and the logs of the steps up to there with them: a folder without that ending is
//! whole, or was damaged later. The order of samples
//! in memory is a function of the seed and the step. Validation losses, by which the best are kept, stand
//! in `metrics.jsonl` alone.

mod keep;
mod manifest;
mod rank;
mod record;
mod resume;
mod saved;
mod state;
mod whole;
mod writer;

pub(crate) use keep::best;
pub use manifest::{Fault, FileSum, MANIFEST, Manifest};
pub use rank::Rank;
pub(crate) use record::Always;
pub use record::FileWriter;
pub(crate) use resume::{OLD, remains};
pub use resume::{remove, remove_partial, resume, set_aside};
pub(crate) use saved::copy;
pub use saved::{Checkpoint, list, newest};
pub use writer::Checkpoints;
