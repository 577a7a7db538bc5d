"""Builds AKI's easy-VQA shards and tokenizer from the published Python package.

    pip install tokenizers==0.23.2
    pip download --no-deps easy-vqa==1.0
    python assets/easy-vqa/build.py easy_vqa-1.0-py3-none-any.whl

Writes train.tar, test.tar, tokenizer.json and LICENSE-easy-VQA beside itself; the
same wheel gives the same bytes. Pictures, questions and answers are verbatim.
Captions ("a blue circle") are derived from a picture's questions and answers.
"""

import io
import json
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from hashlib import sha256
from pathlib import Path

import tokenizers
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

assert tokenizers.__version__ == "0.23.2", f"built with tokenizers 0.23.2, not {tokenizers.__version__}"

COLOURS = {"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"}
SHAPES = {"circle", "rectangle", "triangle"}

SYSTEM_LINES = [
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "Answer the question about the picture.",
]

# Copies of each system line in the training text, so that their words, which
# easy-VQA itself never uses, become one token each.
SYSTEM_COPIES = 1000

# More than the training text has pairs to merge for: it ends at 426, every word of
# it one token, 256 of them single bytes.
MAX_BASE_TOKENS = 440

# Text and whether white space after it is dropped. Phi's role tokens drop it; here
# <s> and <image> do too, so that a question has the same ids with and without a
# picture, in a prompt (a blank after <s>) and in training (none). The last two
# lie outside the pretrained table of the model and must stay last.
SPECIAL_TOKENS = [
    ("<s>", True),
    ("<|endoftext|>", False),
    ("<|assistant|>", True),
    ("<|system|>", True),
    ("<|end|>", True),
    ("<|user|>", True),
    ("<pad>", False),
    ("<image>", True),
    ("<|endofchunk|>", False),
]


def read_split(wheel: zipfile.ZipFile, split: str) -> dict[int, list[tuple[str, str]]]:
    """Questions and answers of each picture, in their published order."""
    pictures = defaultdict(list)
    for question, answer, picture in json.loads(wheel.read(f"easy_vqa/data/{split}/questions.json")):
        pictures[picture].append((question, answer))
    return dict(sorted(pictures.items()))


def kind(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes/no"
    if answer in COLOURS:
        return "color"
    assert answer in SHAPES, answer
    return "shape"


def settled(words: set[str], turns: list[tuple[str, str]]) -> str | None:
    """The one of `words` (all colours, or all shapes) that the picture shows, if told."""
    true, false = set(), set()
    for question, answer in turns:
        asked = question.removesuffix("?").split()
        named = words.intersection(asked)
        if answer in words:
            true.add(answer)
        if answer in ("yes", "no"):
            negated = "not" in asked or "no" in asked
            (true if (answer == "yes") != negated else false).update(named)
        else:
            # "what is the blue shape?" gives away the colour.
            true.update(named)
    assert len(true) <= 1 and not true & false, f"the answers contradict each other: {turns}"
    return next(iter(true), None)


def caption(turns: list[tuple[str, str]]) -> str | None:
    colour, shape = settled(COLOURS, turns), settled(SHAPES, turns)
    return f"a {colour} {shape}" if colour and shape else None


def record(turns: list[tuple[str, str]]) -> bytes:
    conversations = []
    for question, answer in turns:
        conversations.append({"from": "human", "value": question})
        conversations.append({"from": "gpt", "value": answer, "kind": kind(answer)})
    return json.dumps({"conversations": conversations}, separators=(",", ":")).encode()


def write_shard(path: Path, wheel: zipfile.ZipFile, split: str, pictures: dict) -> list[str]:
    """Writes the shard and returns its captions."""
    captions = []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)  # time, user and group are 0 by default
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))

        for number, turns in pictures.items():
            text = caption(turns)
            add(f"{number:05}.json", record(turns))
            add(f"{number:05}.png", wheel.read(f"easy_vqa/data/{split}/images/{number}.png"))
            if text is not None:
                add(f"{number:05}.txt", text.encode())
                captions.append(text)
    questions = [turn for turns in pictures.values() for turn in turns]
    kinds = Counter(kind(answer) for _, answer in questions)
    answers = {answer for _, answer in questions}
    print(f"{path.name}: {len(pictures)} pictures, {len(captions)} with a caption; "
          f"{len(questions)} questions {dict(kinds)}, {len(answers)} answers")
    print(f"  captions: {dict(sorted(Counter(captions).items()))}")
    return captions


def build_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # All questions are in lower case; whoever asks "What shape ...?" means the same.
    tokenizer.normalizer = normalizers.Lowercase()
    # Byte-level, so that any user text encodes; the prefix space gives a word the
    # same id at the start of a text as within one.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_BASE_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    for content, rstrip in SPECIAL_TOKENS:
        token = AddedToken(content, special=True, normalized=False, rstrip=rstrip)
        assert tokenizer.add_special_tokens([token]) == 1
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.get_vocab_size()
    assert tokenizer.token_to_id("<image>") == vocab - 2
    assert tokenizer.token_to_id("<|endofchunk|>") == vocab - 1
    words = COLOURS | SHAPES | {"yes", "no"} | set(" ".join(SYSTEM_LINES).split())
    words |= set("what color is the there not shape in image does contain present".split())
    split = {word: tokenizer.encode(word).tokens for word in words if word.isalpha()}
    split = {word: tokens for word, tokens in split.items() if len(tokens) > 1}
    assert not split, f"words of more than one token: {split}"
    for word in sorted(COLOURS | SHAPES | {"yes", "no"}):
        (alone,) = tokenizer.encode(word).ids
        assert alone in tokenizer.encode(f"what color is the {word} shape?").ids
        assert tokenizer.encode(f"<|assistant|>\n{word}").ids[1:] == [alone]
        assert tokenizer.decode([alone]).strip() == word
    print(f"tokenizer.json: {vocab} ids, special tokens from {tokenizer.token_to_id('<s>')}")


def main(wheel_path: Path) -> None:
    folder = Path(__file__).resolve().parent
    with zipfile.ZipFile(wheel_path) as wheel:
        train, test = (read_split(wheel, split) for split in ("train", "test"))
        captions = write_shard(folder / "train.tar", wheel, "train", train)
        write_shard(folder / "test.tar", wheel, "test", test)
        licence = wheel.read("easy_vqa-1.0.dist-info/LICENSE")
    (folder / "LICENSE-easy-VQA").write_bytes(licence)
    texts = [text for turns in train.values() for turn in turns for text in turn]
    tokenizer = build_tokenizer(texts + captions + SYSTEM_LINES * SYSTEM_COPIES)
    check_tokenizer(tokenizer)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    for name in ("train.tar", "test.tar", "tokenizer.json", "LICENSE-easy-VQA"):
        content = (folder / name).read_bytes()
        print(f"{sha256(content).hexdigest()}  {len(content):>9}  {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
