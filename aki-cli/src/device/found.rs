//! Which GPUs there are, as their drivers describe them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A device beside the CPU that this program can compute on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// As `--device` calls it, such as `wgpu:0`.
    pub device: String,
    /// As it calls itself.
    pub name: String,
    /// What it is spoken to through, such as CUDA, Vulkan or Metal.
    pub backend: String,
    /// The driver and its version; empty where it does not say.
    pub driver: String,
    pub kind: Kind,
    pub limits: Option<Limits>,
    /// Whether it computes in f16.
    pub f16: bool,
}

/// What WGPU allows on an adapter; CUDA sets no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a buffer at most.
    pub max_buffer: u64,
    /// Bytes of a buffer that a kernel sees at most, which is how large a tensor can be.
    pub max_binding: u64,
}

/// What a device is; the earlier ones are taken rather than the later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Discrete,
    /// Part of a card, or a card lent to a virtual machine.
    Virtual,
    Integrated,
    /// OpenGL does not say what its device is.
    Unknown,
    /// A driver that computes on the CPU, more slowly than this program does there itself.
    Software,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Virtual => "virtual GPU",
            Self::Integrated => "integrated GPU",
            Self::Unknown => "GPU",
            Self::Software => "software",
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{} is {}, {}", self.device, self.name, self.kind)?;
        write!(out, ", {}", self.backend)?;
        if !self.driver.is_empty() {
            write!(out, ", driver {}", self.driver)?;
        }
        if let Some(Limits {
            max_buffer,
            max_binding,
        }) = self.limits
        {
            let mib = max_binding.min(max_buffer) >> 20;
            write!(out, ", tensors of up to {mib} MiB")?;
        }
        out.write_str(if self.f16 { ", f16" } else { ", no f16" })
    }
}

/// Every GPU that this program was built for and finds, CUDA's cards before WGPU's adapters. Cards are opened
/// to ask their names, adapters are not.
pub fn found() -> Vec<Found> {
    [cuda(), wgpu()].concat()
}

#[cfg(feature = "cuda")]
fn cuda() -> Vec<Found> {
    use burn::tensor::{Device, DeviceType};
    let cards = Device::enumerate(DeviceType::Cuda).into_vec();
    let card = |(number, card): (usize, Device)| Found {
        device: format!("cuda:{number}"),
        name: card.identity().map_or_else(String::new, |it| it.name),
        backend: "CUDA".to_owned(),
        driver: String::new(),
        kind: Kind::Discrete,
        limits: None,
        f16: true,
    };
    cards.into_iter().enumerate().map(card).collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Vec<Found> {
    Vec::new()
}

/// WGPU's adapters, in the order in which Burn numbers them: those of the one interface that it takes here.
#[cfg(feature = "wgpu")]
pub fn wgpu() -> Vec<Found> {
    use burn::cubecl::future::block_on;
    use burn::cubecl::wgpu::wgpu::{DeviceType, Features, Instance, InstanceDescriptor};
    use burn::cubecl::wgpu::{AutoGraphicsApi, GraphicsApi};

    let backend = AutoGraphicsApi::backend();
    let instance = Instance::new(InstanceDescriptor {
        backends: backend.into(),
        ..InstanceDescriptor::new_without_display_handle()
    });
    let mut found = Vec::new();
    for adapter in block_on(instance.enumerate_adapters(backend.into())) {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let kind = match info.device_type {
            DeviceType::DiscreteGpu => Kind::Discrete,
            DeviceType::IntegratedGpu => Kind::Integrated,
            DeviceType::VirtualGpu => Kind::Virtual,
            DeviceType::Cpu => Kind::Software,
            DeviceType::Other => Kind::Unknown,
        };
        // CubeCL reaches one driver that is software, the first.
        let another = |other: &Found| other.kind == Kind::Software;
        if kind == Kind::Software && found.iter().any(another) {
            continue;
        }
        found.push(Found {
            device: format!("wgpu:{}", found.len()),
            name: info.name,
            backend: backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            kind,
            limits: Some(Limits {
                max_buffer: limits.max_buffer_size,
                max_binding: limits.max_storage_buffer_binding_size,
            }),
            f16: adapter.features().contains(Features::SHADER_F16),
        });
    }
    found
}

#[cfg(not(feature = "wgpu"))]
pub fn wgpu() -> Vec<Found> {
    Vec::new()
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::tensor::{Device, DeviceType};

    use super::*;

    #[test]
    fn adapters_are_numbered_as_burn_numbers_them() {
        let found = wgpu();
        let kinds: Vec<Kind> = found.iter().map(|found| found.kind).collect();
        let theirs = Device::enumerate(DeviceType::Wgpu).into_vec();
        let theirs: Vec<Kind> = theirs
            .iter()
            .map(|device| match format!("{device:?}") {
                name if name.contains("DiscreteGpu") => Kind::Discrete,
                name if name.contains("IntegratedGpu") => Kind::Integrated,
                name if name.contains("VirtualGpu") => Kind::Virtual,
                name if name.contains("Cpu") => Kind::Software,
                _ => Kind::Unknown,
            })
            .collect();
        assert_eq!(kinds, theirs);
        for (number, found) in found.iter().enumerate() {
            assert_eq!(found.device, format!("wgpu:{number}"));
            assert!(!found.name.is_empty());
            let limits = found.limits.expect("WGPU tells them");
            assert!(limits.max_buffer >= 1 << 20 && limits.max_binding >= 1 << 20);
        }
    }
}
