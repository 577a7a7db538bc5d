//! Draws the learning curves of several runs over one another.

use kuva::prelude::{Figure, LegendPosition, LinePlot, Plot, ScatterPlot, SvgBackend};

use super::curves::{HEIGHT, WIDTH, axes, lay_out, smooth};
use super::jsonl::Record;

/// One colour a run, from the first again after the last; told apart by those who see few colours too
/// (Okabe and Ito's, with grey for the yellow that is too light on white).
pub(crate) const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f",
];

/// A panel's name, and the points of a run for it.
type Panel = (&'static str, fn(&[Record]) -> Vec<(f64, f64)>);

const PANELS: [Panel; 3] = [
    ("training loss (smoothed)", |records| {
        points(records, |stage| smooth(&stage.train))
    }),
    ("validation loss", |records| {
        points(records, |stage| stage.valid.clone())
    }),
    ("validation accuracy (%)", |records| {
        points(records, |stage| stage.accuracy.clone())
    }),
];

fn points(
    records: &[Record],
    of: impl Fn(&super::curves::Stage<'_>) -> Vec<(f64, f64)>,
) -> Vec<(f64, f64)> {
    lay_out(records).iter().flat_map(of).collect()
}

/// Draws runs, each with its name, as an SVG picture on white. Values that cannot be drawn (NaN, beyond
/// 1e30) are left out.
pub fn draw_compared(runs: &[(&str, &[Record])]) -> String {
    let end = runs.iter().flat_map(|(_, records)| lay_out(records));
    let end = end
        .map(|stage| stage.start + stage.length)
        .fold(1.0, f64::max);
    let (mut plots, mut layouts) = (Vec::new(), Vec::new());
    for (label, of) in PANELS {
        let mut panel: Vec<Plot> = Vec::new();
        for ((name, records), colour) in runs.iter().zip(COLOURS.iter().cycle()) {
            let points = of(records);
            if points.is_empty() {
                continue;
            }
            // A line through one point can't be seen.
            if points.len() == 1 {
                let dots = ScatterPlot::new().with_data(points.clone());
                panel.push(dots.with_color(*colour).with_size(3.0).into());
            }
            let line = LinePlot::new().with_data(points).with_color(*colour);
            panel.push(line.with_legend(*name).into());
        }
        // The first is drawn without points too, so that the picture is one.
        if panel.is_empty() && !plots.is_empty() {
            continue;
        }
        let layout = axes(&panel, end);
        if panel.is_empty() {
            panel.push(LinePlot::new().into());
        }
        let layout = layout
            .with_legend_position(LegendPosition::InsideTopRight)
            .with_x_label("step")
            .with_y_label(label);
        plots.push(panel);
        layouts.push(layout);
    }
    let scene = Figure::new(layouts.len(), 1)
        .with_cell_size(WIDTH, HEIGHT)
        .with_plots(plots)
        .with_layouts(layouts)
        .render();
    SvgBackend::new().render_scene(&scene)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Split;

    fn record(step: usize, split: Split, loss: f64) -> Record {
        Record::new("a", step, split, loss, 0.0)
    }

    #[test]
    fn each_run_has_its_name_and_colour() {
        let one = [1, 2, 3].map(|step| record(step, Split::Train, 2.0 / step as f64));
        let two = [1, 2].map(|step| record(step, Split::Valid, f64::from(step as u32)));
        let svg = draw_compared(&[("first", &one), ("a <b>", &two)]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for part in ["first", "a &lt;b&gt;", COLOURS[0], COLOURS[1]] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.contains("validation loss") && !svg.contains("accuracy"));
    }

    #[test]
    fn nothing_to_draw_is_a_picture_too() {
        let nan = [record(1, Split::Train, f64::NAN)];
        for runs in [&[][..], &[("a", &nan[..])], &[("a", &[])]] {
            let svg = draw_compared(runs);
            assert!(svg.starts_with("<svg") && !svg.contains("NaN"));
        }
    }
}
