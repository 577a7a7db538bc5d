//! A study as a table for spreadsheets.

use std::fmt::Write;

use super::table::Table;

/// A line a row, data set, order and kind of question; nothing where there is no number.
pub(super) fn csv(table: &Table) -> String {
    let mut text =
        String::from("data,row,order,kind,asked,seeds,mean,sd,over_causal,low,high,seconds\n");
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for data in &table.data {
        let all: usize = data.asked.values().sum();
        for result in &data.rows {
            for (index, scores) in result.scores.iter().enumerate() {
                let kinds = scores
                    .kinds
                    .iter()
                    .map(|(kind, spread)| (kind.as_str(), spread));
                for (kind, spread) in std::iter::once(("all", &scores.all)).chain(kinds) {
                    let over = result.over_causal.as_ref().filter(|_| index == 0);
                    let over = over.and_then(|over| match kind {
                        "all" => Some(&over.all),
                        kind => over.kinds.get(kind),
                    });
                    let bounds = over.and_then(|over| over.bounds);
                    writeln!(
                        text,
                        "{},{},{},{kind},{},{},{},{},{},{},{},{}",
                        data.data,
                        result.row,
                        scores.order.name(),
                        data.asked.get(kind).copied().unwrap_or(all),
                        spread.values.len(),
                        spread.mean,
                        number(spread.sd),
                        number(over.map(|over| over.mean)),
                        number(bounds.map(|(low, _)| low)),
                        number(bounds.map(|(_, high)| high)),
                        result.seconds.mean,
                    )
                    .ok();
                }
            }
        }
    }
    text
}
