"""Writes tiny SigLIP and CLIP vision towers and what transformers computes with them.

    python tests/reference/vision_towers.py tests/fixtures/vision

One folder a model: config.json and model.safetensors as Hugging Face writes them.
`siglip` and `clip` hold the tower alone, as SiglipVisionModel and CLIPVisionModel write it,
and expected.safetensors with

    pixel_values [2, 3, 28, 28]
    last_hidden_state [2, P, 24]    siglip: P = 16, after the post layer norm
                                    clip: P = 17, the class token first, no post layer norm

`siglip-full` and `clip-full` hold the same tower, so the same outputs are expected, within a
whole two-tower model. Their config.json leaves out what equals the classes' defaults, as the
older versions did that wrote the folders on the hub. SigLIP's pooling head, CLIP's post layer
norm and the text towers are there and have no part in last_hidden_state.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tiny import randomise, save_model, write_json, write_tensors

VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
    "layer_norm_eps": 2e-3,  # no model's default, and large enough to show
}
TEXT = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 20,
    "max_position_embeddings": 6,
}
CLIP_WIDTH = 8


def build(kind: str):
    """The tower alone, and the two-tower model that holds it."""
    if kind == "siglip":
        tower = SiglipVisionModel(SiglipVisionConfig(**VISION, attn_implementation="eager"))
        # SigLIP has no projection: its text tower ends at the width of the vision tower.
        text = TEXT | {"projection_size": VISION["hidden_size"]}
        full = SiglipModel(SiglipConfig(vision_config=VISION, text_config=text))
    else:
        # The activation is the class's default, quick_gelu.
        tower = CLIPVisionModel(CLIPVisionConfig(**VISION, projection_dim=CLIP_WIDTH, attn_implementation="eager"))
        configs = {"vision_config": VISION, "text_config": TEXT, "projection_dim": CLIP_WIDTH}
        full = CLIPModel(CLIPConfig(**configs))
    return tower.eval(), full.eval()


def shorten_config(path: Path) -> None:
    config = json.loads(path.read_text())
    for part, kept in (("vision_config", VISION), ("text_config", TEXT)):
        keys = (*kept, "model_type", "projection_size")
        config[part] = {key: value for key, value in config[part].items() if key in keys}
    write_json(path, config)


def main(folder: Path) -> None:
    for seed, kind in enumerate(("siglip", "clip"), 20):
        torch.manual_seed(seed)
        tower, full = build(kind)
        randomise(tower, seed)
        randomise(full, seed + 10)
        full.vision_model.load_state_dict(tower.vision_model.state_dict())
        pixels = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        with torch.no_grad():
            hidden = tower(pixel_values=pixels).last_hidden_state
            again = full.vision_model(pixel_values=pixels).last_hidden_state
        assert torch.allclose(hidden, again, atol=1e-5)
        extra = None
        if kind == "clip":
            # OpenAI's published files hold these buffers; a reader passes over them.
            extra = {
                "vision_model.embeddings.position_ids": torch.arange(17)[None],
                "text_model.embeddings.position_ids": torch.arange(TEXT["max_position_embeddings"])[None],
            }
        save_model(tower, folder / kind)
        save_model(full, folder / f"{kind}-full", extra)
        shorten_config(folder / f"{kind}-full" / "config.json")
        write_tensors(
            folder / kind / "expected.safetensors",
            {"pixel_values": pixels, "last_hidden_state": hidden},
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
