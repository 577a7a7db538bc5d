//! Draws the learning curves of a run.
//!
//! Stages lie one after the other on the axis of steps, each from where the one before ended.
//! The upper panel has the losses; the lower has the validation accuracy, where a stage measures
//! one.

use kuva::prelude::{
    Figure, Layout, LegendPosition, LinePlot, Plot, PngBackend, ReferenceLine, ScatterPlot,
    SvgBackend, Theme,
};
use kuva::render::render::Scene;

use super::jsonl::{Record, Split};

/// Pixels of a panel; two of them fill a README's column at its full width.
pub(crate) const WIDTH: f64 = 900.0;
pub(crate) const HEIGHT: f64 = 320.0;

/// Both panels have these margins, so that their axes of steps stand one above the other.
pub(super) const MARGIN_LEFT: f64 = 80.0;
pub(super) const MARGIN_RIGHT: f64 = 30.0;

/// Training losses are averaged over this share of a stage's points: one part in 20 keeps the
/// shape of warm-up and decay and hides the noise of single batches.
const SMOOTHING: usize = 20;

/// Points of training loss drawn in a stage: more than one a pixel can't be seen.
const MOST_POINTS: usize = 800;

/// Values beyond this are left out like NaN: a diverged run's would overflow the axis.
const LARGEST: f64 = 1e30;

const TRAIN: &str = "#8fbfe0";
const VALID: &str = "#0b4f8a";
const ACCURACY: &str = "#1b7f4b";
const BOUNDARY: &str = "#8c8c8c";

/// Draws `records` as an SVG picture on white.
///
/// NaN and values beyond 1e30 can't be drawn: they are left out and the picture says how many.
pub fn draw(records: &[Record]) -> String {
    SvgBackend::new().render_scene(&scene(records))
}

/// The same as a PNG picture, of twice as many pixels a side.
///
/// # Errors
///
/// What kuva says if it cannot.
pub fn draw_png(records: &[Record]) -> Result<Vec<u8>, String> {
    PngBackend::new()
        .with_scale(2.0)
        .render_scene(&scene(records))
}

fn scene(records: &[Record]) -> Scene {
    let stages = lay_out(records);
    // One step at least: an axis without length has no ticks.
    let end = stages
        .last()
        .map_or(0.0, |stage| stage.start + stage.length)
        .max(1.0);

    let mut losses = Curves::default();
    let mut accuracies = Curves::default();
    for stage in &stages {
        losses.add(
            smooth(&stage.train),
            TRAIN,
            Some("training loss (smoothed)"),
            false,
        );
    }
    for stage in &stages {
        losses.add(stage.valid.clone(), VALID, Some("validation loss"), true);
        // The axis names this one.
        accuracies.add(stage.accuracy.clone(), ACCURACY, None, true);
    }

    let mut upper = losses.panel(end, &stages).with_y_label("loss");
    if let Some(note) = note(records) {
        upper = upper.with_title(note).with_title_size(13);
    }
    let mut plots = vec![losses.into_plots()];
    let mut layouts = vec![upper];
    if !accuracies.plots.is_empty() {
        let lower = accuracies
            .panel(end, &stages)
            .with_y_label("validation accuracy (%)");
        layouts.push(lower);
        plots.push(accuracies.into_plots());
    }
    layouts = layouts
        .into_iter()
        .map(|layout| layout.with_x_label("step"))
        .collect();
    Figure::new(layouts.len(), 1)
        .with_cell_size(WIDTH, HEIGHT)
        .with_plots(plots)
        .with_layouts(layouts)
        .render()
}

/// The points of one stage that can be drawn, with steps counted from the start of the run.
pub(super) struct Stage<'a> {
    name: &'a str,
    pub(super) start: f64,
    pub(super) length: f64,
    pub(super) train: Vec<(f64, f64)>,
    pub(super) valid: Vec<(f64, f64)>,
    pub(super) accuracy: Vec<(f64, f64)>,
}

