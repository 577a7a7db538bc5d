//! The one table of weight names. Most fields of our modules are named as the checkpoint names
//! them; these are the ones that Rust cannot, or that would read badly.

use burn::store::KeyRemapper;

/// `(ours, the checkpoint's)`; `{}` stands for a layer number.
const NAMES: [(&str, &str); 4] = [
    (
        "vision_tokenizer.layers.{}.attention.",
        "vision_tokenizer.layers.{}.0.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.norm.",
        "vision_tokenizer.layers.{}.1.0.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.up.",
        "vision_tokenizer.layers.{}.1.1.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.down.",
        "vision_tokenizer.layers.{}.1.3.",
    ),
];

/// From our names to the checkpoint's.
pub(super) fn to_checkpoint() -> KeyRemapper {
    remapper(NAMES)
}

/// From the checkpoint's names to ours.
pub(super) fn from_checkpoint() -> KeyRemapper {
    remapper(NAMES.map(|(ours, theirs)| (theirs, ours)))
}

fn remapper(names: [(&str, &str); 4]) -> KeyRemapper {
    let patterns = names.map(|(from, to)| {
        let from = format!("^{}", from.replace('.', r"\.").replace("{}", r"(\d+)"));
        (from, to.replace("{}", "${1}"))
    });
    KeyRemapper::from_pattern_iter(patterns).expect("the table's patterns are regular expressions")
}
