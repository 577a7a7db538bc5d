//! A bar on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `samples`; if their number is not known, a spinner.
pub fn bar(name: &str, samples: Option<u64>) -> ProgressBar {
    let (bar, template) = match samples {
        Some(samples) => (
            ProgressBar::new(samples),
            "{prefix:>10} {wide_bar:.cyan/dim} {pos}/{len} samples {eta:>4} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{prefix:>10} {spinner} {pos} samples {elapsed}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    bar.with_style(style).with_prefix(name.to_owned())
}
