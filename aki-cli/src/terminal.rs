//! Pictures made of characters.

use std::fmt::Write;
use std::io::IsTerminal;

use aki_data::Picture;

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
