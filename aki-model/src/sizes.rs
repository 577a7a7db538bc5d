//! Checks of the numbers that a configuration gives.

/// A network wider or longer than this is a slip of the keyboard; its memory could not be asked for.
const LARGEST: usize = 1 << 20;

/// Whether each size is at least 1 and can be meant.
pub(crate) fn at_least_one(sizes: &[(&str, usize)]) -> Result<(), String> {
    for (name, size) in sizes {
        if *size == 0 || *size > LARGEST {
            return Err(format!("{name} is {size} and must be from 1 to {LARGEST}"));
        }
    }
    Ok(())
}

/// More layers than any published model has; each costs memory before a weight of it is read.
const MOST_LAYERS: usize = 1 << 10;

/// Whether so many layers can be meant.
pub(crate) fn layers(name: &str, count: usize) -> Result<(), String> {
    if count <= MOST_LAYERS {
        return Ok(());
    }
    Err(format!(
        "{name} is {count} and must be at most {MOST_LAYERS}"
    ))
}

/// Whether a number is positive and finite.
pub(crate) fn positive(name: &str, value: f64) -> Result<(), String> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(format!("{name} is {value} and must be more than 0"))
}
