"""The perceiver resampler in torch, and a tiny one's weights and output.

    python tests/reference/resampler.py tests/fixtures/resampler

Writes model.safetensors, with the names that follow `vision_tokenizer.` in a checkpoint,
and expected.safetensors:

    media [2, 9, 24]    what a vision tower gives
    output [2, 4, 20]   depth 2, 2 heads of 8, 4 latents of width 24
"""

import sys
from pathlib import Path

import torch
from torch import nn

from tiny import randomise, write_tensors


class PerceiverAttention(nn.Module):
    def __init__(self, width: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        inner = heads * head_dim
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, media: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        latents = self.norm_latents(latents)
        seen = torch.cat((self.norm_media(media), latents), dim=1)

        def split(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)

        query = split(self.to_q(latents))
        key, value = (split(half) for half in self.to_kv(seen).chunk(2, dim=-1))
        scores = query @ key.transpose(-1, -2) * self.head_dim**-0.5
        mixed = scores.softmax(dim=-1) @ value
        return self.to_out(mixed.transpose(1, 2).flatten(2))


def feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width, bias=False),
        nn.GELU(),
        nn.Linear(4 * width, width, bias=False),
    )


class PerceiverResampler(nn.Module):
    """Media [B, N, width] to [B, latents, out]."""

    def __init__(self, width: int, out: int, latents: int, depth: int = 6, heads: int = 8, head_dim: int = 64):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.projection = nn.Linear(width, out)
        self.layers = nn.ModuleList(
            nn.ModuleList((PerceiverAttention(width, heads, head_dim), feed_forward(width))) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, media: torch.Tensor) -> torch.Tensor:
        x = self.latents.expand(len(media), -1, -1)
        for attention, mlp in self.layers:
            x = x + attention(media, x)
            x = x + mlp(x)
        return self.projection(self.norm(x))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    network = PerceiverResampler(width=24, out=20, latents=4, depth=2, heads=2, head_dim=8).eval()
    randomise(network, seed=30)
    media = 2 * torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(31))
    with torch.no_grad():
        output = network(media)
    write_tensors(folder / "model.safetensors", network.state_dict())
    write_tensors(folder / "expected.safetensors", {"media": media, "output": output})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
