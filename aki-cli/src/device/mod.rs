//! From `--device` to a device of Burn.

mod found;

use std::str::FromStr;

use anyhow::{Result, bail};
use burn::tensor::Device;

pub use found::{Found, Kind, found};

/// What `--device` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Auto,
    Cpu,
    Wgpu(Option<usize>),
    Cuda(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => {
                let number = number.parse::<usize>();
                (
                    kind,
                    Some(number.map_err(|_| format!("\"{text}\" ends in no number"))?),
                )
            }
            None => (text, None),
        };
        match (kind, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("wgpu", number) => Ok(Self::Wgpu(number)),
            ("cuda", number) => Ok(Self::Cuda(number)),
            _ => Err("auto, cpu, wgpu, wgpu:0, cuda or cuda:0 is expected".to_owned()),
        }
    }
}

impl DeviceChoice {
    /// The device and what to call it. `auto` takes an NVIDIA card where the program was built for CUDA and
    /// finds one, else a GPU through WGPU, a discrete one before an integrated one and never software, else
    /// the CPU; it tells what it took and why.
    pub fn open(self) -> Result<(Device, String)> {
        match self {
            Self::Auto => {
                let (choice, why) = auto();
                say!("device: {why}");
                choice.open()
            }
            chosen => chosen.open_beside(0),
        }
    }

    /// As [`Self::open`], to train, as number `local_rank` of the processes on this machine: they share
    /// out its NVIDIA cards, unless one is named. (Some launchers show each process its own alone.)
    ///
    /// `auto` takes CUDA or the CPU. A GPU through WGPU must be named: it computes in no bf16, and most that
    /// are met draw a desktop and have memory for inference, where a run would take both for hours.
    pub fn open_beside(self, local_rank: usize) -> Result<(Device, String)> {
        #[cfg(feature = "cube")]
        if self != Self::Cpu {
            keep_kernels();
        }
        match self {
            Self::Auto if cuda_cards() > 0 => Self::Cuda(None).open_beside(local_rank),
            Self::Auto => {
                if let (Some(gpu), 0) = (no_software(), local_rank) {
                    say!("device: {}", passed_over(&gpu));
                }
                Self::Cpu.open_beside(local_rank)
            }
            #[cfg(feature = "flex")]
            Self::Cpu => Ok((Device::flex(), "cpu".to_owned())),
            #[cfg(not(feature = "flex"))]
            Self::Cpu => {
                bail!("this aki was built without the CPU backend; build it with --features flex")
            }
            Self::Wgpu(number) => wgpu(number),
            Self::Cuda(Some(number)) => cuda(number),
            Self::Cuda(None) => cuda(local_rank % cuda_cards().max(1)),
        }
    }
}

/// What `auto` takes, and why.
pub fn auto() -> (DeviceChoice, String) {
    match cuda_cards() {
        0 => best(&found::wgpu()),
        _ => (
            DeviceChoice::Cuda(Some(0)),
            "cuda:0 (the first NVIDIA card)".to_owned(),
        ),
    }
}

/// What `auto` takes to train, and why.
pub fn auto_to_train() -> String {
    match (cuda_cards(), no_software()) {
        (0, Some(gpu)) => passed_over(&gpu),
        (0, None) => "cpu (no GPU was found)".to_owned(),
        (cards, _) => format!("cuda ({cards} NVIDIA cards, one a process)"),
    }
}

/// The first adapter that is a GPU.
fn no_software() -> Option<Found> {
    let mut found = found::wgpu().into_iter();
    found.find(|found| found.kind != Kind::Software)
}

fn passed_over(gpu: &Found) -> String {
    let (name, device) = (&gpu.name, &gpu.device);
    format!("cpu (to train on {name}, ask for it: --device {device})")
}

/// What `auto` takes where there is no NVIDIA card for CUDA, and why.
fn best(adapters: &[Found]) -> (DeviceChoice, String) {
    let gpus = (0..).zip(adapters);
    let gpus = gpus.filter(|(_, found)| found.kind != Kind::Software);
    if let Some((number, gpu)) = gpus.min_by_key(|(_, found)| found.kind) {
        let why = format!(
            "{} ({}, {}, {})",
            gpu.device, gpu.name, gpu.kind, gpu.backend
        );
        return (DeviceChoice::Wgpu(Some(number)), why);
    }
    let why = match adapters {
        [] if cfg!(feature = "wgpu") => "no GPU was found".to_owned(),
        [] => "this aki was built without WGPU".to_owned(),
        [software, ..] => format!("the only WGPU adapter, {}, is software", software.name),
    };
    (DeviceChoice::Cpu, format!("cpu ({why})"))
}

