//! Tables in Markdown that read well in a terminal, too.

use std::fmt::Write;

/// Lines as a table, the first being its head; what is not in the first column stands to the right.
///
/// # Panics
///
/// If a line has fewer cells than the head.
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            // A category is the data's, and may be anything.
            let cell = cell.replace('|', "/");
            match column {
                0 => write!(text, "| {cell:<width$} |").ok(),
                _ => write!(text, " {cell:>width$} |").ok(),
            };
        }
        text.push('\n');
        if at == 0 {
            for (column, &width) in widths.iter().enumerate() {
                match column {
                    0 => write!(text, "|{}|", "-".repeat(width + 2)).ok(),
                    _ => write!(text, "{}:|", "-".repeat(width + 1)).ok(),
                };
            }
            text.push('\n');
        }
    }
    text
}
