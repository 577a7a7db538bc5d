"""aki's kernels beside PyTorch's on an NVIDIA card, bf16. Started by `scripts/gpu run`.

Rivals with the same mask: flex_attention (compiled, with a block mask) and SDPA with the dense
mask; and SDPA causal, which is FlashAttention-2, for the price of the rule itself.
"""

import argparse
import json
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the aki program, built for CUDA")
parser.add_argument("--tokens", type=int, nargs="+", default=[656, 2048, 8192])
parser.add_argument("--head-dims", type=int, nargs="+", default=[96, 64, 72, 128])
parser.add_argument("--heads", type=int, default=32)
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--seconds", type=float, default=150, help="no further shape is begun after it")
args = parser.parse_args()

IMAGE_TOKENS, BEFORE_IMAGE = 144, 40  # as in `aki bench attention`
started = time.monotonic()
try:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    # Without dynamic shapes, and afresh for each: else it comes down to slower kernels.
    compiled = torch.compile(flex_attention, dynamic=False)
except ImportError as error:
    compiled = None
    print(f"no flex_attention in this PyTorch: {error}")


def sequence(tokens):
    """Where the image stands, and where the question ends."""
    start = min(BEFORE_IMAGE, tokens)
    end = min(start + IMAGE_TOKENS, tokens)
    return start, end, (end + tokens) // 2


def dense_mask(tokens):
    start, end, question_end = sequence(tokens)
    mask = torch.ones(tokens, tokens, dtype=torch.bool, device="cuda").tril()
    mask[start:end, end:question_end] = True
    return mask


def block_mask(tokens):
    start, end, question_end = sequence(tokens)

    def visible(batch, head, i, j):
        unlocked = (i >= start) & (i < end) & (j >= end) & (j < question_end)
        return (j <= i) | unlocked

    return create_block_mask(visible, None, None, tokens, tokens, device="cuda")


def clock(work):
    """Median milliseconds until the card has done `work`, by the clock that aki uses."""
    work(), work()
    times = []
    for _ in range(args.rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def rival(attend, tokens, head_dim):
    shape = (1, args.heads, tokens, head_dim)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3))

    def forward():
        with torch.no_grad():
            attend(q, k, v)

    def both():
        inputs = [x.requires_grad_() for x in (q, k, v)]
        torch.autograd.grad(attend(*inputs).sum(), inputs)

    return clock(forward), clock(both)


def ours(tokens, head_dim):
    command = [args.aki, "bench", "attention", "--json", "--device=cuda", "--dtype=bf16"]
    command += ["--engines=tensor-core,plain", f"--runs={args.rounds}", f"--heads={args.heads}"]
    command += [f"--tokens={tokens}", f"--head-dim={head_dim}", f"--image-tokens={IMAGE_TOKENS}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        print(f"aki took more than 60 s at T={tokens}, d={head_dim}")
        return {}, None
    if done.returncode != 0:
        print(f"aki failed at T={tokens}, d={head_dim}: {done.stderr.strip()[-500:]}")
        return {}, None
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    times = {
        f"aki {line['engine']}": (
            statistics.median(line["forward_ms"]),
            statistics.median(line["forward_backward_ms"]),
        )
        for line in lines
    }
    return times, lines[0]["pair_channels"]


card = torch.cuda.get_device_properties(0)
print(f"{card.name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, bf16, batch 1, "
      f"{args.heads} heads, MMA with an image of {IMAGE_TOKENS}, medians of {args.rounds} rounds")
print("TFLOP/s count the pairs that the rule shows; 'x' is the time over aki tensor-core's")
print(f"{'T':>5} {'d':>4}  {'':22} {'forward ms':>10} {'TFLOP/s':>8} {'x':>6}"
      f" {'with backward ms':>17} {'TFLOP/s':>8} {'x':>6}")
for tokens in args.tokens:
    mask = dense_mask(tokens)
    for head_dim in args.head_dims:
        if time.monotonic() - started > args.seconds:
            print(f"T={tokens}, d={head_dim}: left out, {args.seconds:.0f} s are over")
            continue
        rows, pairs = ours(tokens, head_dim)
        start, end, question_end = sequence(tokens)
        causal = tokens * (tokens + 1) / 2
        visible = causal + (end - start) * (question_end - end)
        work = visible * args.heads * head_dim
        assert pairs in (None, work), "aki and this script time different masks"
        candidates = {"SDPA dense mask": lambda q, k, v: F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask)}
        if compiled is not None:
            torch._dynamo.reset()
            blocks = block_mask(tokens)
            candidates["flex_attention"] = lambda q, k, v: compiled(q, k, v, block_mask=blocks)

            def flash(q, k, v):
                with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True)

            candidates["FlashAttention-2 causal"] = flash
        for name, attend in candidates.items():
            try:
                rows[name] = rival(attend, tokens, head_dim)
            except Exception as error:  # noqa: BLE001  (a rival's failure is a reading too)
                print(f"{name} failed at T={tokens}, d={head_dim}: {str(error)[:200]}")
        first = rows.get("aki tensor-core", (float("nan"),) * 2)
        for name, (forward, both) in rows.items():
            flops = causal * args.heads * head_dim if "causal" in name else work
            print(f"{tokens:>5} {head_dim:>4}  {name:22}"
                  f" {forward:>10.3f} {4 * flops / forward / 1e9:>8.1f} {forward / first[0]:>6.2f}"
                  f" {both:>17.3f} {14 * flops / both / 1e9:>8.1f} {both / first[1]:>6.2f}")
