//! `aki probe`.

use std::io::Write;
use std::path::Path;

use aki_train::folder::ModelFolder;
use aki_train::probe::{Samples, probe};
use anyhow::Result;

use crate::args::Dtype;
use crate::device::DeviceChoice;

pub fn run(
    model: &Path,
    samples: &Path,
    grad_norms: bool,
    json: bool,
    dtype: Dtype,
    device: DeviceChoice,
) -> Result<()> {
    let (device, _) = device.open_beside(0)?;
    let device = if grad_norms {
        device.autodiff()
    } else {
        device
    };
    let model = ModelFolder::load(model, Some(dtype.into()), &device)?;
    let samples = Samples::read(samples, &model)?;
    let probe = probe(model, &samples, grad_norms)?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&probe)?)?;
        return Ok(());
    }
    writeln!(out, "sample  tokens  labels      loss")?;
    for (number, sample) in (1..).zip(&probe.samples) {
        let labels = sample.labels.iter().skip(1).filter(|&&label| label >= 0);
        let loss = sample
            .loss
            .map_or("-".to_owned(), |loss| format!("{loss:.5}"));
        writeln!(
            out,
            "{number:>6}  {:>6}  {:>6}  {loss:>8}",
            sample.input_ids.len(),
            labels.count()
        )?;
    }
    writeln!(out, "all labels of the batch  {:>8.5}", probe.loss)?;
    for (name, norm) in probe.grad_norms.iter().flatten() {
        let norm = norm
            .as_f64()
            .map_or("not trained".to_owned(), |norm| format!("{norm:.6e}"));
        writeln!(out, "{norm:>12}  {name}")?;
    }
    Ok(())
}
