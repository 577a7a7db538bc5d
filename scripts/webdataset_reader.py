"""The batches of scripts/bench-data as the original makes them: webdataset, Pillow, torchvision, tokenizers and
PyTorch's DataLoader. Prints one JSON object, as `aki data bench --json` does."""

import argparse
import json
import os
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker is a process
import torch  # noqa: E402
import webdataset  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from torchvision import transforms  # noqa: E402
from torchvision.transforms import InterpolationMode  # noqa: E402

SIDE = 384

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--batch", type=int, default=32)
args = parser.parse_args()

prepare = transforms.Compose([
    transforms.Lambda(lambda picture: picture.convert("RGB")),
    transforms.Resize((SIDE, SIDE), interpolation=InterpolationMode.BICUBIC),
    transforms.ToTensor(),
    transforms.Normalize([0.5] * 3, [0.5] * 3),
])
tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
pad = tokenizer.token_to_id("<pad>")
tokenizer.enable_padding(pad_id=pad, pad_token="<pad>")
tokenizer.enable_truncation(128)


def collate(samples):
    pictures, captions = zip(*samples)
    texts = [f"<s><image>{caption.strip()}<|endofchunk|><|endoftext|>" for caption in captions]
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    ids = torch.tensor([row.ids for row in encoded])
    labels = ids.masked_fill(ids == pad, -100)
    return torch.stack(pictures), ids, labels


shards = sorted(map(str, args.folder.glob("*.tar")))
dataset = (
    webdataset.WebDataset(shards, shardshuffle=len(shards), seed=1)
    .repeat()
    .shuffle(5000, initial=1000)
    .decode("pil")
    .to_tuple("jpg", "txt")
    .map_tuple(prepare, None)
    .batched(args.batch, collation_fn=collate)
)
loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=args.workers)

begun = time.perf_counter()
batches = iter(loader)
next(batches)
start = time.perf_counter()
samples = tokens = places = 0
while time.perf_counter() - start < args.seconds:
    pictures, ids, labels = next(batches)
    assert pictures.shape == (args.batch, 3, SIDE, SIDE)
    samples += args.batch
    tokens += int((ids != pad).sum())
    places += ids.numel()
seconds = time.perf_counter() - start
print(json.dumps({
    "workers": args.workers,
    "samples": samples,
    "tokens": tokens,
    "padding": 1 - tokens / places,
    "first_batch_seconds": start - begun,
    "seconds": seconds,
    "samples_per_second": samples / seconds,
    "versions": f"webdataset {webdataset.__version__}, PyTorch {torch.__version__}",
}), flush=True)
# The workers never end by themselves.
os._exit(0)
