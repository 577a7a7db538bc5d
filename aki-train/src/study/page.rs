//! A study as files: a page, a table for spreadsheets, everything as JSON, and the curves.

use std::fmt::Write;
use std::path::Path;

use super::csv::csv;
use super::curves;
use super::rows::{Phase, Row};
use super::statistics::{Interval, Spread};
use super::table::{DataTable, OverCausal, RowResult, Table};
use crate::TrainError;
use crate::folder::{write_file, write_json};
use crate::markdown;

/// A share above which rows are hard to tell apart.
const SATURATED: f64 = 0.98;
/// As far above what the question alone gives, a model has learned to look.
const LEARNED: f64 = 0.02;

/// Writes `table1.md`, `table1.csv`, `table1.json`, `accuracy-steps.svg` and `accuracy-steps.png` into a study's
/// folder.
///
/// # Errors
///
/// [`TrainError::Io`] if a file cannot be written.
pub(super) fn write(table: &Table, out: &Path) -> Result<(), TrainError> {
    write_file(
        &out.join("accuracy-steps.svg"),
        curves::draw(table).as_bytes(),
    )?;
    // For those who cannot show the other; a study is not lost over it.
    match curves::draw_png(table) {
        Ok(png) => write_file(&out.join("accuracy-steps.png"), &png)?,
        Err(reason) => tracing::warn!("accuracy-steps.png cannot be drawn: {reason}"),
    }
    write_file(&out.join("table1.csv"), csv(table).as_bytes())?;
    write_json(&out.join("table1.json"), table)?;
    write_file(&out.join("table1.md"), markdown(table).as_bytes())
}

/// A share in percent, with the deviation over seeds.
fn percent(spread: &Spread) -> String {
    let deviation = spread
        .sd
        .map_or(String::new(), |sd| format!(" ± {:.2}", 100.0 * sd));
    format!("{:.2}{deviation}", 100.0 * spread.mean)
}

/// A difference in points, with its interval.
fn points(interval: &Interval) -> String {
    let bounds = interval.bounds.map_or(String::new(), |(low, high)| {
        format!(" [{:+.2}, {:+.2}]", 100.0 * low, 100.0 * high)
    });
    format!("{:+.2}{bounds}", 100.0 * interval.mean)
}

impl DataTable {
    /// Its rows in Markdown, which reads well in a terminal too.
    pub fn table(&self) -> String {
        let kinds = self
            .asked
            .iter()
            .map(|(kind, asked)| format!("{kind} ({asked})"));
        let mut lines: Vec<Vec<String>> = vec![
            ["row", "accuracy %", "over causal", "other order %"]
                .map(str::to_owned)
                .into_iter()
                .chain(kinds)
                .chain(["time s".to_owned()])
                .collect(),
        ];
        lines.extend(self.rows.iter().map(|result| self.line(result)));
        markdown::table(&lines)
    }

    /// How much higher rows are than causal, in points, by kind of question; none without it, or without others.
    fn over_causal(&self) -> Option<String> {
        let kinds = || self.asked.keys();
        let head = std::iter::once("row".to_owned()).chain(kinds().cloned());
        let mut lines = vec![head.collect::<Vec<_>>()];
        for result in &self.rows {
            let Some(over) = &result.over_causal else {
                continue;
            };
            let of_kind = |kind| over.kinds.get(kind).map_or("-".to_owned(), points);
            let line = std::iter::once(result.row.to_string()).chain(kinds().map(of_kind));
            lines.push(line.collect());
        }
        (lines.len() > 1).then(|| markdown::table(&lines))
    }

    fn line(&self, result: &RowResult) -> Vec<String> {
        let other = result.scores.get(1);
        let mut line = vec![
            result.row.to_string(),
            percent(result.all()),
            match &result.over_causal {
                Some(over) => points(&over.all),
                None => "-".to_owned(),
            },
            other.map_or("-".to_owned(), |scores| percent(&scores.all)),
        ];
        let kinds = &result.scores[0].kinds;
        line.extend(
            self.asked
                .keys()
                .map(|kind| kinds.get(kind).map_or("-".to_owned(), percent)),
        );
        line.push(format!("{:.0}", result.seconds.mean));
        line
    }

