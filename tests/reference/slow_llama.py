"""Writes the tokenizer folders and cases that pin aki-data to Hugging Face's slow LlamaTokenizer.

    pip install transformers==4.57.3 sentencepiece==0.2.1 protobuf jinja2
    python tests/reference/slow_llama.py aki-data/tests/fixtures/tokenizers [PHI3_TOKENIZER_JSON]

Four folders in the layout of the published AKI checkpoint (no tokenizer.json), each with
cases.json: texts with their ids and decoded texts, and runs of random ids with theirs.

    phi-3        Phi-3's vocabulary with AKI's tokens; made only if its tokenizer.json is named
    aki          trained on a few lines, normalised as Llama's
    normalizing  with a character map, user-defined symbols, extra white space removed, no bytes
    legacy       as `aki`, with `legacy` true and the older configuration files

Read by aki-data/tests/slow_llama.rs.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import sentencepiece
import transformers
from sentencepiece import sentencepiece_model_pb2 as proto
from transformers import AddedToken, LlamaTokenizer

assert transformers.__version__ == "4.57.3", transformers.__version__
assert sentencepiece.__version__ == "0.2.1", sentencepiece.__version__

PHI = [
    "<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>",
    "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>",
]

TRAINING_TEXT = """\
A chat between a curious user and an artificial intelligence assistant.
The assistant gives helpful, detailed, and polite answers to the user's questions.
What color is the circle in the picture? The circle is blue, and the square is not.
Is there a red triangle? Yes, there is one at the top left corner of the picture.
Answer with the option's letter from the given choices directly. (A) one (B) two (C) three
    def picture(color):
        return [circle for circle in circles if circle.color == color]
