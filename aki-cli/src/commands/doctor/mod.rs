//! `aki doctor`.

mod adapters;
mod fits;
mod machine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

pub use self::adapters::answer;
use self::adapters::{Auto, Drivers, Probe};
use self::fits::{Fit, ModelFit};
use self::machine::{Cache, Memory, Processor};
use super::Done;
use crate::device::Found;

/// What was found, and what is wrong with it.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    /// What the program was built with, and whether.
    features: BTreeMap<&'static str, bool>,
    processor: Processor,
    memory: Option<Memory>,
    devices: Vec<Found>,
    /// None if the drivers could not be asked.
    auto: Option<Auto>,
    drivers: Drivers,
    kernel_cache: Cache,
    fits: Vec<Fit>,
    model: Option<ModelFit>,
    problems: Vec<Problem>,
}

/// What is wrong, and what to do.
#[derive(Serialize)]
struct Problem {
    what: String,
    advice: String,
}

impl Problem {
    fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            advice: advice.into(),
        }
    }
}

/// Looks at the machine, and at whether a model fits it.
pub fn run(model: Option<&Path>, as_json: bool) -> Result<Done> {
    let memory = Memory::read();
    let probed = adapters::probe();
    let model = model.map(|path| ModelFit::of(path, memory.as_ref()));
    let model = model.transpose()?;
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        features: BTreeMap::from([
            ("flex", cfg!(feature = "flex")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("cuda", cfg!(feature = "cuda")),
            ("remote", cfg!(feature = "remote")),
            ("mpi", cfg!(feature = "mpi")),
            ("turbojpeg", cfg!(feature = "turbojpeg")),
        ]),
        processor: Processor::read(),
        fits: fits::presets(memory.as_ref()),
        memory,
        devices: Vec::new(),
        auto: None,
        drivers: Drivers::look(),
        kernel_cache: Cache::look(),
        model,
        problems: Vec::new(),
    };
    match probed {
        Ok(Probe { devices, auto }) => {
            report.devices = devices;
            report.auto = Some(auto);
        }
        Err(problem) => report.problems.push(problem),
    }
    report.find_problems();
    let mut out = std::io::stdout();
    match as_json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => write!(out, "{}", report.text())?,
    }
    Ok(match report.is_usable() {
        true => Done::Finished,
        false => Done::Unfit,
    })
}

impl Report {
    /// Whether something can be computed, and the model that was asked about fits.
    fn is_usable(&self) -> bool {
        let computes = cfg!(feature = "flex") || !self.devices.is_empty();
        let fits = |model: &ModelFit| model.fault.is_none() && model.fits != Some(false);
        computes && self.model.as_ref().is_none_or(fits)
    }

    fn find_problems(&mut self) {
        let mut problems = std::mem::take(&mut self.problems);
        let asked = problems.is_empty();
        problems.extend(self.processor.problem());
        if asked {
            problems.extend(self.drivers.problems(&self.devices));
        }
        problems.extend(self.kernel_cache.problem());
        problems.extend(self.memory.as_ref().and_then(Memory::problem));
        if let Some(model) = &self.model {
            problems.extend(model.problem());
        }
        self.problems = problems;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            writeln!(text, "{}", format!("{name:<10}{value}").trim_end()).ok();
        };
        let [with, without] = [true, false].map(|built| chosen(&self.features, built));
        let version = format!("{}, built with {with}; without {without}", self.version);
        line("aki", &version);
        line("processor", &self.processor.text());
        match &self.memory {
            Some(memory) => line("memory", &memory.text()),
            None => line("memory", "unknown on this system"),
        }
        for device in &self.devices {
            line("device", &device.to_string());
        }
        if self.devices.is_empty() {
            line("device", "no GPU");
        }
        if let Some(Auto {
            inference,
            training,
        }) = &self.auto
        {
            line("auto", &format!("{inference}; to train {training}"));
        }
        line("drivers", &self.drivers.text());
        line("cache", &self.kernel_cache.text());
        for fit in &self.fits {
            line("", &fit.text());
        }
        if let Some(model) = &self.model {
            line("model", &model.text());
        }
        for Problem { what, advice } in &self.problems {
            line("problem", what);
            line("", &format!("-> {advice}"));
        }
        if self.problems.is_empty() {
            line("problems", "none");
        }
        text
    }
}

/// The names that are so.
fn chosen(names: &BTreeMap<&'static str, bool>, so: bool) -> String {
    let names = names.iter().filter(|(_, it)| **it == so);
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// Bytes for people.
fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
