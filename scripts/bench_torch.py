"""aki's fused attention beside PyTorch's, on the CPU. Started by scripts/bench-torch."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the aki program")
parser.add_argument("--tokens", type=int, nargs="+", default=[656, 2048])
parser.add_argument("--heads", type=int, default=32)
parser.add_argument("--head-dim", type=int, default=96)
parser.add_argument("--image-tokens", type=int, default=144)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(args.threads)
import torch  # noqa: E402  (after the number of threads is set)
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(args.threads)
BEFORE_IMAGE = 40  # as in `aki bench attention`


def visible(tokens):
    """The dense MMA mask, True where a pair is visible: the sequence of `aki bench attention`."""
    start = min(BEFORE_IMAGE, tokens)
    end = min(start + args.image_tokens, tokens)
    question_end = (end + tokens) // 2
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    mask[start:end, end:question_end] = True
    return mask


def clock(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def torch_round(tokens, mask, causal=False):
    """Milliseconds forward, and forward and backward, after a round that warms up."""
    shape = (1, args.heads, tokens, args.head_dim)
    q, k, v = (torch.randn(shape) for _ in range(3))
    options = {"is_causal": True} if causal else {"attn_mask": mask}

    def forward():
        with torch.no_grad():
            F.scaled_dot_product_attention(q, k, v, **options)

    def both():
        inputs = [x.requires_grad_() for x in (q, k, v)]
        torch.autograd.grad(F.scaled_dot_product_attention(*inputs, **options).sum(), inputs)

    forward(), both()
    return clock(forward), clock(both)


def aki_round(tokens):
    command = [args.aki, "bench", "attention", "--json", "--engines=fused", "--runs=1", "--device=cpu"]
    command += [f"--tokens={tokens}", f"--heads={args.heads}", f"--head-dim={args.head_dim}"]
    command += [f"--image-tokens={args.image_tokens}"]
    line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return line["forward_ms"][0], line["forward_backward_ms"][0], line["pair_channels"]


def cpu():
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


print(f"{cpu()}, {args.threads} threads; PyTorch {torch.__version__}, f32, batch 1, "
      f"{args.heads} heads of {args.head_dim}, medians of {args.rounds} rounds")
print(f"{'T':>6}  {'':24} {'forward ms':>10} {'GFLOP/s':>8} {'with backward ms':>17} {'GFLOP/s':>8}"
      f" {'x aki':>6}")
for tokens in args.tokens:
    mask = visible(tokens)
    rows = {"aki fused, MMA": [], "torch dense MMA mask": [], "torch causal": []}
    for _ in range(args.rounds):
        forward, both, work = aki_round(tokens)
        rows["aki fused, MMA"].append((forward, both))
        rows["torch dense MMA mask"].append(torch_round(tokens, mask))
        rows["torch causal"].append(torch_round(tokens, mask, causal=True))
    first = None
    for name, times in rows.items():
        forward, both = (statistics.median(column) for column in zip(*times))
        first = first or both
        causal = tokens * (tokens + 1) / 2 * args.heads * args.head_dim
        pairs = causal if name == "torch causal" else work
        print(f"{tokens:>6}  {name:24} {forward:>10.2f} {4 * pairs / forward / 1e6:>8.1f} "
              f"{both:>17.2f} {14 * pairs / both / 1e6:>8.1f} {both / first:>6.2f}")
print("GFLOP/s count the pairs that the rule shows.")
