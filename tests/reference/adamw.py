"""Steps of torch's AdamW, and its schedules.

    python tests/reference/adamw.py tests/fixtures/optimizer

Writes adamw.json: tensors, their gradients over 20 steps, the learning rate of each step, and the
tensors after each; and schedules.json: the rates of 110 steps with a warm-up of 0 and of 10.
"""

import json
import sys
from pathlib import Path

import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR

SHAPES = [[3], [2, 3], [4, 5], [1, 2, 2]]
STEPS = 20
DECAYS = [0.1, 0.1, 0.1, 0.0]


def schedule(optimizer, kind: str, lr: float, least: float, warmup: int, steps: int):
    after = steps - warmup
    descent = {
        "cosine": lambda: CosineAnnealingLR(optimizer, after, eta_min=least),
        "linear": lambda: LinearLR(optimizer, 1.0, least / lr, total_iters=after),
        "constant": lambda: ConstantLR(optimizer, factor=1.0, total_iters=0),
    }[kind]
    if warmup == 0:
        return descent()
    ascent = LinearLR(optimizer, least / lr, 1.0, total_iters=warmup)
    return SequentialLR(optimizer, [ascent, descent()], [warmup])


def adamw() -> dict:
    torch.manual_seed(0)
    tensors = [torch.randn(shape).round(decimals=4).requires_grad_() for shape in SHAPES]
    start = [tensor.flatten().tolist() for tensor in tensors]
    groups = [{"params": [t], "weight_decay": d} for t, d in zip(tensors, DECAYS)]
    lr = 1e-2
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8)
    rates = schedule(optimizer, "cosine", lr, lr / 10, 5, STEPS)
    steps = []
    for _ in range(STEPS):
        gradients = []
        for tensor in tensors:
            # From small to large, some of them 0.
            size = 10.0 ** torch.randint(-4, 2, tensor.shape)
            tensor.grad = (torch.randn(tensor.shape) * size).round(decimals=4)
            gradients.append(tensor.grad.flatten().tolist())
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        rates.step()
        after = [tensor.flatten().tolist() for tensor in tensors]
        steps.append({"lr": rate, "gradients": gradients, "tensors": after})
    return {"shapes": SHAPES, "decays": DECAYS, "tensors": start, "steps": steps}


def schedules() -> dict:
    found = {}
    for kind in ["cosine", "linear", "constant"]:
        for warmup in [0, 10]:
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
            rates = schedule(optimizer, kind, 1e-3, 1e-5, warmup, 110)
            values = []
            for _ in range(110):
                values.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                rates.step()
            found[f"{kind}_{warmup}"] = values
    return found


def numbers(value):
    """Floats with as many digits as their f32 needs."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adamw.json").write_text(json.dumps(numbers(adamw())) + "\n")
    (folder / "schedules.json").write_text(json.dumps(schedules()) + "\n")
