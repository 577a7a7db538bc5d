"""Writes adapters as PEFT saves them and what it computes with them.

    python tests/reference/lora.py tests/fixtures/language/phi3 tests/fixtures/adapter

The base is the tiny Phi-3 of language_models.py. adapter_config.json and
adapter_model.safetensors as PEFT writes them (rank 3, scale 5 / 3, on all four matrices of
both blocks), expected.safetensors and grads.json. All in f32. T tokens, V words.

    input_ids [T], labels [T], logits [T, V], loss [1]

grads.json: parameter, named as in adapter_model.safetensors without `base_model.model.` ->
L2 norm of the gradient of the loss.
"""

import sys
from pathlib import Path

import peft
import torch
from transformers import Phi3ForCausalLM

from tiny import IGNORE, gradient_norms, write_json, write_tensors

assert peft.__version__ == "0.18.0", f"the fixture is pinned to peft 0.18.0, not {peft.__version__}"

SEED = 71
TOKENS = 20


def main(base: Path, folder: Path) -> None:
    model = Phi3ForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        lora_dropout=0.0,
        target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    )
    model = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad:  # B too, which PEFT begins with 0
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise / value.shape[1] ** 0.5)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    # A fixture is the same wherever it was made.
    path = folder / "adapter_config.json"
    path.write_text(path.read_text().replace(f'"{base}"', "null"))

    ids = torch.randint(3, model.config.vocab_size, (1, TOKENS), generator=generator)
    labels = ids.clone()
    labels[0, 1:6] = IGNORE
    out = model(input_ids=ids, labels=labels)
    plain = model.get_base_model()
    with model.disable_adapter():
        moved = (plain(input_ids=ids).logits - out.logits).abs().max() / out.logits.abs().max()
    assert moved > 0.1, f"the adapters hardly show: {moved}"
    tensors = {"input_ids": ids[0], "labels": labels[0], "logits": out.logits[0], "loss": out.loss[None]}
    write_tensors(folder / "expected.safetensors", tensors)
    norms = gradient_norms(out.loss, model)
    names = {name.removeprefix("base_model.model.").replace(".default.", "."): norm for name, norm in norms.items()}
    write_json(folder / "grads.json", names)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
