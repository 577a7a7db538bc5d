//! `aki inspect model`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use aki_model::weights::{Bits, Checkpoint, check};
use aki_train::folder::{FolderConfig, find};
use anyhow::Result;
use burn::tensor::DType;
use serde_json::json;

/// A part of a network: its name, what it is, and what it is made of.
struct Part {
    name: &'static str,
    about: String,
    pieces: Vec<Piece>,
}

/// Tensors whose names begin alike; the layers of a stack are one piece.
struct Piece {
    name: String,
    layers: BTreeSet<usize>,
    parameters: usize,
    bytes: usize,
    dtypes: BTreeSet<&'static str>,
}

pub fn model(path: &Path, as_json: bool) -> Result<()> {
    let folder = find(path)?;
    let config = FolderConfig::read(&folder)?;
    let checkpoint = config.open_weights(&folder)?;
    // All that does not fit is told before anything is printed.
    check(&config.parameters(), &checkpoint)?;
    let parts = parts(&config, &checkpoint);
    let total: usize = parts.iter().map(Part::parameters).sum();
    let bytes: usize = parts.iter().map(Part::bytes).sum();
    let mut out = std::io::stdout();
    if as_json {
        let of = |part: &Part| {
            let about = json!({
                "about": part.about,
                "parameters": part.parameters(),
                "dtypes": part.dtypes(),
                "stored_bytes": part.bytes(),
            });
            (part.name.to_owned(), about)
        };
        let dtypes: BTreeSet<_> = parts.iter().flat_map(Part::dtypes).collect();
        let object = json!({
            "parameters": total,
            "dtypes": dtypes,
            "bytes": {"f32": 4 * total, "f16": 2 * total, "bf16": 2 * total},
            "stored_bytes": bytes,
            "parts": parts.iter().map(of).collect::<serde_json::Map<_, _>>(),
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    let line = |name: &str, parameters: usize, dtypes: BTreeSet<&str>, about: &str| {
        let dtypes = dtypes.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!(
            "{name:<32} {:>15}  {dtypes:<5} {about}",
            grouped(parameters)
        );
        text.trim_end().to_owned()
    };
    for part in &parts {
        writeln!(
            out,
            "{}",
            line(part.name, part.parameters(), part.dtypes(), &part.about)
        )?;
        for piece in &part.pieces {
            let times = match piece.layers.len() {
                0 => String::new(),
                layers => format!("{layers} x {}", grouped(piece.parameters / layers)),
            };
            let name = format!("  {}", piece.name);
            writeln!(
                out,
                "{}",
                line(&name, piece.parameters, piece.dtypes.clone(), &times)
            )?;
        }
    }
    writeln!(out, "{:<32} {:>15}  parameters", "all", grouped(total))?;
    let memory = [("f32", 4), ("f16 or bf16", 2)];
    let mut memory = memory
        .map(|(dtype, bytes)| format!("{} in {dtype}", gigabytes(total * bytes)))
        .join(", ");
    if config.quantization.is_some() {
        memory = format!("{} as they are packed; unpacked {memory}", gigabytes(bytes));
    }
    writeln!(out, "memory of the weights: {memory}")?;
    Ok(())
}

impl Part {
    fn parameters(&self) -> usize {
        self.pieces.iter().map(|piece| piece.parameters).sum()
    }

    /// Bytes on disk.
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    fn dtypes(&self) -> BTreeSet<&'static str> {
        self.pieces
            .iter()
            .flat_map(|piece| piece.dtypes.clone())
            .collect()
    }
}

/// Numbers of the packed matrices by the names of their words, and what they are held in.
fn packed(config: &FolderConfig) -> BTreeMap<String, (usize, &'static str)> {
    let Some(how) = &config.quantization else {
        return BTreeMap::new();
    };
    let plain = config.model.parameters().into_iter();
    let plain = plain.flat_map(|parameter| parameter.tensors);
    let packed = plain.filter_map(|(name, shape)| {
        let (words, bits) = how.words_of(&name)?;
        let dtype = match bits {
            Bits::Eight => "int8",
            Bits::Four => "int4",
        };
        Some((words, (shape.iter().product(), dtype)))
    });
    packed.collect()
}

/// The pieces of a part, in the order of the checkpoint.
fn pieces(prefix: &str, config: &FolderConfig, checkpoint: &Checkpoint) -> Vec<Piece> {
    let packed = packed(config);
    let mut pieces: Vec<Piece> = Vec::new();
    for (whole, tensor) in checkpoint.tensors() {
        let Some(rest) = whole.strip_prefix(prefix) else {
            continue;
        };
        let words: Vec<&str> = rest.split('.').collect();
        let layer = words.iter().position(|word| word.parse::<usize>().is_ok());
        // Without the last word, which is the tensor's: weight, bias.
        let (head, layer) = match layer {
            Some(at) => (&words[..at], words[at].parse::<usize>().ok()),
            None => (&words[..(words.len() - 1).clamp(1, 2)], None),
        };
        let name = head.join(".");
        let at = pieces
            .iter()
            .position(|piece| piece.name == name)
            .unwrap_or_else(|| {
                pieces.push(Piece {
                    name,
                    layers: BTreeSet::new(),
                    parameters: 0,
                    bytes: 0,
                    dtypes: BTreeSet::new(),
                });
                pieces.len() - 1
            });
        let piece = &mut pieces[at];
        piece.layers.extend(layer);
        let plain = || tensor.dtype.as_ref().map_or("other", DType::name);
        let numbers = || tensor.shape.iter().product::<usize>();
        let (numbers, dtype) = packed
            .get(whole)
            .map_or_else(|| (numbers(), plain()), |&packed| packed);
        piece.parameters += numbers;
        piece.bytes += tensor.byte_len();
        piece.dtypes.insert(dtype);
    }
    pieces
}

fn parts(folder: &FolderConfig, checkpoint: &Checkpoint) -> [Part; 3] {
    let config = &folder.model;
    let (vision, language) = (&config.vision, &config.language);
    let connector = match (&config.resampler, &config.projector) {
        (Some(it), _) => format!(
            "PerceiverResampler: {} layers, {} heads of {}, {} latents",
            it.depth, it.heads, it.head_dim, it.num_latents
        ),
        (None, Some(it)) => format!(
            "projector: {} wide, a token for each of the tower's",
            it.hidden_size
        ),
        (None, None) => String::new(),
    };
    [
        Part {
            name: "vision_encoder",
            about: format!(
                "{:?}: {} layers {} wide, {} heads of {}, {} tokens of a picture of {} pixels a side",
                vision.model_type,
                vision.num_hidden_layers,
                vision.hidden_size,
                vision.num_attention_heads,
                vision.hidden_size / vision.num_attention_heads,
                vision.num_tokens(),
                vision.image_size,
            ),
            pieces: pieces("vision_encoder.", folder, checkpoint),
        },
        Part {
            name: "vision_tokenizer",
            about: connector,
            pieces: pieces("vision_tokenizer.", folder, checkpoint),
        },
        Part {
            name: "lang_model",
            about: format!(
                "{:?}: {} layers {} wide, {} heads of {} over {} of keys and values, {} + {} words",
                language.model_type,
                language.num_hidden_layers,
                language.hidden_size,
                language.num_attention_heads,
                language.head_dim(),
                language.num_key_value_heads,
                language.vocab_size,
                language.added_tokens,
            ),
            pieces: pieces("lang_model.", folder, checkpoint),
        },
    ]
}

/// `1,234,567`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn gigabytes(bytes: usize) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use aki_model::AkiConfig;

    use super::*;

    #[test]
    fn aki_4b_has_the_published_numbers() {
        let config = AkiConfig::preset("aki-4b").unwrap();
        let wanted = config.parameters();
        let count = |prefix: &str| -> usize {
            let own = wanted.iter().filter(|it| it.path.starts_with(prefix));
            own.map(aki_model::weights::Parameter::len).sum()
        };
        let parts = ["vision_encoder.", "vision_tokenizer.", "lang_model."].map(count);
        assert_eq!(parts, [428_225_600, 81_608_448, 3_821_079_552 + 44_354]);
        assert_eq!(grouped(parts.iter().sum()), "4,330,957,954");
    }
}
