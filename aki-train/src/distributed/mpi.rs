//! MPI, as far as it is needed.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Equivalence, Root, Source};

use super::Ranks;
use crate::TrainError;

/// What is to be done if the program was started as several that do not see each other.
pub(super) const NO_OTHERS: &str = "but MPI sees no other; start it with the mpirun of the MPI \
    library that this aki was built with, or with srun --mpi=pmix";

/// Numbers that are added up at a time, 64 MB of `f32`: enough that the network is busy, and twice
/// that is held beside the gradients.
const PIECE: usize = 1 << 24;

/// Bytes that are sent at a time; MPI counts in 32 bits.
const MESSAGE: usize = 1 << 30;

/// The mark of the message that an error is being told.
const TOLD: i32 = 1;

/// How far apart ranks are that find the same.
const MOMENT: Duration = Duration::from_millis(1500);

/// Dropped, it ends this process's part in MPI, which waits for the others.
pub(super) struct Session {
    _universe: Option<Universe>,
}

/// Begins MPI if the program was `started` as several. (On its own it need not: some libraries want
/// a network for it.)
pub(super) fn begin(started: bool) -> Result<(Session, Ranks), TrainError> {
    if !started {
        return Ok((Session { _universe: None }, Ranks::ALONE));
    }
    // The learner's thread alone speaks to the others.
    let begun = mpi::initialize_with_threading(Threading::Serialized);
    let (universe, threading) =
        begun.ok_or_else(|| TrainError::Request("MPI was begun twice".to_owned()))?;
    if threading < Threading::Funneled {
        return Err(TrainError::Request(
            "this MPI library cannot be used by a program with threads; build it with \
             MPI_THREAD_FUNNELED"
                .to_owned(),
        ));
    }
    let world = universe.world();
    let machine = world.split_shared(world.rank());
    let number = |number: i32| number as usize;
    let ranks = Ranks::new(
        number(world.rank()),
        number(world.size()),
        number(machine.rank()),
    );
    let session = Session {
        _universe: Some(universe),
    };
    Ok((session, ranks))
}

/// Adds up what all ranks have, place by place.
///
/// Each rank adds up its share of the places, in the order of the ranks, and gives the others the
/// sums: as many bytes as the best algorithms of the libraries, whose order is theirs.
pub(super) fn sum<T: Equivalence + AddAssign + Copy + Default>(values: &mut [T]) {
    let world = SimpleCommunicator::world();
    let ranks = world.size() as usize;
    for values in values.chunks_mut(PIECE) {
        let share = values.len().div_ceil(ranks);
        let mut all = values.to_vec();
        all.resize(share * ranks, T::default());
        let mut shares = vec![T::default(); share * ranks];
        world.all_to_all_into(&all[..], &mut shares[..]);
        let (sums, others) = shares.split_at_mut(share);
        for other in others.chunks_exact(share) {
            for (sum, &value) in sums.iter_mut().zip(other) {
                *sum += value;
            }
        }
        world.all_gather_into(&sums[..], &mut all[..]);
        values.copy_from_slice(&all[..values.len()]);
    }
}

pub(super) fn broadcast(bytes: &mut [u8], from: usize) {
    let world = SimpleCommunicator::world();
    let from = world.process_at_rank(from as i32);
    for bytes in bytes.chunks_mut(MESSAGE) {
        from.broadcast_into(bytes);
    }
}

/// Waits without keeping a core busy, as MPI's own does: it may take as long as an evaluation.
pub(super) fn barrier() {
    let mut waited = SimpleCommunicator::world().immediate_barrier();
    let mut pause = Duration::from_micros(20);
    while let Err(waiting) = waited.test() {
        waited = waiting;
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

/// Tells an error and has the launcher end all ranks, unless another rank already does.
pub(super) fn end_all(ranks: Ranks, tell: impl FnOnce() -> u8) -> ! {
    if !ranks.are_several() {
        std::process::exit(i32::from(tell()));
    }
    let world = SimpleCommunicator::world();
    if is_told(&world, ranks) {
        // The launcher takes the other's exit code, which is there first.
        std::thread::sleep(MOMENT);
        std::process::exit(1);
    }
    for other in (0..ranks.world_size()).filter(|&other| other != ranks.rank()) {
        // So short a message waits for no one.
        let other = world.process_at_rank(other as i32);
        other.send_with_tag(&1_u8, TOLD);
    }
    let code = tell();
    // It is on its way to the terminal through the launcher.
    std::thread::sleep(Duration::from_millis(100));
    world.abort(i32::from(code))
}

/// Whether another rank tells an error. Rank 0 goes first, since what all find comes at about the
/// same time; of others the lowest.
fn is_told(world: &SimpleCommunicator, ranks: Ranks) -> bool {
    let first = match ranks.rank() {
        0 => Duration::ZERO,
        rank => MOMENT + Duration::from_millis(10) * rank as u32,
    };
    let begun = Instant::now();
    loop {
        let note = world.any_process().immediate_probe_with_tag(TOLD);
        if note.is_some() || begun.elapsed() > first {
            return note.is_some();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
