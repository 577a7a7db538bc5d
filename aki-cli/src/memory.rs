//! How the program gets its memory.

/// Keeps memory that is freed for what comes next. Called before threads begin.
///
/// A step of training allocates and frees tensors of the same sizes as the step before. By default
/// glibc gives the large ones back to the system each time, which then maps and zeroes every page of
/// them anew.
pub fn keep() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        // No block is mapped by itself, and the end of the heap is not given back.
        (libc::M_MMAP_MAX, 0),
        (libc::M_TRIM_THRESHOLD, -1),
        // One heap for all threads: those of threads have 64 MiB, and give back what is whole.
        (libc::M_ARENA_MAX, 1),
    ] {
        // SAFETY: it sets a number of the allocator, under its lock.
        unsafe { libc::mallopt(parameter, value) };
    }
}
