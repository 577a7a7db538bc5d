//! `aki eval`.

mod compare;
mod easy_vqa;
mod judge;
mod list;
mod out;
mod published;

use aki_train::benchmark::fingerprint;
use aki_train::folder::{ModelFolder, Stored};
use anyhow::Result;
use burn::train::Interrupter;

use self::judge::Judge;
use self::published::Chosen;
use super::{Done, open_model};
use crate::args::{EvalArgs, EvalCommand, Named};
use crate::signals;

pub fn run(args: &EvalArgs) -> Result<Done> {
    if let Some(EvalCommand::Compare {
        first,
        second,
        json,
    }) = &args.command
    {
        compare::run([first, second], *json)?;
        return Ok(Done::Finished);
    }
    if args.list {
        list::print(args.json)?;
        return Ok(Done::Finished);
    }
    // What can be wrong with what was typed comes before what takes long.
    let judge = Judge::new(&args.judge)?;
    let chosen = Chosen::open(args)?;
    if judge.is_some() && !chosen.needs_judge() {
        say!("warning: --judge is ignored: no benchmark that was named needs one");
    }
    // Of a run that goes on, the newest checkpoint is another one soon.
    let stored = Stored::find(args.model())?.path();
    let (mut models, mut devices) = (Vec::new(), Vec::new());
    for &device in &args.device {
        let (model, device) = open_model(&stored, args.dtype, false, device)?;
        models.push(model);
        devices.push(device);
    }
    let interrupter = Interrupter::new();
    let stop = interrupter.clone();
    signals::on_first(move || stop.stop(Some("stopped by the user")))?;
    let print = fingerprint(&stored)?;
    if args.benchmarks.contains(&Named::EasyVqa) {
        let model: &ModelFolder = &models[0];
        if devices.len() > 1 && chosen.is_empty() {
            say!("warning: easy-vqa is asked on {} alone", devices[0]);
        }
        let done = easy_vqa::run(args, &print, model, &devices[0], &interrupter)?;
        if let Done::Interrupted = done {
            return Ok(Done::Interrupted);
        }
    }
    match chosen.is_empty() {
        true => Ok(Done::Finished),
        false => chosen.run(
            args,
            &print,
            &mut models,
            &devices.join(", "),
            judge.as_ref(),
            &interrupter,
        ),
    }
}
