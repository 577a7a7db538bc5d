"""The tokenizer of the tiny AKI: a SentencePiece model and the files that the published folder has.

Phi-3's added tokens come first, with its flags, then what AKI adds to them, all under other
ids than the real ones.
"""

import io
import tempfile
from pathlib import Path

import sentencepiece
from transformers import LlamaTokenizer

from tiny import write_json

PIECES = 380
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
CORPUS = [
    *[SYSTEM] * 4,
    "what color is the circle in the picture?",
    "what shape is it, a triangle, a rectangle or a circle?",
    "is there a blue shape in the first picture, and not in the second one?",
    "a red triangle on a yellow floor, with a small shadow below it",
    "it is green. it does not contain a shape that is blue.",
    "the café is closed; there are 20 people in front of it",
    "yes, there is. no, there is not. the second one is brown.",
]
PHI_TOKENS = [
    "<|endoftext|>",
    "<|assistant|>",
    *[f"<|placeholder{n}|>" for n in range(1, 5)],
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
]
# The shape of Phi-3.5's template: a tag, the text, <|end|>.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def train() -> bytes:
    """A BPE with Llama's settings: byte fallback, every space kept, one in front."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def added(content: str, rstrip: bool, special: bool = True) -> dict:
    flags = {"lstrip": False, "normalized": False, "rstrip": rstrip, "single_word": False, "special": special}
    return {"content": content} | flags


def write_tokenizer(folder: Path) -> LlamaTokenizer:
    """Writes the four files as transformers saves them, and gives the slow tokenizer back."""
    with tempfile.TemporaryDirectory() as scratch:
        phi = Path(scratch)
        (phi / "tokenizer.model").write_bytes(train())
        decoder = {
            "0": added("<unk>", rstrip=False),
            "1": added("<s>", rstrip=False),
            "2": added("</s>", rstrip=True, special=False),
        }
        for index, token in enumerate(PHI_TOKENS, PIECES):
            decoder[str(index)] = added(token, rstrip=token != "<|endoftext|>")
        config = {
            "add_bos_token": False,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            "bos_token": "<s>",
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|endoftext|>",
            "legacy": False,
            "model_max_length": 384,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer",
            "unk_token": "<unk>",
            "use_default_system_prompt": False,
        }
        write_json(phi / "tokenizer_config.json", config)
        tokenizer = LlamaTokenizer.from_pretrained(phi)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<|endofchunk|>"]})
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    # What is saved must read back as it was.
    again = LlamaTokenizer.from_pretrained(folder)
    assert again.get_vocab() == tokenizer.get_vocab()
    return again


# White space around special tokens, bytes, and what looks like a special token but is none.
TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "the circle",
    " the circle",
    "  the  circle  ",
    "the circle\n",
    "\tthe\t\tcircle",
    "▁the▁circle",
    "CIRCLE zebra quiz",
    "café Zürich 東京 🦀 e\u0301",
    "20 2 0 200",
    "<s>",
    "<s> ",
    " <s>",
    "<s> the",
    "<s>the",
    "the <s> circle",
    "a</s> b",
    "a</s>\n\n b </s>",
    "<unk> a <unk>b",
    "<|user|> \n the circle",
    "the <|user|>  the",
    "<|user|><|end|> <|end|>\n<|assistant|>",
    "the <|endoftext|> the",
    "the<|endoftext|>the",
    "<|endoftext|>  ",
    "<image>\nthe circle",
    "<image> the circle",
    " <image> <image>the",
    "the <|endofchunk|> <image>",
    "<pad> the<pad>",
    "<|user the|> <image <pad",
    "<0x41> <0x0A>",
    "<s> <|system|>\nthe circle<|end|>\n<|user|>\n<image>\nwhat color?<|end|>\n<|assistant|>\n",
    "<|placeholder1|> a <|placeholder6|> b",
]


def write_cases(tokenizer: LlamaTokenizer, path: Path) -> None:
    """Ids of TEXTS without further special tokens, both ways of decoding them, and a rendered chat."""
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        cases.append(
            {
                "text": text,
                "ids": ids,
                "decoded": tokenizer.decode(ids),
                "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    messages = [
        {"role": "system", "content": "the circle"},
        {"role": "user", "content": "<image>\nwhat color?"},
        {"role": "assistant", "content": "blue"},
        {"role": "user", "content": "what shape?"},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    write_json(path, {"cases": cases, "chat": {"messages": messages, "rendered": rendered}})


def special_ids(tokenizer: LlamaTokenizer) -> dict[str, int]:
    names = ["<s>", "<|endoftext|>", "<|assistant|>", "<|end|>", "<pad>", "<image>", "<|endofchunk|>"]
    return {name: tokenizer.convert_tokens_to_ids(name) for name in names}
