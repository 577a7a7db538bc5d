"""aki's data pipeline beside Python's, taking turns. Started by scripts/bench-data."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MEDIA_TOKENS = 144  # of a picture, for which the rival has one

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path, help="what make_data_shards.py wrote")
parser.add_argument("--aki", action="append", default=[], metavar="NAME=PROGRAM")
parser.add_argument("--workers", default="1,2")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=int, default=10)
parser.add_argument("--json", type=Path, help="all readings are written here")
args = parser.parse_args()


def reading(command: list[str]) -> dict:
    """What a process said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate()
    if process.returncode:
        sys.exit(f"{command} failed:\n{err}")
    return json.loads(out)


programs = dict(pair.split("=", 1) for pair in args.aki)
rival = [sys.executable, str(Path(__file__).with_name("webdataset_reader.py")), str(args.folder)]
commands = {
    name: [program, "data", "bench", str(args.folder / "run.toml"), "--json"] for name, program in programs.items()
}
commands["webdataset"] = rival
readings = []
for path in args.folder.glob("*.tar"):
    path.read_bytes()  # so that the disk is not what is timed
for workers in map(int, args.workers.split(",")):
    of = {name: [] for name in commands}
    for number in range(args.rounds):
        # The order changes, so that what warms up or slows down meets all.
        names = list(commands)
        for name in names[number % len(names):] + names[:number % len(names)]:
            said = reading([*commands[name], "--workers", str(workers), "--seconds", str(args.seconds)])
            of[name].append(said)
            readings.append({"name": name, "round": number, "at": time.time(), **said})
    tokens = {name: sum(it["tokens"] for it in all) / sum(it["samples"] for it in all) for name, all in of.items()}
    for name in programs:
        ours, theirs = tokens[name], tokens["webdataset"] + MEDIA_TOKENS - 1
        assert abs(ours - theirs) < 0.01 * theirs, f"the texts differ: {ours} and {theirs} tokens a sample"
    print(f"\n{workers} workers, {args.rounds} rounds of {args.seconds} s, samples/s")
    print(f"{'':20}{'median':>9}{'least':>9}{'most':>9}{'x webdataset':>15}{'first batch':>13}")
    median = {name: statistics.median(it["samples_per_second"] for it in all) for name, all in of.items()}
    for name, all in of.items():
        rates = [it["samples_per_second"] for it in all]
        first = statistics.median(it["first_batch_seconds"] for it in all)
        print(f"{name:20}{median[name]:>9.1f}{min(rates):>9.1f}{max(rates):>9.1f}"
              f"{median[name] / median['webdataset']:>15.2f}{first:>11.2f} s", flush=True)
print(f"\nrival: {of['webdataset'][0]['versions']}; {len(os.sched_getaffinity(0))} cores")
if args.json:
    args.json.write_text(json.dumps(readings, indent=1))
