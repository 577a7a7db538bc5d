//! `aki eval`.

mod compare;
mod easy_vqa;
mod judge;
mod list;
mod out;
mod published;

use aki_train::folder::ModelFolder;
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
        eprintln!("warning: --judge is ignored: no benchmark that was named needs one");
    }
    let (mut models, mut devices) = (Vec::new(), Vec::new());
    for &device in &args.device {
        let (model, device) = open_model(args.model(), args.dtype, false, device)?;
        models.push(model);
        devices.push(device);
    }
    let interrupter = Interrupter::new();
    let stop = interrupter.clone();
    signals::on_first(move || stop.stop(Some("stopped by the user")))?;
    if args.benchmarks.contains(&Named::EasyVqa) {
        let model: &ModelFolder = &models[0];
        if let Done::Interrupted = easy_vqa::run(args, model, &devices[0], &interrupter)? {
            return Ok(Done::Interrupted);
        }
    }
    match chosen.is_empty() {
        true => Ok(Done::Finished),
        false => chosen.run(
            args,
            &mut models,
            &devices.join(", "),
            judge.as_ref(),
            &interrupter,
        ),
    }
}