    /// What the numbers say, a sentence a line.
    fn findings(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let by_mean = |a: &&RowResult, b: &&RowResult| a.all().mean.total_cmp(&b.all().mean);
        let (best, worst) = (
            self.rows.iter().max_by(by_mean),
            self.rows.iter().min_by(by_mean),
        );
        if let (Some(best), Some(worst), 2..) = (best, worst, self.rows.len()) {
            sentences.push(format!(
                "Highest is {} with {} %, lowest {} with {} %.",
                best.row,
                percent(best.all()),
                worst.row,
                percent(worst.all())
            ));
        }
        for result in &self.rows {
            let Some(OverCausal { all: over, .. }) = &result.over_causal else {
                continue;
            };
            let said = match over.bounds {
                None => "one seed has no interval",
                Some((low, _)) if low > 0.0 => "higher, with 0 outside the interval",
                Some((_, high)) if high < 0.0 => "lower, with 0 outside the interval",
                Some(_) => "the interval holds 0, so seeds alone may do as much",
            };
            sentences.push(format!(
                "{} over causal: {} points; {said}.",
                result.row,
                points(over)
            ));
        }
        let named = |which: &dyn Fn(f64) -> bool| {
            let rows = self.rows.iter().filter(|result| which(result.all().mean));
            let rows: Vec<&str> = rows.map(|result| result.row.name()).collect();
            (!rows.is_empty()).then(|| rows.join(", "))
        };
        if let Some(rows) = named(&|mean| mean >= SATURATED) {
            let share = 100.0 * SATURATED;
            sentences.push(format!(
                "{rows}: {share:.0} % or more, which leaves little to tell rows apart by."
            ));
        }
        if let Some(rows) = named(&|mean| mean < self.question_alone + LEARNED) {
            let (share, learned) = (100.0 * self.question_alone, 100.0 * LEARNED);
            sentences.push(format!(
                "{rows}: less than {learned:.0} points above {share:.2} %, which the question alone gives."
            ));
        }
        sentences
    }
}

fn markdown(table: &Table) -> String {
    let network = &table.network;
    let (pretraining, tuning) = (network.pretraining, network.tuning);
    let mut text = format!(
        "# Table 1, small\n\nThe systems of the paper's Table 1, each trained from nothing by `aki study table1` with the same network, \
         samples and steps; what differs is who may look at whom, and whether pictures come before their texts or after them. \
         Pre-training on captions: {} steps of {} pictures; tuning on questions: {} steps of {}. Tokens a picture: {}; \
         layers of the decoder: {}. {} on {}; aki {}.\n\n",
        pretraining.0,
        pretraining.1,
        tuning.0,
        tuning.1,
        network.media_len,
        network.decoder_layers,
        match table.seeds {
            1 => "One seed".to_owned(),
            seeds => format!("{seeds} seeds"),
        },
        table.devices.join(" and "),
        table.version,
    );
    if !table.settings.is_empty() {
        writeln!(text, "Settings: `{}`.\n", table.settings.join("`, `")).ok();
    }
    text += "An answer is right if greedy decoding gives exactly the true one. Accuracy is that on the test questions (how many, by \
             kind, in brackets), in the order in which a system was tuned last, ± the standard deviation over seeds; \"over causal\" \
             is the mean difference to causal in points, with its 95 % interval over paired seeds (Student's t); systems tuned in \
             both orders are asked in the other one as well. Time is by the clock, of a row's training on its own, pre-training \
             included.\n";
    let over = table.data.iter().flat_map(|data| &data.rows);
    let over = over.filter_map(|result| result.over_causal.as_ref());
    let over = over.flat_map(|over| std::iter::once(&over.all).chain(over.kinds.values()));
    let over = over.filter_map(|over| over.bounds);
    match over.count() {
        0 => {}
        count => {
            let by_chance = count as f64 / 20.0;
            write!(
                text,
                "\nIntervals are of other seeds, not of other test questions, and each stands for itself: of {count}, some \
                 {by_chance:.1} would leave out 0 if rows differed in nothing.\n"
            )
            .ok();
        }
    }
    for data in &table.data {
        write!(
            text,
            "\n## {}\n\n{}\nThe question alone gives {:.2} %: its text's most frequent answer in the training set. {} parameters.\n\n",
            data.data,
            data.table(),
            100.0 * data.question_alone,
            data.parameters,
        )
        .ok();
        for sentence in data.findings() {
            writeln!(text, "- {sentence}").ok();
        }
        if let Some(over) = data.over_causal() {
            write!(text, "\nOver causal by kind, in points:\n\n{over}").ok();
        }
    }
    text += "\n## Along the tuning\n\nOn samples of the training set that are never trained on, in the order that a system is being tuned in; \
             shaded from the lowest seed to the highest.\n\n![accuracy against steps](accuracy-steps.svg)\n\n## Recipes\n\n| row | in the paper | pre-training | tuning |\n|---|---|---|---|\n";
    let rows: Vec<Row> = table.data.first().map_or(Vec::new(), |data| {
        data.rows.iter().map(|result| result.row).collect()
    });
    for &row in &rows {
        let (pretraining, tuning) = (recipe(row.pretraining()), recipe(row.tuning()));
        writeln!(
            text,
            "| {row} | {} | {pretraining} | {tuning} |",
            row.published_name()
        )
        .ok();
    }
    text += "\nTwo orders share the steps of their phase evenly, one after the other, each with a warm-up and a schedule of its own; the \
             second learns from the samples of the first, so that all of them are seen in both orders, and half as many as by \
             the other rows. ";
    if rows.contains(&Row::Cca) {
        let (side, rings) = rings(network.media_len);
        write!(
            text,
            "For cca a picture's tokens are {side} x {side}, in {rings} {}; unlike mma it has its rule in pre-training too. ",
            if rings == 1 { "ring, whose tokens all see each other" } else { "rings" }
        )
        .ok();
    }
    text += &shared(&rows);
    text += " Runs are in `runs/DATA/seed-N/`; each has its run file, logs, curves and model.\n";
    text
}

