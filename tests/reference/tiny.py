"""What the generators of tiny models share: random weights, greedy decoding, gradients, files.

    pip install -r tests/reference/requirements.txt
"""

import json
import re
from pathlib import Path

import PIL
import safetensors
import sentencepiece
import torch
import transformers
from safetensors.torch import save_file

PINNED = {
    torch: "2.9.1",
    transformers: "4.57.3",
    safetensors: "0.7.0",
    sentencepiece: "0.2.1",
    PIL: "11.3.0",
}
for package, version in PINNED.items():
    # Local parts of a version ("+cpu") name a build of the same release.
    found = package.__version__.split("+")[0]
    assert found == version, f"the fixtures are pinned to {package.__name__} {version}, not {found}"

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
transformers.logging.set_verbosity_error()

IGNORE = -100
NEW_TOKENS = 24
# Greedy tokens are a fair expectation only if rounding cannot decide between the two best.
MARGIN = 1e-3


def randomise(model: torch.nn.Module, seed: int, gain: float = 1.5, embedding: float = 1.0) -> None:
    """Draws every parameter large enough that no term of a formula is close to neutral.

    Matrices keep `gain` times their input's scale, norms' weights lie around 1, and biases,
    zero in a fresh network, are as large as what they are added to. A tied head wants a small
    `embedding`, or the best next word is ever the last one.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            is_norm = re.search(r"norm[12]?(_media|_latents)?\.weight$", name) or name.endswith(".1.0.weight")
            if name.endswith("bias") or name in ("logit_scale", "logit_bias"):
                value.copy_(0.3 * noise)
            elif is_norm:
                value.copy_(1 + 0.3 * noise)
            elif name.endswith("latents"):
                # So small that the epsilon of their first norm shows.
                value.copy_(0.02 * noise)
            elif "embed" in name and "patch" not in name or "probe" in name:
                value.copy_(embedding * noise)
            else:
                value.copy_(gain * noise / value[0].numel() ** 0.5)


def greedy(next_logits, ids: list[int], count: int = NEW_TOKENS) -> list[int]:
    """Token ids of `count` steps, each from the whole sequence so far, without a cache."""
    ids, prompt_len = list(ids), len(ids)
    for _ in range(count):
        logits = next_logits(ids)
        best = logits.topk(2).values
        margin = ((best[0] - best[1]) / logits.abs().max()).item()
        assert margin > MARGIN, f"step {len(ids) - prompt_len}: margin {margin:.1e}; take another seed"
        ids.append(int(logits.argmax()))
    new = ids[prompt_len:]
    assert len(set(new)) >= count // 3, f"dull tokens {new}; take another seed"
    return new


def gradient_norms(loss: torch.Tensor, model: torch.nn.Module) -> dict[str, float]:
    """L2 norm of the loss's gradient for each trainable parameter."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    norms = {}
    for name, value in model.named_parameters():
        if value.requires_grad:
            norms[name] = 0.0 if value.grad is None else value.grad.double().norm().item()
    return norms


def ids_tensor(ids) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.int64)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, path)


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_model(model, folder: Path, extra: dict[str, torch.Tensor] | None = None) -> None:
    """`config.json` and `model.safetensors` as Hugging Face writes them, and nothing else.

    `extra`: tensors that old files hold and that no network reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if extra:
        path = folder / "model.safetensors"
        save_file(safetensors.torch.load_file(path) | extra, path, metadata={"format": "pt"})