/// Has compiled kernels, and what was measured to choose among them, kept in the user's cache folder: they
/// take minutes to make, and the next start finds them there. A `cubecl.toml` may say otherwise.
#[cfg(feature = "cube")]
fn keep_kernels() {
    // Nothing has asked for it before the first device is opened.
    burn::cubecl::config::RuntimeConfig::try_set(kernels_kept());
}

/// The folder where they are kept.
#[cfg(feature = "cube")]
pub fn kernel_folder() -> std::path::PathBuf {
    kernels_kept().environment.path.root()
}

#[cfg(feature = "cube")]
fn kernels_kept() -> burn::cubecl::config::CubeClRuntimeConfig {
    use burn::cubecl::config::cache::CacheConfig;
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    use burn::cubecl::records::RecordLevel;

    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    config.environment.records.level = RecordLevel::Off;
    // CubeCL's default is the folder `target` of a Cargo project that the user happens to stand in.
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Global;
    }
    config
}

#[cfg(feature = "wgpu")]
fn wgpu(number: Option<usize>) -> Result<(Device, String)> {
    use burn::tensor::DeviceType;
    let mut devices = Device::enumerate(DeviceType::Wgpu).into_vec();
    let count = devices.len();
    match number {
        _ if count == 0 => bail!(
            "no WGPU adapter was found; install a Vulkan, Metal or DirectX 12 driver, or use --device cpu"
        ),
        Some(number) if number >= count => {
            let found: Vec<_> = found().iter().map(ToString::to_string).collect();
            bail!("wgpu:{number} is not there:\n  {}", found.join("\n  "))
        }
        Some(number) => Ok((devices.swap_remove(number), format!("wgpu:{number}"))),
        None => Ok((
            Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            "wgpu".to_owned(),
        )),
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: Option<usize>) -> Result<(Device, String)> {
    bail!("this aki was built without WGPU; build it with --features wgpu")
}

#[cfg(feature = "cuda")]
fn cuda_cards() -> usize {
    Device::enumerate(burn::tensor::DeviceType::Cuda)
        .into_vec()
        .len()
}

#[cfg(not(feature = "cuda"))]
fn cuda_cards() -> usize {
    0
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<(Device, String)> {
    let count = cuda_cards();
    if number >= count {
        bail!("cuda:{number} is not there: {count} NVIDIA cards were found, numbered from 0");
    }
    Ok((Device::cuda(number), format!("cuda:{number}")))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<(Device, String)> {
    bail!("this aki was built without CUDA; build it with --features cuda")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(number: usize, name: &str, kind: Kind) -> Found {
        Found {
            device: format!("wgpu:{number}"),
            name: name.to_owned(),
            backend: "vulkan".to_owned(),
            driver: String::new(),
            kind,
            limits: None,
            f16: true,
        }
    }

    #[test]
    fn auto_takes_the_best_gpu_and_no_software() {
        let software = adapter(0, "llvmpipe", Kind::Software);
        let found = [
            software.clone(),
            adapter(1, "Iris", Kind::Integrated),
            adapter(2, "Arc", Kind::Discrete),
        ];
        let (choice, why) = best(&found);
        assert_eq!(choice, DeviceChoice::Wgpu(Some(2)));
        assert_eq!(why, "wgpu:2 (Arc, discrete GPU, vulkan)");
        assert_eq!(best(&found[..2]).0, DeviceChoice::Wgpu(Some(1)));

        let (choice, why) = best(&[software]);
        assert_eq!(choice, DeviceChoice::Cpu);
        assert_eq!(why, "cpu (the only WGPU adapter, llvmpipe, is software)");
        assert_eq!(best(&[]).0, DeviceChoice::Cpu);
    }

    #[test]
    fn devices_are_read() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("wgpu".parse(), Ok(DeviceChoice::Wgpu(None)));
        assert_eq!("wgpu:1".parse(), Ok(DeviceChoice::Wgpu(Some(1))));
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(None)));
        assert_eq!("cuda:2".parse(), Ok(DeviceChoice::Cuda(Some(2))));
        for wrong in ["gpu", "cpu:1", "cuda:x", "", ":"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