How many people are there?  There are 12 people, 3 dogs; and 0.5 of an apple --- or so...
Größe, naïve café, ¿qué?, 図は青い, привет мир, the end.
"""

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\t\n", "\0", "a\0b", "Hello world", " Hello world",
    "  Hello   world  ", "Hello\nworld", "Hello \n world\n", "Hello, world!", "🦙", " 🦙.cpp", "a🦙b🦙🦙",
    "é", "e\u0301", "\u2581", "\u2581\u2581a", "a\u2581b", " \u2581 ", "<unk>", "<s>", "</s>", "<0x0A>", "<0x41>b",
    "日本語のテキスト", "नमस्ते", "مرحبا", "\u200b\u200d\ufeff", "\u00a0x\u3000y", "\x1c\x1d a \x1f", "\x85x\x0bx\x0c",
    "''''''```````\"\"\"\"......!!!!!!??????", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", " " * 40, "-" * 33, "\ufffd",
    "<image>", "<image><image>", " <image> ", "<|endofchunk|>", "<|user|>", " <|user|>", "<|user|> x", "<|user|>\nx",
    "<|user|>\n\n  x", "<|user|>\u2581x", "<|user|>\x1cx", "<|user|>\u00a0x", "x<|user|>", "x <|user|>", "x\n<|user|>\ny",
    "<|us", "<|us<|user|>er|>", "<<|user|>>", "<|user|><|user|>", "<|user|> <|end|> <|user|>", "<|endoftext|>\nx",
    "<|endoftext|> x", "<s> x", "<s>x", "<s> <s>", "<s>\n", "x</s> y", "<unk> x", "x<unk>y", "<pad> x <pad>",
    "<s> <|system|>\nA chat.<|end|>\n<|user|>\n<image>\nwhat color?<|end|>\n<|assistant|>\n",
    "<|system|>\nA chat.<|end|>\n<|user|>\n<image>\n<image>\nwhat?<|end|>\n<|assistant|>\nblue<|endoftext|>",
    "<s><|system|>\nA chat.<|end|>\n<|user|>\nhi<|end|>\n<|assistant|>\n hello <|endoftext|>",
    "<image>a blue circle<|endofchunk|><|endoftext|>", "<image> a blue circle <|endofchunk|>",
    "[INST] x [/INST]", "<sep>", "a<sep>b", " <sep> <sep>", "ﬁne ½ Ａ", "ﬁ<sep>ﬁ <image>ﬁ",
    "fi\u2581\u2581 <|user|>", "x" + " " * 17 + "y", "\n" * 20 + "end", "A.\n  B.\n    C.\r\n",
]

ATOMS = [
    "the", " the", " circle", "color", " ", "  ", "     ", "\n", "\n ", "\t", "🦙", "é", "図", "\u2581", "\0", "<", "|", ">", "<|", "12",
    "<s>", "</s>", "<unk>", "<pad>", "<image>", "<|endofchunk|>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>",
    "<|system|>", "<sep>", "[x]", "ﬁ", "½", "\u00a0", "\x1c", "\x85", "\ufffd", "abab", "aaa", "привет", "...", ",", "-",
]


def random_texts(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices(ATOMS, k=rng.randint(1, 9))) for _ in range(count)]


def train(folder: Path, **options) -> None:
    with tempfile.TemporaryDirectory() as work:
        text = Path(work) / "text.txt"
        text.write_text(TRAINING_TEXT * 3, encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{work}/m", model_type="bpe", num_threads=1, minloglevel=2,
            hard_vocab_limit=False, **options,
        )
        shutil.copy(f"{work}/m.model", folder / "tokenizer.model")


def phi_model(tokenizer_json: Path, file: Path) -> None:
    """Phi's SentencePiece model from its tokenizer.json: Llama's scores go down by one a piece."""
    vocab = json.loads(tokenizer_json.read_text(encoding="utf-8"))["model"]["vocab"]
    model = proto.ModelProto()
    kinds = proto.ModelProto.SentencePiece
    for piece, id in sorted(vocab.items(), key=lambda entry: entry[1]):
        entry = model.pieces.add(piece=piece, score=-float(max(id - 259, 0)))
        entry.type = kinds.NORMAL
        if id == 0:
            entry.type = kinds.UNKNOWN
        elif id < 3:
            entry.type = kinds.CONTROL
        elif id < 259:
            entry.type = kinds.BYTE
        elif len(piece) > 1 and set(piece) == {"\u2581"}:
            entry.score = -1e9
    model.trainer_spec.model_type = proto.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(vocab)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    file.write_bytes(model.SerializeToString(deterministic=True))


def configure(folder: Path, legacy: bool, phi_special: bool) -> LlamaTokenizer:
    """Puts AKI's tokens in and saves the configuration as `transformers` does."""
    base = LlamaTokenizer(str(folder / "tokenizer.model"), legacy=legacy, eos_token=AddedToken("<|endoftext|>", special=True, normalized=False))
    added = [AddedToken(text, rstrip=text != "<|endoftext|>", normalized=False, special=phi_special) for text in PHI]
    base.add_tokens(added)
    base.add_special_tokens({"pad_token": AddedToken("<pad>", special=True, normalized=False)})
    base.add_special_tokens(
        {"additional_special_tokens": ["<image>", "<|endofchunk|>"]}, replace_additional_special_tokens=False
    )
    base.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for entry in config["added_tokens_decoder"].values():
        # Phi's are special, but not among the additional special ones.
        entry["special"] = True
    if legacy:
        del config["added_tokens_decoder"], config["additional_special_tokens"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    return LlamaTokenizer.from_pretrained(folder)


def cases(tokenizer: LlamaTokenizer, count: int) -> dict:
    rng = random.Random(7)
    encoded, decoded = [], []
    for text in TEXTS + random_texts(rng, count):
        ids = tokenizer.encode(text, add_special_tokens=False)
        plain = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        encoded.append({"text": text, "ids": ids, "plain": plain, **texts_of(tokenizer, ids)})
    special = sorted(tokenizer.added_tokens_decoder)
    for _ in range(count):
        low = rng.choice([len(tokenizer), len(tokenizer), 300])
        ids = [rng.choice(special) if rng.random() < 0.2 else rng.randrange(low) for _ in range(rng.randint(1, 12))]
        decoded.append({"ids": ids, **texts_of(tokenizer, ids)})
    return {"encoded": encoded, "decoded": decoded}


def texts_of(tokenizer: LlamaTokenizer, ids: list[int]) -> dict:
    return {
        "decoded": tokenizer.decode(ids, skip_special_tokens=True) if ids else "",
        "marked": tokenizer.decode(ids, skip_special_tokens=False) if ids else "",
    }


def write_cases(folder: Path, cases: dict) -> None:
    lines = {key: ",\n".join(json.dumps(case, ensure_ascii=True) for case in value) for key, value in cases.items()}
    body = ",\n".join(f'"{key}": [\n{value}\n]' for key, value in lines.items())
    (folder / "cases.json").write_text("{\n" + body + "\n}\n")


def main(root: Path, phi_json: Path | None) -> None:
    llama = dict(
        vocab_size=520, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98, unk_surface=" \u2047 ",
    )
    with tempfile.TemporaryDirectory() as work:
        # A character map of a few lines; the built-in ones have 200 kB.
        rules = Path(work) / "rules.tsv"
        rules.write_text("FB01\t66 69\nBD\t31 2F 32\n9\t20\nA\t20\nA0\t20\nFF21\t41\n66 66\t66\n")
        normalizing = dict(
            vocab_size=300, normalization_rule_tsv=str(rules), remove_extra_whitespaces=True,
            user_defined_symbols=["<sep>", "[x]", "aa", "aaa"], character_coverage=0.98,
        )
        for name, options, legacy in [("aki", llama, False), ("normalizing", normalizing, False), ("legacy", llama, True)]:
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            train(folder, **options)
            write_cases(folder, cases(configure(folder, legacy, phi_special=name == "aki"), 150))
    if phi_json:
        folder = root / "phi-3"
        folder.mkdir(parents=True, exist_ok=True)
        phi_model(phi_json, folder / "tokenizer.model")
        write_cases(folder, cases(configure(folder, False, phi_special=False), 150))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
