//! Which of a checkpoint's files a process writes.

pub(super) const MODEL: &str = "model.bpk";
pub(super) const OPTIMIZER: &str = "optimizer.bpk";
pub(super) const SCHEDULE: &str = "schedule.bpk";
pub(super) const DATA: &str = "data.json";
pub(super) const STATE: &str = "state.json";

/// One of the processes that train together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub world: usize,
    /// Whether each keeps a share of the optimizer's state.
    pub sharded: bool,
}

/// The name of a rank's own file among those of several.
pub(super) fn share_of(name: &str, rank: usize) -> String {
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    format!("{stem}-{rank}.{ending}")
}

impl Rank {
    /// A process that trains alone.
    pub const ALONE: Self = Self {
        rank: 0,
        world: 1,
        sharded: false,
    };

    /// The name of this rank's own file.
    pub fn of(self, name: &str) -> String {
        match self.world {
            1 => name.to_owned(),
            _ => share_of(name, self.rank),
        }
    }

    /// The file with what this rank keeps of the optimizer's state.
    pub(super) fn optimizer(self) -> String {
        match self.sharded {
            true => self.of(OPTIMIZER),
            false => OPTIMIZER.to_owned(),
        }
    }

    /// The name under which this rank writes one of the learner's records, if it does.
    pub(super) fn record(self, name: &str) -> Option<String> {
        match name {
            OPTIMIZER if self.sharded => Some(self.optimizer()),
            _ => (self.rank == 0).then(|| name.to_owned()),
        }
    }
}
