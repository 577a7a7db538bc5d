"""Shards to time the data pipeline with, a tokenizer and a run file: nothing is downloaded.

Started by scripts/bench-data. Writes FOLDER/{00000..}.tar, tokenizer.json and run.toml. Pictures are JPEGs
of quality 90 with halved chroma planes, four of 640 x 480 pixels to one of 1024 x 768; captions are as long
as those of Conceptual Captions 3M (10.3 words, deviation 4.5), of the words of Python's own manual. Each
picture stands in several samples, since what is timed does not remember them.
"""

import argparse
import io
import random
import re
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics

from photographs import photograph
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<pad>",
                  "<image>", "<|endofchunk|>"]
RUN = """\
# Written by scripts/make_data_shards.py for `aki data bench`; the network is not looked at.
run_dir = "run"
seed = 1
[text]
tokenizer = "tokenizer.json"
system = "Answer the question about the picture."
[data]
valid_samples = 0
exif_orientation = false
[[data.source]]
kind = "webdataset"
shards = "{shards}"
caption = "cc3m"
buffer = {buffer}
[model.vision]
image_size = 384
patch_size = 16
hidden_size = 64
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 1
layer_norm_eps = 1e-6
[model.resampler]
depth = 1
heads = 1
head_dim = 64
num_latents = 144
[model.language]
vocab_size = 32064
added_tokens = 2
hidden_size = 64
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 1
num_key_value_heads = 1
rms_norm_eps = 1e-5
rope_theta = 10000.0
[[stage]]
name = "captions"
target = "sources"
attention = "causal"
steps = 2000
batch = 32
max_text_len = 128
threads = 1
evaluate_every = 500
checkpoint_every = 500
augmentation = {{ flip = 0.0, shift = 0 }}
optimizer = {{ lr = 1e-4, min_lr = 1e-5, warmup_steps = 50, weight_decay = 0.01, clip_norm = 1.0 }}
[evaluation]
samples = 0
batch = 32
examples = 0
"""


def picture(number: int) -> bytes:
    return photograph(number, *((1024, 768) if number % 5 == 4 else (640, 480)), quality=90)


def caption(words: list[str], rng: random.Random) -> str:
    return " ".join(rng.choices(words, k=max(3, round(rng.gauss(10.3, 4.5)))))


def tokenizer(text: list[str]) -> Tokenizer:
    """As assets/easy-vqa/build.py makes one, of some thousand tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made.train_from_iterator(text, trainer)
    for content in SPECIAL_TOKENS:
        made.add_special_tokens([AddedToken(content, special=True, normalized=False, rstrip=content == "<image>")])
    return made


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--shards", type=int, default=12)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    text = list(topics.values())
    words = [word for page in text for word in re.findall(r"\b[a-z]{2,}\b", page)]
    tokenizer(text).save(str(args.folder / "tokenizer.json"))
    with ProcessPoolExecutor() as pool:
        pictures = list(pool.map(picture, range(args.pictures), chunksize=16))
    rng = random.Random(1)
    order = [number % args.pictures for number in range(args.samples)]
    rng.shuffle(order)
    per_shard = -(-args.samples // args.shards)
    for shard in range(args.shards):
        with tarfile.open(args.folder / f"{shard:05}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in range(shard * per_shard, min((shard + 1) * per_shard, args.samples)):
                add(tar, f"{sample:09}.jpg", pictures[order[sample]])
                add(tar, f"{sample:09}.txt", caption(words, rng).encode())
    shards = f"{{00000..{args.shards - 1:05}}}.tar"
    # Last, so that what was broken off is made anew.
    (args.folder / "run.toml").write_text(RUN.format(shards=shards, buffer=5000))
    print(f"{args.samples} samples of {args.pictures} pictures, "
          f"{sum(map(len, pictures)) / args.pictures / 1e3:.0f} kB each, in {args.shards} shards")


if __name__ == "__main__":
    main()
