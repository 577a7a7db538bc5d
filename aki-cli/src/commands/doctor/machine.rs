//! Processor, memory and the folder where compiled kernels are kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Problem, chosen, gigabytes};

#[derive(Serialize)]
pub struct Processor {
    name: Option<String>,
    /// Threads that may run at a time.
    threads: usize,
    architecture: &'static str,
    /// Vector instructions that the kernels for CPUs have code for, and whether this processor has them.
    instructions: BTreeMap<&'static str, bool>,
}

impl Processor {
    pub fn read() -> Self {
        #[cfg(target_arch = "x86_64")]
        let instructions = BTreeMap::from([
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ]);
        #[cfg(target_arch = "aarch64")]
        let instructions =
            BTreeMap::from([("neon", std::arch::is_aarch64_feature_detected!("neon"))]);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let instructions = BTreeMap::new();
        Self {
            name: value("/proc/cpuinfo", "model name"),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            architecture: std::env::consts::ARCH,
            instructions,
        }
    }

    pub fn text(&self) -> String {
        let [with, without] = [true, false].map(|has| chosen(&self.instructions, has));
        let name = self.name.as_deref().unwrap_or(self.architecture);
        let without = match without.as_str() {
            "" => String::new(),
            names => format!("; without {names}"),
        };
        format!("{name}, {} threads, {with}{without}", self.threads)
    }

    pub fn problem(&self) -> Option<Problem> {
        let lacks = |wanted: &str| self.instructions.get(wanted) == Some(&false);
        (lacks("avx2") || lacks("fma")).then(|| {
            Problem::new(
                "this processor has no AVX2 with FMA: CPU inference is several times slower",
                "use a GPU, or a machine from 2013 or later; virtual machines may hide AVX2 (choose the processor type \"host\")",
            )
        })
    }
}

#[derive(Clone, Copy, Serialize)]
pub struct Memory {
    pub total: u64,
    /// What may be had without anything being swapped out.
    pub available: u64,
}

impl Memory {
    /// What the kernel says, less than which a container may be allowed; none where that is not known.
    pub fn read() -> Option<Self> {
        let kilobytes = |name: &str| {
            let text = value("/proc/meminfo", name)?;
            text.trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        let mut memory = Self {
            total: kilobytes("MemTotal")? * 1024,
            available: kilobytes("MemAvailable")? * 1024,
        };
        let bytes = |file: &str| {
            let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        if let (Some(limit), Some(used)) = (bytes("memory.max"), bytes("memory.current")) {
            memory.total = memory.total.min(limit);
            memory.available = memory.available.min(limit.saturating_sub(used));
        }
        Some(memory)
    }

    pub fn text(&self) -> String {
        let (total, available) = (gigabytes(self.total), gigabytes(self.available));
        format!("{total}, of which {available} are free")
    }

    pub fn problem(&self) -> Option<Problem> {
        (self.available < 1 << 30).then(|| {
            Problem::new(
                format!("only {} of memory are free", gigabytes(self.available)),
                "close other programs, or choose a smaller model or fewer bits",
            )
        })
    }
}

/// A value of a line `name : value` in a file of the kernel's.
fn value(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// Where kernels for GPUs are kept from one start to the next.
#[derive(Serialize)]
pub struct Cache {
    folder: Option<PathBuf>,
    bytes: u64,
    writable: bool,
}

impl Cache {
    pub fn look() -> Self {
        #[cfg(feature = "cube")]
        let folder = Some(crate::device::kernel_folder());
        #[cfg(not(feature = "cube"))]
        let folder: Option<PathBuf> = None;
        Self {
            bytes: folder.as_deref().map_or(0, size),
            writable: folder.as_deref().is_some_and(is_writable),
            folder,
        }
    }

    pub fn text(&self) -> String {
        let Some(folder) = &self.folder else {
            return "none: this aki computes on no GPU".to_owned();
        };
        let writable = match self.writable {
            true => "writable",
            false => "not writable",
        };
        format!(
            "{}, {}, {writable}",
            folder.display(),
            gigabytes(self.bytes)
        )
    }

    pub fn problem(&self) -> Option<Problem> {
        let folder = self.folder.as_ref().filter(|_| !self.writable)?;
        Some(Problem::new(
            format!(
                "the cache folder {} is not writable: kernels for GPUs are compiled anew at every start",
                folder.display()
            ),
            "make it writable, or set XDG_CACHE_HOME to a folder that is",
        ))
    }
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Whether a file can be made in a folder, or in the one that would be its parent: nothing is left behind.
fn is_writable(folder: &Path) -> bool {
    let there = folder.ancestors().find(|folder| folder.exists());
    there.is_some_and(|folder| folder.is_dir() && tempfile::tempfile_in(folder).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_a_file_is_not_writable() {
        let place = tempfile::tempdir().unwrap();
        assert!(is_writable(&place.path().join("a/b")));
        std::fs::write(place.path().join("file"), "12345").unwrap();
        assert!(!is_writable(&place.path().join("file/b")));
        assert_eq!(size(place.path()), 5);
    }
}
