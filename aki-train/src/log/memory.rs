//! How much memory training has in use.

use burn::tensor::Device;

/// Bytes in use: what a GPU's allocator has taken from it, or what the process has resident on a CPU.
/// Nothing where the system does not say.
///
/// To be called from the thread that computes: on a GPU it drains that thread's queue of operations.
pub fn memory_in_use(device: &Device) -> Option<u64> {
    match device.memory_pool_usage() {
        Some(usage) => Some(usage.bytes_reserved),
        None => resident(),
    }
}

#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    // "VmRSS:     1234 kB"
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim();
    Some(kilobytes.parse::<u64>().ok()? << 10)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_becomes_resident() {
        let device = Device::flex();
        let before = memory_in_use(&device).expect("Linux says");
        let mib = vec![1_u8; 64 << 20];
        let after = memory_in_use(&device).expect("Linux says");
        // Other tests may free some meanwhile.
        assert!(
            after > 32 << 20 && after + (64 << 20) > before,
            "{before}, then {after}"
        );
        assert_eq!(mib.len(), 64 << 20);
    }
}
