//! How far something long has come, on standard error.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long it is quiet where there is no terminal.
const QUIET: Duration = Duration::from_mins(1);

/// A bar on a terminal: how many are done of how many, and the time that is left. Elsewhere a line a minute.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    begun: Instant,
    /// Those that were done before.
    done: u64,
    told: Mutex<Instant>,
}

impl Progress {
    /// Of something that is named `name`, over so many of a unit; if their number is not known, a spinner.
    ///
    /// # Panics
    ///
    /// If there are braces in the unit.
    pub fn new(name: &str, count: Option<u64>, unit: &'static str) -> Self {
        let (bar, template) = match count {
            Some(count) => (
                ProgressBar::new(count),
                format!(
                    "{{prefix:>10}} {{wide_bar:.cyan/dim}} {{pos}}/{{len}} {unit} {{eta:>4}} left"
                ),
            ),
            None => (
                ProgressBar::new_spinner(),
                format!("{{prefix:>10}} {{spinner}} {{pos}} {unit} {{elapsed}}"),
            ),
        };
        let style = ProgressStyle::with_template(&template).expect("the template is well-formed");
        let now = Instant::now();
        Self {
            bar: bar.with_style(style).with_prefix(name.to_owned()),
            unit,
            begun: now,
            done: 0,
            told: Mutex::new(now),
        }
    }

    /// So many were done before.
    #[must_use]
    pub fn after(mut self, done: u64) -> Self {
        self.done = done;
        self.bar.set_position(done);
        self.bar.reset_eta();
        self
    }

    /// How many there are is known now.
    pub fn set_length(&self, count: u64) {
        self.bar.set_length(count);
    }

    /// So many more are done.
    pub fn inc(&self, more: u64) {
        self.bar.inc(more);
        self.tell();
    }

    /// So many are done.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
        self.tell();
    }

    fn tell(&self) {
        if !self.bar.is_hidden() {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= QUIET {
            *told = Instant::now();
            // Where it is closed, the work goes on all the same.
            writeln!(std::io::stderr(), "{}", self.line(self.begun.elapsed())).ok();
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// What is told after so much time.
    fn line(&self, elapsed: Duration) -> String {
        let (name, unit, position) = (self.bar.prefix(), self.unit, self.bar.position());
        let new = position.saturating_sub(self.done).max(1);
        match self.bar.length() {
            Some(count) => {
                let left =
                    elapsed.as_secs_f64() / new as f64 * count.saturating_sub(position) as f64;
                let minutes = left / 60.0;
                format!("{name}: {position} of {count} {unit}, about {minutes:.0} min left")
            }
            None => format!("{name}: {position} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_what_was_done_here() {
        let progress = Progress::new("pope", Some(100), "questions").after(40);
        progress.inc(20);
        let line = progress.line(Duration::from_mins(10));
        assert_eq!(line, "pope: 60 of 100 questions, about 20 min left");
        let unknown = Progress::new("packing", None, "samples");
        unknown.inc(3);
        assert_eq!(unknown.line(Duration::from_mins(1)), "packing: 3 samples");
    }
}
