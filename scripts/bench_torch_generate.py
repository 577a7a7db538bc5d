"""aki's generation beside that of PyTorch with transformers. Started by scripts/bench-generate for the CPU,
and by scripts/gpu for a card."""

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
parser.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f32")
parser.add_argument("--device", default="cpu", help="PyTorch's")
parser.add_argument("--aki-devices", nargs="+", help="aki's, one after the other; PyTorch's if left out")
parser.add_argument("--bits", type=int, nargs="+", default=[], help="also aki with packed weights")
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
dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[args.dtype]
model = model.to(args.device, dtype)
# Read for each token: all but the embedding, which is looked up.
weights = sum(p.numel() for p in model.parameters()) - model.model.embed_tokens.weight.numel()
read = weights * dtype.itemsize


def now():
    """The time when all is computed that was asked for."""
    if args.device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(transformers.generation.streamers.BaseStreamer):
    """When each token came; the prompt comes first."""

    def __init__(self):
        self.times = []

    def put(self, _):
        self.times.append(now())

    def end(self):
        pass


def torch_round():
    """Seconds of the prefill, and of each token after it."""
    ids = torch.randint(args.vocab, (args.batch, args.prompt), device=args.device)
    times = []
    # What generate() does, without its bookkeeping: the faster of the two.
    with torch.inference_mode():
        begun = now()
        cache = transformers.DynamicCache()
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        for _ in range(args.tokens):
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            times.append(now())
            if len(times) < args.tokens:
                out = model(ids, past_key_values=cache, use_cache=True)
    return times[0] - begun, (times[-1] - times[0]) / (args.tokens - 1)


def torch_generate_round():
    """The same by generate(), one row."""
    ids = torch.randint(args.vocab, (1, args.prompt), device=args.device)
    clock = Clock()
    with torch.inference_mode():
        begun = now()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.tokens,
                       do_sample=False, streamer=clock)
    first, last = clock.times[1], clock.times[-1]
    return first - begun, (last - first) / (args.tokens - 1)


def aki_round(device, bits):
    command = [args.aki, "bench", "generate", "--json", "--device", device, "--runs", "1"]
    command += ["--new-tokens", str(args.tokens)]
    for name in ["hidden", "layers", "intermediate", "heads", "vocab", "prompt", "batch", "dtype"]:
        command += [f"--{name}", str(getattr(args, name))]
    if bits:
        command += ["--bits", str(bits)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        print(" ".join(command[1:]), "failed:", ended.stderr.strip())
        return None
    line = json.loads(ended.stdout)
    return line["prefill_seconds"], line["decode_seconds_per_token"], line["bytes_per_second"]


def bandwidth():
    """Bytes a second that all threads together read: the largest of some sums over 1 GiB."""
    data = torch.ones(1 << 28, device=args.device)
    best = 0.0
    for _ in range(5):
        begun = now()
        data.sum()
        best = max(best, data.numel() * 4 / (now() - begun))
    return best


rivals = {}
for device in args.aki_devices or [args.device]:
    for bits in [None, *args.bits]:
        name = f"aki, {device}" + (f", {bits} bits" if bits else "")
        rivals[name] = lambda device=device, bits=bits: aki_round(device, bits)
rivals["torch, model()"] = lambda: (*torch_round(), None)
if args.batch == 1:
    rivals["torch, generate()"] = lambda: (*torch_generate_round(), None)
rounds = {name: [] for name in rivals}
torch_round()
for _ in range(args.rounds):
    for name, rival in list(rivals.items()):
        times = rival()
        if times is None:
            del rivals[name]
        else:
            rounds[name].append(times)
limit = bandwidth()
print(f"{weights / 1e6:.0f} M weights read a token, {args.dtype}, batch {args.batch}, prompt {args.prompt}, "
      f"{args.threads} threads, medians of {args.rounds} rounds; torch {torch.__version__}, "
      f"transformers {transformers.__version__}; memory reads {limit / 1e9:.1f} GB/s")
print(f"{'':20} {'prefill tok/s':>13} {'decode tok/s':>13} {'GB/s':>6} {'of memory':>9}"
      f" {'first is x, prefill':>18} {'decode':>7}")
own = None
for name, times in rounds.items():
    if not times:
        continue
    prefill, decode = (statistics.median(column) for column in list(zip(*times))[:2])
    # aki's packed weights are fewer bytes.
    rate = statistics.median(it[2] or read / decode for it in times)
    own = own or (prefill, decode)
    print(f"{name:20} {args.batch * args.prompt / prefill:>13.1f} {args.batch / decode:>13.1f} "
          f"{rate / 1e9:>6.1f} {rate / limit:>9.0%} "
          f"{prefill / own[0]:>18.2f} {decode / own[1]:>7.2f}")
