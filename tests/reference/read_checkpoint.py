"""Reads a checkpoint that our program wrote and compares its logits with the fixtures'.

    python tests/reference/read_checkpoint.py DIR tests/fixtures/aki-tiny/cases

DIR is a folder in the published layout, of the tiny AKI's shape, in one safetensors file or
several. Every name must be there and none too many. Prints one JSON object: case ->
{"max_difference", "largest_logit"}, both over the rows that the fixture holds.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaTokenizer

from aki_network import Aki, load_configs
from aki_tokenizer import special_ids


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    weights = {}
    for name in names:
        weights |= load_file(folder / name)
    return {name: value.float() for name, value in weights.items()}


def read_network(folder: Path) -> Aki:
    config = json.loads((folder / "config.json").read_text())
    ids = special_ids(LlamaTokenizer.from_pretrained(folder))
    network = Aki(*load_configs(folder, config), config, ids)
    network.load_state_dict(read_weights(folder), strict=True)
    return network.eval()


@torch.no_grad()
def compare(network: Aki, expected: dict[str, torch.Tensor]) -> dict[str, float]:
    fused, layout = network.lay_out(expected["prompt_token_ids"].tolist())
    if "pixel_values" in expected:
        media = network.media(expected["pixel_values"])
    else:
        media = torch.empty(0)
    logits = network.logits([fused], [layout], media)[0, expected["rows"]]
    return {
        "max_difference": (logits - expected["logits"]).abs().max().item(),
        "largest_logit": expected["logits"].abs().max().item(),
    }


def main(folder: Path, cases: Path) -> None:
    network = read_network(folder)
    prompts = json.loads((cases / "prompts.json").read_text())
    names = [prompt["name"] for prompt in prompts]
    found = {name: compare(network, load_file(cases / f"{name}.safetensors")) for name in names}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
