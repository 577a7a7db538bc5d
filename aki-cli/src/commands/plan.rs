//! `aki plan`.

use std::io::Write;

use aki_train::config::RunConfig;
use aki_train::plan::{Advice, Machine, Memory, Moment, Plan, RESERVE, StagePlan, plan};
use anyhow::Result;

use super::inspect::grouped;
use super::{Done, run_file};
use crate::args::PlanArgs;

pub fn run(args: PlanArgs) -> Result<Done> {
    let config = RunConfig::load(&run_file(args.file)?, &args.set)?;
    let machine = Machine {
        memory: args.gpu,
        flops: args.tflops.map(|tflops| tflops * 1e12),
        utilisation: args.utilisation,
        ranks: args.ranks as usize,
        text: args.text as usize,
    };
    let plan = plan(&config, &machine)?;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&plan)?)?;
    } else {
        let lines = table(&plan, &machine);
        writeln!(out, "{}", lines.join("\n"))?;
    }
    Ok(match plan.fits {
        Some(false) => Done::Unfit,
        _ => Done::Finished,
    })
}

fn table(plan: &Plan, machine: &Machine) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in &plan.stages {
        describe(stage, machine, &mut lines);
        lines.push(String::new());
    }
    if let (Some(seconds), true) = (plan.seconds, plan.stages.len() > 1) {
        lines.push(format!("all stages: {}", time(seconds)));
    }
    lines.push(format!(
        "memory: measured on small models on a CPU, within {:.0} %; --gpu keeps {:.0} % back",
        100.0 * plan.measured_within,
        100.0 * RESERVE
    ));
    lines
}

fn describe(stage: &StagePlan, machine: &Machine, lines: &mut Vec<String>) {
    let each = match machine.ranks {
        1 => String::new(),
        ranks => format!(", on each of {ranks} ranks"),
    };
    let at_a_time = match stage.micro_rows < stage.rows {
        true => format!(", {} at a time", stage.micro_rows),
        false => String::new(),
    };
    lines.push(format!(
        "stage {}: {} steps of {} rows{at_a_time}, {} tokens a row, {} pictures{each}",
        stage.name,
        grouped(stage.steps),
        grouped(stage.rows),
        grouped(stage.row_tokens),
        grouped(stage.pictures),
    ));
    for assumed in &stage.assumed {
        lines.push(format!("  assumed: {assumed}"));
    }
    lines.push(format!(
        "  {:<20}{:>16}{:>16}",
        "weights", "trained", "frozen"
    ));
    let all = |count: fn(&aki_train::plan::PartWeights) -> usize| {
        stage.parameters.iter().map(count).sum::<usize>()
    };
    for part in &stage.parameters {
        lines.push(weights(part.name, part.trained, part.frozen));
    }
    lines.push(weights("all", all(|it| it.trained), all(|it| it.frozen)));
    memory(&stage.memory, lines);
    compute(stage, machine, lines);
    verdict(stage, machine, lines);
}

fn weights(name: &str, trained: usize, frozen: usize) -> String {
    format!(
        "    {name:<18}{:>16}{:>16}",
        grouped(trained),
        grouped(frozen)
    )
}

fn memory(memory: &Memory, lines: &mut Vec<String>) {
    let row = |name: &str, columns: [String; 3]| {
        let [loss, gradients, update] = columns;
        format!("{name:<22}{loss:>12}{gradients:>12}{update:>12}")
    };
    let heads = ["at the loss", "gradients", "update"].map(str::to_owned);
    lines.push(row("  memory", heads));
    for part in &memory.parts {
        let name = format!("    {}", part.name);
        lines.push(row(&name, Moment::ALL.map(|moment| size(part.at(moment)))));
    }
    lines.push(row(
        "    all",
        Moment::ALL.map(|moment| size(memory.total(moment))),
    ));
}

fn compute(stage: &StagePlan, machine: &Machine, lines: &mut Vec<String>) {
    let again = match stage.recomputed_flops {
        0.0 => String::new(),
        flops => format!(" and {} to recompute", operations(flops)),
    };
    lines.push(format!(
        "  a step: {} tokens, {}{again}",
        grouped(stage.step_tokens as usize),
        operations(stage.step_flops)
    ));
    lines.push(format!(
        "  the stage: {} tokens, {}",
        grouped(stage.tokens as usize),
        operations(
            (stage.step_flops + stage.recomputed_flops) * stage.steps as f64 * machine.ranks as f64
        )
    ));
    if let (Some(step), Some(all), Some(flops)) = (stage.step_seconds, stage.seconds, machine.flops)
    {
        lines.push(format!(
            "  time: {} a step, {} in all, at {} of {}/s",
            time(step),
            time(all),
            percent(machine.utilisation),
            operations(flops)
        ));
    }
}

fn verdict(stage: &StagePlan, machine: &Machine, lines: &mut Vec<String>) {
    let (Some(fits), Some(memory)) = (stage.fits, machine.memory) else {
        return;
    };
    let of = format!("{} of {}", size(stage.memory.peak), size(memory));
    if fits {
        lines.push(format!("  fits: {of}"));
        return;
    }
    let reserve = percent(RESERVE);
    lines.push(format!(
        "  does not fit: {of}, {reserve} of which are kept back"
    ));
    let Some(Advice {
        changes,
        enough,
        then,
    }) = &stage.advice
    else {
        return;
    };
    for change in changes {
        lines.push(format!(
            "    {:<52} saves {}",
            change.setting,
            size(change.saves)
        ));
    }
    lines.push(match enough {
        Some(settings) => format!("    enough, with {}: {}", size(*then), settings.join(", ")),
        None => format!("    nothing is enough: at best it takes {}", size(*then)),
    });
}

/// `12.3 GB`.
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        0.0 => "-".to_owned(),
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        ..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

/// `1.23 TFLOP`.
fn operations(flops: f64) -> String {
    let units = [
        (1e18, "EFLOP"),
        (1e15, "PFLOP"),
        (1e12, "TFLOP"),
        (1e9, "GFLOP"),
    ];
    let unit = units.into_iter().find(|(unit, _)| flops >= *unit);
    let (unit, name) = unit.unwrap_or((1e6, "MFLOP"));
    format!("{:.2} {name}", flops / unit)
}

fn time(seconds: f64) -> String {
    match seconds {
        ..1e-3 => format!("{:.1} µs", 1e6 * seconds),
        ..1e-2 => format!("{:.2} ms", 1e3 * seconds),
        ..1.0 => format!("{:.0} ms", 1e3 * seconds),
        ..600.0 => format!("{seconds:.1} s"),
        ..36e3 => format!("{:.0} min", seconds / 60.0),
        ..1e6 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86400.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_nothing() {
        let times = [1.07e-7, 1.07e-3, 0.844, 1.3, 7200.0, 1e6].map(time);
        let told = [
            "0.1 µs",
            "1.07 ms",
            "844 ms",
            "1.3 s",
            "120 min",
            "11.6 days",
        ];
        assert_eq!(times, told);
    }
}
