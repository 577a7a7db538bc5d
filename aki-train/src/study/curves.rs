//! Accuracy along the tuning, row beside row.

use kuva::prelude::{Figure, LegendPosition, LinePlot, Plot, PngBackend, SvgBackend};
use kuva::render::render::Scene;

use super::Row;
use super::table::{RowResult, Table};
use crate::log::{COLOURS, HEIGHT, WIDTH, axes};

/// Where each row's colour stands: those that matter most are told apart best.
const PLACES: [usize; 8] = [0, 2, 3, 4, 5, 7, 6, 1];

/// Draws a panel a data set as an SVG picture on white: a line for the mean over seeds, shaded from the lowest
/// seed to the highest.
pub(super) fn draw(table: &Table) -> String {
    SvgBackend::new().render_scene(&scene(table))
}

/// The same as a PNG picture, of twice as many pixels a side.
///
/// # Errors
///
/// What kuva says if it cannot.
pub(super) fn draw_png(table: &Table) -> Result<Vec<u8>, String> {
    let png = PngBackend::new().with_scale(2.0);
    png.render_scene(&scene(table))
}

fn scene(table: &Table) -> Scene {
    let (mut plots, mut layouts) = (Vec::new(), Vec::new());
    for data in &table.data {
        let mut panel: Vec<Plot> = data.rows.iter().map(line).collect();
        let steps = data.rows.iter().flat_map(|result| &result.curve);
        let end = steps.map(|point| point.step as f64).fold(1.0, f64::max);
        let layout = axes(&panel, end)
            .with_legend_position(LegendPosition::InsideTopLeft)
            .with_title(data.data.name())
            .with_x_label("step of the tuning")
            .with_y_label("held-out accuracy (%)");
        if panel.is_empty() {
            panel.push(LinePlot::new().into());
        }
        plots.push(panel);
        layouts.push(layout);
    }
    Figure::new(layouts.len(), 1)
        .with_cell_size(WIDTH, 1.5 * HEIGHT)
        .with_plots(plots)
        .with_layouts(layouts)
        .render()
}

fn line(result: &RowResult) -> Plot {
    let points = result.curve.iter();
    let points = points.map(|point| (point.step as f64, 100.0 * point.accuracy.mean));
    let bound = |of: fn(f64, f64) -> f64| -> Vec<f64> {
        let values = result.curve.iter().map(|point| &point.accuracy);
        let bounds = values.filter_map(|spread| spread.values.iter().copied().reduce(of));
        bounds.map(|share| 100.0 * share).collect()
    };
    let line = LinePlot::new()
        .with_data(points.collect::<Vec<_>>())
        // The same colour whichever rows are there; the band takes it over.
        .with_color(COLOURS[PLACES[result.row as usize]])
        .with_band(bound(f64::min), bound(f64::max))
        .with_stroke_width(2.0)
        .with_legend(result.row.name());
    let less = [
        Row::DotNoTiPt,
        Row::DotNoItPt,
        Row::DotNoTiSft,
        Row::DotNoItSft,
    ];
    match less.contains(&result.row) {
        true => line.with_dashed().into(),
        false => line.into(),
    }
}
