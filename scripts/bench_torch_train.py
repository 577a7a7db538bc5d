"""aki's steps of training beside PyTorch's. Started by scripts/bench-train and by `scripts/gpu run`.

The network is written with what is fastest in PyTorch: one matrix for queries, keys and values,
scaled_dot_product_attention under a dense mask, logits at the labelled places alone, fused AdamW; on a card
compiled. In bf16 PyTorch keeps weights in f32 and computes under autocast; aki keeps bf16 weights with an
f32 master.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the program")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=3, help="steps of a round that count")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--text", type=int, default=512, help="tokens of a row beside its picture's")
parser.add_argument("--preset", default="aki-medium")
parser.add_argument("--layers", type=int, help="of the decoder and the tower, if not all")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
parser.add_argument("--peak", type=float, help="TFLOP/s of the device, to tell utilisation")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(args.threads)
import torch  # noqa: E402  (after the number of threads is set)
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, gelu, linear, scaled_dot_product_attention, silu  # noqa: E402

torch.set_num_threads(args.threads)
BEFORE_IMAGE = 40  # the system line


def read(path):
    """A safetensors file of f32."""
    # (PyTorch alone is at hand.)
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {
        name: torch.frombuffer(data, dtype=torch.float32, count=(to - start) // 4, offset=8 + size + start)
        .view(entry["shape"]).to(args.device, copy=True)
        for name, entry in header.items()
        for start, to in [entry["data_offsets"]]
    }


class Network:
    """Weights by the checkpoint's names. Letters: B rows, T tokens, N pictures, P patches, D width."""

    def __init__(self, weights, shape):
        self.vision, self.language, self.resampler = (shape[k] for k in ["vision", "language", "resampler"])
        self.w = {
            name: tensor.requires_grad_(not name.startswith("vision_encoder."))
            for name, tensor in weights.items()
        }

    def trained(self):
        return [tensor for tensor in self.w.values() if tensor.requires_grad]

    def layers(self, prefix):
        count = 0
        while any(name.startswith(f"{prefix}.{count}.") for name in self.w):
            yield f"{prefix}.{count}."
            count += 1

    def linear(self, x, name):
        return linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def layer_norm(self, x, name, eps):
        return nn.functional.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], eps)

    def rms_norm(self, x, name):
        return nn.functional.rms_norm(x, x.shape[-1:], self.w[name + ".weight"], 1e-5)

    def encode(self, pixels):
        """[N, 3, S, S] to [N, P, D]; frozen."""
        with torch.no_grad():
            prefix = "vision_encoder."
            patches = nn.functional.conv2d(
                pixels, self.w[prefix + "embeddings.patch_embedding.weight"],
                self.w[prefix + "embeddings.patch_embedding.bias"], stride=self.vision["patch_size"])
            x = patches.flatten(2).transpose(1, 2) + self.w[prefix + "embeddings.position_embedding.weight"]
            for layer in self.layers(prefix + "encoder.layers"):
                y = self.layer_norm(x, layer + "layer_norm1", 1e-6)
                q, k, v = (split(self.linear(y, f"{layer}self_attn.{name}_proj"),
                                 self.vision["num_attention_heads"]) for name in "qkv")
                y = merge(scaled_dot_product_attention(q, k, v))
                x = x + self.linear(y, layer + "self_attn.out_proj")
                y = self.linear(self.layer_norm(x, layer + "layer_norm2", 1e-6), layer + "mlp.fc1")
                x = x + self.linear(gelu(y, approximate="tanh"), layer + "mlp.fc2")
            return self.layer_norm(x, prefix + "post_layernorm", 1e-6)

    def resample(self, patches):
        """[N, P, D] to [N, latents, width of the language model]."""
        prefix = "vision_tokenizer."
        x = self.w[prefix + "latents"].expand(len(patches), -1, -1)
        for layer in self.layers(prefix + "layers"):
            latents = self.layer_norm(x, layer + "0.norm_latents", 1e-5)
            seen = torch.cat((self.layer_norm(patches, layer + "0.norm_media", 1e-5), latents), dim=1)
            k, v = self.linear(seen, layer + "0.to_kv").chunk(2, dim=-1)
            q = self.linear(latents, layer + "0.to_q")
            q, k, v = (split(y, self.resampler["heads"]) for y in (q, k, v))
            x = x + self.linear(merge(scaled_dot_product_attention(q, k, v)), layer + "0.to_out")
            y = self.linear(self.layer_norm(x, layer + "1.0", 1e-5), layer + "1.1")
            x = x + self.linear(gelu(y), layer + "1.3")
        return self.linear(self.layer_norm(x, prefix + "norm", 1e-5), prefix + "projection")

    def loss(self, pixels, ids, mask, cos, sin, labelled):
        media = self.resample(self.encode(pixels))
        end = BEFORE_IMAGE + media.shape[1]
        model = "lang_model.model."
        text = nn.functional.embedding(ids, self.w[model + "embed_tokens.weight"])
        x = torch.cat((text[:, :BEFORE_IMAGE], media, text[:, end:]), dim=1)
        for layer in self.layers(model + "layers"):
            y = self.linear(self.rms_norm(x, layer + "input_layernorm"), layer + "self_attn.qkv_proj")
            q, k, v = (split(y, self.language["num_attention_heads"]) for y in y.chunk(3, dim=-1))
            q, k = (y * cos + torch.cat((-y[..., y.shape[-1] // 2:], y[..., :y.shape[-1] // 2]), dim=-1) * sin
                    for y in (q, k))
            y = merge(scaled_dot_product_attention(q, k, v, attn_mask=mask))
            x = x + self.linear(y, layer + "self_attn.o_proj")
            y = self.linear(self.rms_norm(x, layer + "post_attention_layernorm"), layer + "mlp.gate_up_proj")
            gate, up = y.chunk(2, dim=-1)
            x = x + self.linear(silu(gate) * up, layer + "mlp.down_proj")
        x = self.rms_norm(x, model + "norm")[:, labelled - 1].flatten(0, 1)
        head = "lang_model.lm_head"
        logits = torch.cat((self.linear(x, head), self.linear(x, head + ".additional_fc")), dim=-1)
        return cross_entropy(logits, ids[:, labelled].flatten())


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


def inputs(weights, shape):
    """The batch of `aki bench train`."""
    side, heads = shape["vision"]["image_size"], shape["language"]["num_attention_heads"]
    vocabulary = len(weights["lang_model.model.embed_tokens.weight"])
    latents = len(weights["vision_tokenizer.latents"])
    end, length = BEFORE_IMAGE + latents, latents + args.text
    question_end = (end + length) // 2
    ids = (torch.arange(args.batch * length) * 7919 % vocabulary).view(args.batch, length)
    pixels = (torch.arange(args.batch * 3 * side * side) * 37 % 101) / 50 - 1
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[BEFORE_IMAGE:end, end:question_end] = True
    width = weights["lang_model.model.norm.weight"].numel() // heads
    angles = torch.outer(torch.arange(length), 10_000 ** (-torch.arange(0, width, 2) / width)).repeat(1, 2)
    pixels = pixels.view(args.batch, 3, side, side)
    batch = pixels, ids, mask, angles.cos(), angles.sin(), torch.arange(question_end, length)
    return [tensor.to(args.device) for tensor in batch]


def now():
    if args.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def torch_round(weights, batch, shape):
    """Seconds of each step's forward, backward with clipping, and optimizer; and the losses, the first step's too."""
    network = Network({name: tensor.clone() for name, tensor in weights.items()}, shape)
    compute = torch.compile(network.loss) if args.device == "cuda" else network.loss
    optimizer = torch.optim.AdamW(network.trained(), lr=1e-4, weight_decay=0.1, fused=True)
    steps, losses = [], []
    for _ in range(1 + args.steps):
        times = [now()]
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = compute(*batch)
        losses.append(loss.item())
        times.append(now())
        loss.backward()
        nn.utils.clip_grad_norm_(network.trained(), 1.0)
        times.append(now())
        optimizer.step()
        optimizer.zero_grad()
        times.append(now())
        steps.append([end - start for start, end in zip(times, times[1:])])
    return steps[1:], losses


def aki_round(folder):
    command = [args.aki, "bench", "train", "--json", "--weights", str(folder)]
    for name in ["preset", "device", "dtype", "batch", "text", "threads", "steps", "layers"]:
        value = getattr(args, name)
        command += [] if value is None else [f"--{name}", str(value)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    parts = [said[name + "_seconds"] for name in ["forward", "backward", "optimizer"]]
    return [list(step) for step in zip(*parts)], said["losses"], said


TOLERANCE = {"f32": 1e-3, "bf16": 1e-2}
times = {"aki": [], "torch": []}
with tempfile.TemporaryDirectory() as folder:
    weights = batch = None
    for round_ in range(args.rounds):
        drawn = Path(folder) / str(round_)
        steps, ours, said = aki_round(drawn)
        times["aki"] += steps
        if weights is None:
            weights = read(drawn / "model.safetensors")
            shape = said["shape"]
            batch = inputs(weights, shape)
        steps, theirs = torch_round(weights, batch, shape)
        times["torch"] += steps
        for our, their in zip(ours, theirs):
            assert abs(our - their) < TOLERANCE[args.dtype] * their, f"aki and torch train other networks: {ours} and {theirs}"
print(f"{said['device']}, {said['weights'] / 1e6:.0f} M weights, {args.dtype}, {said['tokens']} tokens a step, {args.threads} threads, "
      f"medians of {args.rounds} rounds of {args.steps} steps; torch {torch.__version__}; both losses "
      f"{', '.join(f'{loss:.4f}' for loss in theirs)}")
print(f"{'':6} {'s a step':>8} {'tokens/s':>9} {'GFLOP/s':>8} {'forward':>8} {'backward':>9} {'optimizer':>10}"
      f" {'aki is x':>9}" + (f" {'MFU':>6}" if args.peak else ""))
own = None
for name, steps in times.items():
    step = statistics.median(sum(parts) for parts in steps)
    forward, backward, optimizer = (statistics.median(column) for column in zip(*steps))
    own = own or step
    rate = said["operations"] / step / 1e9
    print(f"{name:6} {step:>8.4f} {said['tokens'] / step:>9.1f} {rate:>8.1f}"
          f" {forward:>8.4f} {backward:>9.4f} {optimizer:>10.4f} {step / own:>9.2f}"
          + (f" {rate / args.peak / 10:>5.1f}%" if args.peak else ""))
