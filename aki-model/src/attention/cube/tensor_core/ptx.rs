//! Instructions that CubeCL has no function for.

use cubecl::prelude::*;

/// Closes a group of asynchronous copies.
#[cube]
pub fn copies_commit() {
    gpu_asm!("cp.async.commit_group;");
}

/// Waits until no more than `pending` of the unit's groups of copies are under way. The others'
/// copies are there after the next barrier of the cube.
#[cube]
pub fn copies_wait(#[comptime] pending: usize) {
    gpu_asm!("cp.async.wait_group {n};", n = const pending);
}

/// `2^x` in one instruction, within 2 units in the last place; 0 for results below the smallest
/// normal number.
#[cube]
pub fn exp2(x: f32) -> f32 {
    let power: f32;
    gpu_asm!("ex2.approx.ftz.f32 {o}, {i};", o = out(_) power, i = in(_) x, options(nomem, pure));
    power
}
