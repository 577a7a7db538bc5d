"""aki-data's image pipeline beside Pillow and torchvision. Started by scripts/bench-images."""

import argparse
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
import PIL  # noqa: E402  (after the number of threads is set)
import torch  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision import transforms  # noqa: E402

from photographs import photograph  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the example bench_images of aki-data")
parser.add_argument("--label", default="aki-data")
parser.add_argument("--rounds", type=int, default=10)
args = parser.parse_args()

torch.set_num_threads(1)
SIDE = 384
SIZES = [(640, 480), (640, 427), (480, 640), (640, 512), (612, 612)]
STAGES = ["decode", "resize", "normalise"]
normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


def rival(files: list[bytes]) -> list[list[float]]:
    """Milliseconds of each stage and the mean of the values, for each picture."""
    rows = []
    for data in files:
        times = [time.perf_counter()]
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        times.append(time.perf_counter())
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        times.append(time.perf_counter())
        values = normalise(picture)
        times.append(time.perf_counter())
        rows.append([(b - a) * 1e3 for a, b in zip(times, times[1:])] + [values.double().mean().item()])
    return rows


def summary(rounds: list[list[list[float]]]) -> list[float]:
    """Of each picture and stage the least of all rounds, which other work on the machine
    disturbs least; then the mean over the pictures."""
    pictures = zip(*rounds)
    least = [[min(stage) for stage in list(zip(*rows))[:3]] for rows in pictures]
    return [statistics.mean(column) for column in zip(*least)]


with tempfile.TemporaryDirectory() as folder:
    names, files = [], []
    for seed in range(20):
        data = photograph(seed, *SIZES[seed % len(SIZES)])
        path = Path(folder) / f"{seed:02}.jpg"
        path.write_bytes(data)
        names.append(str(path))
        files.append(data)
    rival(files)
    ours, theirs = [], []
    for _ in range(args.rounds):
        command = [args.aki, str(SIDE), *names]
        ours.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        theirs.append(rival(files))

for mine, other in zip(ours[0], theirs[0]):
    assert abs(mine[3] - other[3]) < 5e-3, f"the pictures differ: mean {mine[3]} and {other[3]}"
kilobytes = [len(data) / 1e3 for data in files]
print(f"{len(files)} JPEGs of {min(kilobytes):.0f} to {max(kilobytes):.0f} kB, one core, the least of {args.rounds} "
      f"rounds of each, mean over the pictures; Pillow {PIL.__version__}, torchvision {torchvision.__version__}")
print(f"{'ms a picture':24}" + "".join(f"{stage:>11}" for stage in STAGES) + f"{'together':>11}")
rows = {args.label: summary(ours), "Pillow + torchvision": summary(theirs)}
for label, stages in rows.items():
    print(f"{label:24}" + "".join(f"{ms:>11.2f}" for ms in (*stages, sum(stages))))
mine, other = rows.values()
ratios = [b / a for a, b in zip((*mine, sum(mine)), (*other, sum(other)))]
print(f"{'times as fast':24}" + "".join(f"{ratio:>11.2f}" for ratio in ratios))