pub(super) fn lay_out(records: &[Record]) -> Vec<Stage<'_>> {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&record.stage.as_str()) {
            names.push(&record.stage);
        }
    }
    let mut start = 0.0;
    let mut stages = Vec::new();
    for name in names {
        let records = || records.iter().filter(move |record| record.stage == name);
        let length = records().map(|record| record.step).max().unwrap_or(0) as f64;
        let points = |split: Split, value: fn(&Record) -> Option<f64>| {
            records()
                .filter(|record| record.split == split)
                .filter_map(|record| Some((start + record.step as f64, value(record)?)))
                .filter(|(_, value)| drawable(*value))
                .collect()
        };
        stages.push(Stage {
            name,
            start,
            length,
            train: points(Split::Train, |record| Some(record.loss)),
            valid: points(Split::Valid, |record| Some(record.loss)),
            accuracy: points(Split::Valid, |record| Some(100.0 * record.accuracy?)),
        });
        start += length;
    }
    stages
}

fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() <= LARGEST
}

/// The mean of the points around each point, thinned to [`MOST_POINTS`].
pub(super) fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / (2 * SMOOTHING);
    let stride = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |i: usize| {
        // At the start, where losses fall fast, as many points after as before: more would bend
        // the curve. At the end, where they are flat, as many as there are: fewer would let the
        // last batches stand out.
        let before = reach.min(i);
        let after = before.min(points.len() - 1 - i);
        let around = &points[i - before..=i + after];
        let share = 1.0 / around.len() as f64;
        (
            points[i].0,
            around.iter().map(|(_, value)| value * share).sum(),
        )
    };
    (0..points.len()).step_by(stride).map(mean).collect()
}

/// The curves of a panel.
#[derive(Default)]
struct Curves {
    plots: Vec<Plot>,
    labels: Vec<&'static str>,
}

impl Curves {
    /// Adds a curve unless it has no points; only the first with a `label` is in the legend.
    fn add(
        &mut self,
        points: Vec<(f64, f64)>,
        color: &str,
        label: Option<&'static str>,
        dots: bool,
    ) {
        if points.is_empty() {
            return;
        }
        let mut line = LinePlot::new().with_data(points.clone()).with_color(color);
        if let Some(label) = label.filter(|label| !self.labels.contains(label)) {
            self.labels.push(label);
            line = line.with_legend(label);
        }
        // A line through one point can't be seen.
        if dots || points.len() == 1 {
            let dots = ScatterPlot::new()
                .with_data(points)
                .with_color(color)
                .with_size(3.0);
            self.plots.push(dots.into());
        }
        self.plots.push(line.into());
    }