fn recipe(phase: Phase) -> String {
    let orders: Vec<&str> = phase.orders.iter().map(|order| order.name()).collect();
    format!("{}, {}", phase.attention.name(), orders.join(" then "))
}

/// How a picture's tokens lie in CCA: the square's side, and its rings.
fn rings(media_len: usize) -> (usize, usize) {
    let side = media_len.isqrt();
    (side, side.div_ceil(2))
}

/// Which rows have a pre-training in common.
fn shared(rows: &[Row]) -> String {
    let mut sentences = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let same = |other: &&Row| other.pretraining() == row.pretraining();
        if rows[..index].iter().any(|other| same(&other)) {
            continue;
        }
        let group: Vec<&str> = rows.iter().filter(same).map(|row| row.name()).collect();
        if group.len() > 1 {
            sentences.push(format!(
                "{} begin their tuning with the same pre-trained weights (of each seed and data set), trained once.",
                group.join(", ")
            ));
        }
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aki_data::PictureOrder::{self, ImageText, TextImage};

    use super::super::DataSet;
    use super::super::table::{Network, Point, Scores};
    use super::*;

    fn scores(order: PictureOrder, shares: &[f64]) -> Scores {
        let all = Spread::of(shares.to_vec());
        Scores {
            order,
            kinds: BTreeMap::from([("yes/no".to_owned(), all.clone())]),
            all,
        }
    }

    fn result(row: Row, shares: &[f64], causal: Option<&Scores>) -> RowResult {
        let all = Spread::of(shares.to_vec());
        let orders = row.tuning().orders.iter().rev();
        let scores: Vec<Scores> = orders.map(|&order| scores(order, shares)).collect();
        RowResult {
            row,
            over_causal: causal.map(|causal| scores[0].over(causal)),
            scores,
            seconds: Spread::of(vec![60.0; shares.len()]),
            curve: vec![Point {
                step: 10,
                accuracy: all,
            }],
        }
    }

    fn table(causal: &[f64], mma: &[f64], dot: &[f64]) -> Table {
        let of_causal = scores(ImageText, causal);
        Table {
            version: "0",
            devices: vec!["cpu (2 threads)".to_owned()],
            settings: vec!["stage.questions.steps=10".to_owned()],
            seeds: causal.len() as u64,
            network: Network {
                media_len: 4,
                decoder_layers: 2,
                pretraining: (20, 8),
                tuning: (10, 4),
            },
            data: vec![DataTable {
                data: DataSet::EasyVqa,
                parameters: 1000,
                asked: BTreeMap::from([("yes/no".to_owned(), 100)]),
                question_alone: 0.5,
                rows: vec![
                    result(Row::Causal, causal, None),
                    result(Row::Dot, dot, Some(&of_causal)),
                    result(Row::Mma, mma, Some(&of_causal)),
                ],
            }],
        }
    }

    #[test]
    fn sentences_follow_from_the_numbers() {
        let up = table(
            &[0.80, 0.82, 0.81],
            &[0.90, 0.92, 0.92],
            &[0.81, 0.79, 0.82],
        );
        assert_eq!(
            up.data[0].findings(),
            [
                "Highest is mma with 91.33 ± 1.15 %, lowest dot with 80.67 ± 1.53 %.",
                "dot over causal: -0.33 [-6.07, +5.40] points; the interval holds 0, so seeds alone may do as much.",
                "mma over causal: +10.33 [+8.90, +11.77] points; higher, with 0 outside the interval.",
            ]
        );
        let down = table(&[0.99], &[0.50], &[0.985]);
        assert_eq!(
            down.data[0].findings(),
            [
                "Highest is causal with 99.00 %, lowest mma with 50.00 %.",
                "dot over causal: -0.50 points; one seed has no interval.",
                "mma over causal: -49.00 points; one seed has no interval.",
                "causal, dot: 98 % or more, which leaves little to tell rows apart by.",
                "mma: less than 2 points above 50.00 %, which the question alone gives.",
            ]
        );
    }

    #[test]
    fn the_page_has_recipes_and_what_was_shared() {
        let page = markdown(&table(&[0.8, 0.9], &[0.8, 0.9], &[0.7, 0.7]));
        let line = page.lines().find(|line| line.starts_with("| dot "));
        assert_eq!(
            line,
            Some(
                "| dot    | 70.00 ± 0.00 | -15.00 [-78.53, +48.53] |  70.00 ± 0.00 | 70.00 ± 0.00 |     60 |"
            )
        );
        assert!(page.contains("| dot | DOT | causal, image-text then text-image | causal, image-text then text-image |"));
        assert!(page.contains("causal, mma begin their tuning with the same pre-trained weights"));
        assert!(page.contains("2 seeds on cpu (2 threads)"));
        assert!(page.contains("of 4, some 0.2 would leave out 0"));
        let over = page.split("by kind, in points:").nth(1).expect("a table");
        let line = over.lines().find(|line| line.starts_with("| mma "));
        assert_eq!(line, Some("| mma |    +0.00 [+0.00, +0.00] |"));
        assert_eq!([4, 9, 144].map(rings), [(2, 1), (3, 2), (12, 6)]);
    }

    #[test]
    fn files_are_written_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = table(&[0.8, 0.9], &[0.85, 0.95], &[0.7, 0.7]);
        write(&table, folder.path()).expect("files");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        let lines: Vec<String> = read("table1.csv").lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 1 + 2 * 4, "{lines:?}");
        let columns = lines[0].split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == columns));
        let last = lines
            .iter()
            .filter(|line| line.starts_with("easy-vqa,mma,image-text,all,100,2,"));
        assert_eq!(last.count(), 1, "{lines:?}");
        let columns = |start: &str| {
            let line = lines.iter().find(|line| line.starts_with(start));
            let line = line.expect(start).split(',').skip(6);
            line.map(str::to_owned).collect::<Vec<_>>()
        };
        // The one kind is all there is; of the other order there is nothing to compare.
        let of_kind = columns("easy-vqa,mma,image-text,yes/no,");
        assert_eq!(of_kind, columns("easy-vqa,mma,image-text,all,"));
        assert_ne!(of_kind[2], "");
        assert_eq!(columns("easy-vqa,dot,image-text,all,")[2], "");
        let json: serde_json::Value = serde_json::from_str(&read("table1.json")).expect("JSON");
        assert_eq!(json["data"][0]["rows"][2]["row"], "mma");
        assert_eq!(
            json["data"][0]["rows"][1]["scores"][0]["order"],
            "text-image"
        );
        let svg = read("accuracy-steps.svg");
        assert!(svg.starts_with("<svg") && svg.contains("mma") && !svg.contains("NaN"));
        assert!(folder.path().join("accuracy-steps.png").exists());
        assert_eq!(
            [ImageText, TextImage].map(PictureOrder::name),
            ["image-text", "text-image"]
        );
    }
}
