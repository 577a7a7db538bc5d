//! What a device is.

#[cfg(any(feature = "flex", feature = "wgpu"))]
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

/// The most bytes that a tensor can have: on WGPU, what a kernel sees of a buffer. Others have no such end.
pub(crate) fn max_tensor_bytes(device: &Device) -> Option<u64> {
    #[cfg(feature = "wgpu")]
    if let DispatchDevice::Cube(device @ burn_cubecl::CubeDevice::Wgpu(_)) =
        device.clone().without_autodiff().as_dispatch()
    {
        return Some(device.client().properties().memory.max_page_size);
    }
    let _ = device;
    None
}
