//! Pictures made of characters.

use std::fmt::Write;
use std::io::IsTerminal;

use aki_data::Picture;
use anyhow::{Context, Result};
use image::{DynamicImage, RgbImage};

/// Columns of a picture that is no higher than wide.
const COLUMNS: u32 = 40;

/// A colour, red, green, blue.
pub type Colour = [u8; 3];

/// A picture in upper half blocks, two rows of pixels a line, for a terminal with 24-bit colours;
/// nothing where the output is no terminal.
pub fn picture(picture: &Picture) -> String {
    if std::io::stdout().is_terminal() {
        half_blocks(picture)
    } else {
        String::new()
    }
}

fn half_blocks(picture: &Picture) -> String {
    let mut text = String::new();
    let pixel = |x: u32, y: u32| -> Colour {
        let at = (y * picture.width + x) as usize * 3;
        [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
    };
    for y in (0..picture.height).step_by(2) {
        for x in 0..picture.width {
            let [r, g, b] = pixel(x, y);
            write!(text, "\x1b[38;2;{r};{g};{b}m").ok();
            if y + 1 < picture.height {
                let [r, g, b] = pixel(x, y + 1);
                write!(text, "\x1b[48;2;{r};{g};{b}m").ok();
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// A picture as large as the terminal can show it well, by the best way it knows; nothing where the
/// output is no terminal.
///
/// # Errors
/// What the terminal said.
pub fn show(picture: &Picture) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return Ok(());
    }
    let (width, height) = (picture.width, picture.height);
    let image = RgbImage::from_raw(width, height, picture.rgb.clone());
    let image = DynamicImage::from(image.context("a picture has three values a pixel")?);
    // A character is about twice as high as wide.
    let (columns, rows) = match width >= height {
        true => (Some(COLUMNS), None),
        false => (None, Some(COLUMNS / 2)),
    };
    let config = viuer::Config {
        absolute_offset: false,
        width: columns,
        height: rows,
        use_kitty: may_ask_for_kitty(),
        ..viuer::Config::default()
    };
    viuer::print(&image, &config)?;
    Ok(())
}

/// Whether the terminal says it knows Kitty's protocol. One that does not might never answer when asked.
fn may_ask_for_kitty() -> bool {
    let says = |name: &str, known: &[&str]| {
        let value = std::env::var(name).unwrap_or_default().to_lowercase();
        known.iter().any(|known| value.contains(known))
    };
    std::env::var_os("KITTY_WINDOW_ID").is_some()
        || says("TERM", &["kitty", "ghostty"])
        || says("TERM_PROGRAM", &["kitty", "ghostty", "wezterm"])
}

/// Text from data, without what a terminal would take for commands.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => plain.extend(c.escape_default()),
            c => plain.push(c),
        }
    }
    plain
}

/// Text in a colour where the output is a terminal, plain elsewhere.
pub fn coloured(text: &str, [r, g, b]: Colour) -> String {
    if std::io::stdout().is_terminal() {
        format!("\x1b[38;2;{r};{g};{b}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_the_terminal_are_spelled_out() {
        assert_eq!(plain("a\tb\n\x1b[2J\u{9b}"), "a\tb\n\\u{1b}[2J\\u{9b}");
    }

    #[test]
    fn two_rows_of_pixels_make_a_line() {
        let picture = Picture {
            width: 1,
            height: 3,
            rgb: vec![1, 2, 3, 4, 5, 6, 7, 8, 9],
        };
        assert_eq!(
            half_blocks(&picture),
            "\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀\x1b[0m\n\x1b[38;2;7;8;9m▀\x1b[0m\n"
        );
    }
}
