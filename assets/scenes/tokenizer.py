"""Builds the tokenizer of the scenes that `aki data scenes` makes.

    pip install tokenizers==0.23.2
    python assets/scenes/tokenizer.py

Writes tokenizer.json beside itself, as easy-VQA's build.py makes its own: each word of the
questions, answers and captions is one id.
"""

import sys
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "easy-vqa"))

from build import SYSTEM_COPIES, SYSTEM_LINES, build_tokenizer  # noqa: E402

COLOURS = ["black", "blue", "gray", "green", "red", "yellow"]
SHAPES = {"circle": "circles", "cross": "crosses", "square": "squares", "triangle": "triangles"}
PLACES = ["left of", "right of", "above", "below"]
ANSWERS = ["0", "1", "2", "3", "yes", "no", *COLOURS, *SHAPES]


def texts() -> list[str]:
    """Every form of text, with every word that can stand in it."""
    things = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    forms = [f"how many {colour} shapes are there?" for colour in COLOURS]
    forms += [f"how many {shapes} are there?" for shapes in SHAPES.values()]
    forms += [f"what color is the {shape}?" for shape in SHAPES]
    forms += [f"what is the {colour} shape?" for colour in COLOURS]
    for thing in things:
        forms += [f"is there a {thing}?", f"a {thing}, a {thing} and a {thing}"]
        forms += [f"is the {thing} {place} the {thing}?" for place in PLACES]
        forms += [f"what color is the shape directly {place} the {thing}?" for place in PLACES]
    return forms + ANSWERS


def main() -> None:
    made = texts()
    tokenizer = build_tokenizer(made * 10 + SYSTEM_LINES * SYSTEM_COPIES)
    words = {word.strip("?,") for text in made for word in text.split()}
    split = {word: tokens for word in words if len(tokens := tokenizer.encode(word).tokens) > 1}
    assert not split, f"words of more than one token: {split}"
    vocab = tokenizer.get_vocab_size()
    assert tokenizer.token_to_id("<image>") == vocab - 2
    assert tokenizer.token_to_id("<|endofchunk|>") == vocab - 1
    text = tokenizer.to_str(pretty=True) + "\n"
    (FOLDER / "tokenizer.json").write_text(text, encoding="utf-8")
    digest = sha256(text.encode()).hexdigest()
    print(f"tokenizer.json: {vocab} ids, special tokens from {tokenizer.token_to_id('<s>')}\n{digest}")


if __name__ == "__main__":
    main()
