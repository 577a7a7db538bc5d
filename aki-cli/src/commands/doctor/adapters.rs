//! Graphics and compute cards, asked in a process of its own: a driver may end the process that asks it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::device::{self, Found, Kind};

/// Drivers answer within a second or two; those that take longer hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the cards that CUDA reaches say.
const CUDA: &str = "CUDA";

/// What the process that asks says.
#[derive(Serialize, Deserialize)]
pub struct Probe {
    pub devices: Vec<Found>,
    pub auto: Auto,
}

/// What `--device auto` takes, and why.
#[derive(Serialize, Deserialize)]
pub struct Auto {
    pub inference: String,
    pub training: String,
}

/// Asks the drivers, in this process, and prints what they say.
pub fn answer() -> Result<()> {
    let devices = device::found();
    let auto = Auto {
        inference: device::auto().1,
        training: device::auto_to_train(),
    };
    writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string(&Probe { devices, auto })?
    )?;
    Ok(())
}

/// Asks the drivers, in a process of its own.
pub fn probe() -> Result<Probe, Problem> {
    asked(PATIENCE).map_err(|error| {
        Problem::new(
            format!("the graphics drivers could not be asked: {error:#}"),
            "update the driver, or stay with --device cpu; VK_DRIVER_FILES=FILE.json keeps Vulkan to one driver",
        )
    })
}

fn asked(patience: Duration) -> Result<Probe> {
    // The answer is longer than a pipe may hold, if there are many cards.
    let mut answer = tempfile::NamedTempFile::new()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["doctor", "--probe"])
        .stdin(Stdio::null())
        .stdout(answer.reopen()?)
        .stderr(Stdio::null())
        .spawn()
        .context("no process could be started")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > patience {
            child.kill().ok();
            child.wait().ok();
            bail!("no answer within {} s", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    answer.as_file_mut().read_to_string(&mut text)?;
    serde_json::from_str(&text).with_context(|| died(status))
}

fn died(status: ExitStatus) -> String {
    format!("the process that asked them died ({status})")
}

/// What the system says of drivers.
#[derive(Serialize)]
pub struct Drivers {
    /// The files by which Vulkan drivers are found; empty elsewhere than on Linux.
    vulkan: Vec<PathBuf>,
    /// The variable that says which of them count, if one is set.
    limited_by: Option<&'static str>,
    /// Render nodes of the kernel's that this user may not open.
    closed: Vec<PathBuf>,
    /// NVIDIA's kernel driver.
    nvidia: Option<String>,
}

impl Drivers {
    pub fn look() -> Self {
        let variables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
        let limited_by = variables
            .into_iter()
            .find(|name| std::env::var_os(name).is_some());
        let vulkan = match limited_by {
            Some(name) => std::env::split_paths(&std::env::var_os(name).unwrap_or_default())
                .filter(|file| file.exists())
                .collect(),
            None => [
                "/etc/vulkan/icd.d",
                "/usr/local/share/vulkan/icd.d",
                "/usr/share/vulkan/icd.d",
            ]
            .into_iter()
            .flat_map(files)
            .collect(),
        };
        let is_closed = |file: &PathBuf| {
            let opened = std::fs::File::options().read(true).write(true).open(file);
            opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        let nodes = files("/dev/dri").into_iter().filter(|file| {
            let name = file.file_name().and_then(std::ffi::OsStr::to_str);
            name.is_some_and(|name| name.starts_with("renderD"))
        });
        Self {
            vulkan,
            limited_by,
            closed: nodes.filter(is_closed).collect(),
            nvidia: nvidia_driver(),
        }
    }

    pub fn text(&self) -> String {
        let names = self
            .vulkan
            .iter()
            .filter_map(|file| file.file_stem()?.to_str());
        let vulkan: Vec<&str> = names.collect();
        let mut text = match (cfg!(target_os = "linux"), vulkan.is_empty()) {
            (true, true) => "no Vulkan driver".to_owned(),
            (true, false) => format!("Vulkan: {}", vulkan.join(" ")),
            (false, _) => "the system's".to_owned(),
        };
        if let Some(name) = self.limited_by {
            write!(text, " (as {name} says)").ok();
        }
        if let Some(nvidia) = &self.nvidia {
            write!(text, "; {nvidia}").ok();
        }
        text
    }

    /// What is wrong, given what the drivers found.
    pub fn problems(&self, found: &[Found]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let with_wgpu = cfg!(feature = "wgpu");
        for node in &self.closed {
            problems.push(Problem::new(
                format!("{} is closed to you, and with it a card", node.display()),
                "add yourself to its group, then log in anew: sudo usermod -aG render $USER",
            ));
        }
        // What OpenGL reaches on Linux, Vulkan reaches better.
        let by_graphics = |it: &Found| ![CUDA, "gl"].contains(&it.backend.as_str());
        let no_graphics = !found.iter().any(by_graphics);
        if with_wgpu && no_graphics && self.closed.is_empty() {
            problems.push(self.no_graphics());
        }
        if !no_graphics && found.iter().all(|device| device.kind == Kind::Software) {
            problems.push(Problem::new(
                "the only graphics adapter is a software one, which is slower than the CPU backend",
                "nothing, if there is no card (auto takes the CPU); else install the card's driver",
            ));
        }
        let with_card = found.iter().any(|device| device.backend == CUDA);
        if self.nvidia.is_some() && !with_card {
            problems.push(match cfg!(feature = "cuda") {
                true => Problem::new(
                    "NVIDIA's driver is loaded, and CUDA finds no card",
                    "see whether nvidia-smi shows it; install the CUDA toolkit's libcudart and libnvrtc of the driver's version",
                ),
                false => Problem::new(
                    "an NVIDIA driver is here, and this aki was built without CUDA",
                    "build it with --features cuda, which is faster there than WGPU",
                ),
            });
        }
        problems
    }

    fn no_graphics(&self) -> Problem {
        match (self.limited_by, self.vulkan.is_empty()) {
            _ if !cfg!(target_os = "linux") => {
                Problem::new("no graphics adapter was found", "install the card's driver")
            }
            (Some(name), _) => Problem::new(
                format!("Vulkan finds no adapter, and {name} says which drivers count"),
                format!("unset {name}"),
            ),
            (None, true) => Problem::new(
                "no Vulkan driver is installed",
                "install mesa-vulkan-drivers (AMD, Intel) or NVIDIA's driver, and libvulkan1",
            ),
            (None, false) => Problem::new(
                "Vulkan drivers are installed, and none of them finds an adapter",
                "install libvulkan1, and see what vulkaninfo --summary (vulkan-tools) says",
            ),
        }
    }
}

fn nvidia_driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let version = text.lines().next()?.split_whitespace();
    let version = version.skip_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
    Some(format!("NVIDIA {}", version.take(1).collect::<String>()))
}

/// What a folder holds, sorted; nothing if it is not there.
fn files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