    /// [`axes`] with a line where each of `stages` starts.
    fn panel(&self, end: f64, stages: &[Stage<'_>]) -> Layout {
        let mut layout =
            axes(&self.plots, end).with_legend_position(LegendPosition::InsideTopRight);
        for stage in stages {
            let label = fit(stage.name, stage.length / end);
            let line = ReferenceLine::vertical(stage.start).with_color(BOUNDARY);
            layout = layout.with_reference_line(line.with_label(label));
        }
        layout
    }

    fn into_plots(mut self) -> Vec<Plot> {
        // kuva leaves out the axes of a panel without plots.
        if self.plots.is_empty() {
            self.plots.push(LinePlot::new().into());
        }
        self.plots
    }
}

/// As much of a stage's name as its `share` of the axis has room for.
fn fit(name: &str, share: f64) -> String {
    // The labels are 12 pixels high and about 8 wide a letter.
    let room = ((WIDTH - MARGIN_LEFT - MARGIN_RIGHT) * share / 8.0) as usize;
    if name.chars().count() <= room {
        return name.to_owned();
    }
    match room {
        0 | 1 => String::new(),
        _ => name.chars().take(room - 1).chain(['…']).collect(),
    }
}

/// What the picture lacks, if anything.
fn note(records: &[Record]) -> Option<String> {
    if records.is_empty() {
        return Some("no records yet".to_owned());
    }
    let values = records
        .iter()
        .flat_map(|record| [Some(record.loss), record.accuracy]);
    match values.flatten().filter(|value| !drawable(*value)).count() {
        0 => None,
        1 => Some("1 value was not a number or too large and is left out".to_owned()),
        count => Some(format!(
            "{count} values were not numbers or too large and are left out"
        )),
    }
}

/// The axes of what is drawn, from step 0 to `end`.
pub(crate) fn axes(plots: &[Plot], end: f64) -> Layout {
    let layout = if plots.is_empty() {
        Layout::new((0.0, end), (0.0, 1.0))
    } else {
        Layout::auto_from_plots(plots)
    };
    layout
        .with_theme(Theme {
            grid_color: "#e6e6e6".into(),
            ..Theme::light()
        })
        .with_x_axis_min(0.0)
        // The dot at the last step would be cut in half.
        .with_x_axis_max(1.01 * end)
        .with_force_margins(MARGIN_LEFT, MARGIN_RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: &str, step: usize, split: Split, loss: f64, accuracy: Option<f64>) -> Record {
        Record {
            accuracy,
            ..Record::new(stage, step, split, loss, 0.0)
        }
    }

    /// Draws, and checks what a browser would stumble over.
    #[track_caller]
    fn drawn(records: &[Record]) -> String {
        let svg = draw(records);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for broken in ["NaN", "nan", "inf\"", "Infinity"] {
            assert!(!svg.contains(broken), "{broken} in the picture");
        }
        svg
    }

    #[test]
    fn the_png_shows_the_same_in_more_pixels() {
        let records = [1, 2, 3].map(|step| record("a", step, Split::Train, 1.0, None));
        let png = draw_png(&records).unwrap();
        let picture = aki_data::Picture::decode(&png, "curves.png").unwrap();
        assert_eq!((picture.width, picture.height), (1840, 680));
        let dark = picture.rgb.chunks(3).filter(|rgb| rgb[0] < 100).count();
        assert!(
            dark > 1000,
            "{dark} dark pixels: the axes and their numbers"
        );
        assert!(draw_png(&[]).is_ok());
    }

    #[test]
    fn no_record_is_an_empty_picture() {
        assert!(drawn(&[]).contains("no records yet"));
    }

    #[test]
    fn one_record_is_a_dot() {
        for split in [Split::Train, Split::Valid] {
            for step in [0, 5] {
                assert!(drawn(&[record("a", step, split, 2.0, Some(0.5))]).contains("circle"));
            }
        }
    }

    #[test]
    fn values_that_cannot_be_drawn_are_counted() {
        let nan = record("a", 1, Split::Valid, f64::NAN, Some(f64::INFINITY));
        assert!(drawn(std::slice::from_ref(&nan)).contains("2 values were not numbers"));
        let fine = record("a", 2, Split::Valid, 1.0, Some(0.5));
        assert!(drawn(&[fine.clone(), nan, fine]).contains("2 values were not numbers"));
    }

    #[test]
    fn extreme_values_are_drawn() {
        for loss in [0.0, -1.0, 1e-300, 1e300, f64::MAX] {
            let records = [1, 2, 3].map(|step| record("a", step, Split::Train, loss, None));
            drawn(&records);
        }
        drawn(&[
            record("a", 1, Split::Train, f64::MAX, None),
            record("a", usize::MAX, Split::Train, f64::MIN, None),
        ]);
    }

    #[test]
    fn stages_follow_each_other_and_are_named() {
        let records = [
            record("cap & <tions>", 100, Split::Train, 3.0, None),
            record("questions", 50, Split::Train, 2.0, None),
            record("questions", 100, Split::Valid, 1.0, Some(0.25)),
        ];
        let stages = lay_out(&records);
        assert!((stages[1].start - 100.0).abs() < 1e-9);
        assert_eq!(stages[1].train, [(150.0, 2.0)]);
        assert_eq!(stages[1].accuracy, [(200.0, 25.0)]);
        let svg = drawn(&records);
        assert!(svg.contains("cap &amp; &lt;tions&gt;") && svg.contains("questions"));
    }

    #[test]
    fn smoothing_keeps_straight_lines_and_bounds_the_points() {
        let line: Vec<_> = (0..5000).map(|i| (f64::from(i), f64::from(i))).collect();
        let smoothed = smooth(&line);
        assert!(smoothed.len() <= MOST_POINTS);
        // All but the end, where the mean lags by half its reach.
        let straight = &smoothed[..smoothed.len() * 19 / 20];
        assert!(straight.iter().all(|(x, y)| (x - y).abs() < 1e-6));
        assert_eq!(smooth(&[]), []);
    }

    #[test]
    fn names_are_cut_to_their_stage() {
        assert_eq!(fit("questions", 1.0), "questions");
        assert_eq!(fit("questions", 0.05), "que…");
        assert_eq!(fit("questions", 0.0), "");
    }
}
