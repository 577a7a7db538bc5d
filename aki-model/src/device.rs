//! What a device is.

#[cfg(feature = "flex")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether it is the CPU with Burn's Flex, whose tensors lie in the program's own memory.
pub fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    if let DispatchDevice::Flex(_) = device.clone().without_autodiff().as_dispatch() {
        return true;
    }
    let _ = device;
    false
}
