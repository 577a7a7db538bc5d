"""aki's generation beside that of PyTorch with transformers, on the CPU. Started by
scripts/bench-generate."""

import argparse
import json
import os
import statistics
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the program")
parser.add_argument("--hidden", type=int, default=768)
parser.add_argument("--layers", type=int, default=12)
parser.add_argument("--intermediate", type=int, default=2048)
parser.add_argument("--heads", type=int, default=12)
parser.add_argument("--vocab", type=int, default=32064)
parser.add_argument("--prompt", type=int, default=512)
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(args.threads)
import torch  # noqa: E402  (after the number of threads is set)
import transformers  # noqa: E402

torch.set_num_threads(args.threads)
torch.manual_seed(1)
config = transformers.Phi3Config(
    vocab_size=args.vocab, hidden_size=args.hidden, intermediate_size=args.intermediate,
    num_hidden_layers=args.layers, num_attention_heads=args.heads, pad_token_id=0,
    bos_token_id=None, eos_token_id=None,
)
model = transformers.Phi3ForCausalLM(config).eval()
model = model.to(torch.bfloat16 if args.dtype == "bf16" else torch.float32)
# Read for each token: all but the embedding, which is looked up.
weights = sum(p.numel() for p in model.parameters()) - model.model.embed_tokens.weight.numel()
read = weights * (2 if args.dtype == "bf16" else 4)


class Clock(transformers.generation.streamers.BaseStreamer):
    """When each token came; the prompt comes first."""

    def __init__(self):
        self.times = []

    def put(self, _):
        self.times.append(time.perf_counter())

    def end(self):
        pass


def torch_round():
    """Seconds of the prefill, and of each token after it."""
    ids = torch.randint(args.vocab, (args.batch, args.prompt))
    times = []
    # What generate() does, without its bookkeeping: the faster of the two.
    with torch.inference_mode():
        begun = time.perf_counter()
        cache = transformers.DynamicCache()
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        for _ in range(args.tokens):
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            times.append(time.perf_counter())
            if len(times) < args.tokens:
                out = model(ids, past_key_values=cache, use_cache=True)
    return times[0] - begun, (times[-1] - times[0]) / (args.tokens - 1)


def torch_generate_round():
    """The same by generate(), one row."""
    ids = torch.randint(args.vocab, (1, args.prompt))
    clock = Clock()
    with torch.inference_mode():
        begun = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.tokens,
                       do_sample=False, streamer=clock)
    first, last = clock.times[1], clock.times[-1]
    return first - begun, (last - first) / (args.tokens - 1)


def aki_round():
    command = [args.aki, "bench", "generate", "--json", "--device", "cpu", "--runs", "1"]
    command += ["--new-tokens", str(args.tokens)]
    for name in ["hidden", "layers", "intermediate", "heads", "vocab", "prompt", "batch", "dtype"]:
        command += [f"--{name}", str(getattr(args, name))]
    line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return line["prefill_seconds"], line["decode_seconds_per_token"]


def bandwidth():
    """Bytes a second that all threads together read: the largest of some sums over 1 GiB."""
    data = torch.ones(1 << 28)
    best = 0.0
    for _ in range(5):
        begun = time.perf_counter()
        data.sum()
        best = max(best, data.numel() * 4 / (time.perf_counter() - begun))
    return best


rounds = {"aki": [], "torch, model()": [], "torch, generate()": []}
torch_round()
for _ in range(args.rounds):
    rounds["aki"].append(aki_round())
    rounds["torch, model()"].append(torch_round())
    if args.batch == 1:
        rounds["torch, generate()"].append(torch_generate_round())
limit = bandwidth()
print(f"{weights / 1e6:.0f} M weights read a token, {args.dtype}, batch {args.batch}, prompt {args.prompt}, "
      f"{args.threads} threads, medians of {args.rounds} rounds; torch {torch.__version__}, "
      f"transformers {transformers.__version__}; memory reads {limit / 1e9:.1f} GB/s")
print(f"{'':18} {'prefill tok/s':>13} {'decode tok/s':>13} {'GB/s':>6} {'of memory':>9}"
      f" {'aki is x, prefill':>18} {'decode':>7}")
own = None
for name, times in rounds.items():
    if not times:
        continue
    prefill, decode = (statistics.median(column) for column in zip(*times))
    own = own or (prefill, decode)
    print(f"{name:18} {args.batch * args.prompt / prefill:>13.1f} {args.batch / decode:>13.1f} "
          f"{read / decode / 1e9:>6.1f} {read / decode / limit:>9.0%} "
          f"{prefill / own[0]:>18.2f} {decode / own[1]:>7.2f}")
