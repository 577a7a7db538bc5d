"""AKI in torch over transformers' SigLIP and Phi-3, with the names of the published checkpoint.

Letters: B rows, T tokens after the pictures were put in place, H width of the language
model, L latents of a picture.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import Phi3Config, Phi3Model, SiglipVisionConfig, SiglipVisionModel

from resampler import PerceiverResampler
from tiny import IGNORE


class DecoupledEmbedding(nn.Embedding):
    """The pretrained table below `base_len`, a small table of its own for what was added."""

    def __init__(self, rows: int, width: int, base_len: int, added: int):
        super().__init__(rows, width)
        self.base_len = base_len
        self.additional_embedding = nn.Embedding(added, width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        is_added = ids >= self.base_len
        base = super().forward(ids.masked_fill(is_added, 0))
        added = self.additional_embedding((ids - self.base_len).clamp(min=0))
        return torch.where(is_added[..., None], added, base)


class DecoupledHead(nn.Linear):
    """The first `base_len` logits of the base head, then those of the added tokens."""

    def __init__(self, width: int, rows: int, base_len: int, added: int):
        super().__init__(width, rows)
        self.base_len = base_len
        self.additional_fc = nn.Linear(width, added)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((super().forward(x)[..., : self.base_len], self.additional_fc(x)), dim=-1)


class LanguageModel(nn.Module):
    def __init__(self, config: Phi3Config, base_len: int, added: int = 2):
        super().__init__()
        self.model = Phi3Model(config)
        self.model.embed_tokens = DecoupledEmbedding(config.vocab_size, config.hidden_size, base_len, added)
        self.lm_head = DecoupledHead(config.hidden_size, config.vocab_size, base_len, added)


@dataclass
class Layout:
    """Where the pictures lie in a row, and the index just after the first `<|assistant|>`."""

    length: int
    media: list[tuple[int, int]]
    question_end: int | None


def visible(layout: Layout, i: int, j: int) -> bool:
    """Whether the token at i may look at the token at j, of one document without padding."""
    if j <= i:
        return True
    if layout.question_end is None or any(start <= j < end for start, end in layout.media):
        return False
    return any(start <= i < end and end <= j < layout.question_end for start, end in layout.media)


def additive_mask(layouts: list[Layout]) -> torch.Tensor:
    """[B, 1, T, T]: 0 where visible, else the lowest number. Padding, on the right, is never
    seen; its own rows are causal so that they see something."""
    longest = max(layout.length for layout in layouts)
    mask = torch.full((len(layouts), 1, longest, longest), torch.finfo(torch.float32).min)
    for row, layout in enumerate(layouts):
        for i in range(longest):
            for j in range(layout.length):
                if visible(layout, i, j):
                    mask[row, 0, i, j] = 0
    return mask


class Aki(nn.Module):
    def __init__(self, vision: SiglipVisionConfig, language: Phi3Config, config: dict, ids: dict[str, int]):
        super().__init__()
        # Masks are dense here, and small networks show a wrong one best where nothing is fused.
        vision._attn_implementation = language._attn_implementation = "eager"
        self.media_len = config["num_vision_tokens"]
        self.ids = ids
        self.vision_encoder = SiglipVisionModel(vision).vision_model
        self.vision_tokenizer = PerceiverResampler(vision.hidden_size, language.hidden_size, self.media_len)
        self.lang_model = LanguageModel(language, config["initial_tokenizer_len"])
        self.vision_encoder.requires_grad_(False)

    def media(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures [N, 3, S, S] to [N, L, H]."""
        with torch.no_grad():
            features = self.vision_encoder(pixel_values=pixels).last_hidden_state
        return self.vision_tokenizer(features)

    def lay_out(self, ids: list[int]) -> tuple[list[int], Layout]:
        """Each `<image>` repeated L times, and where things lie then."""
        fused, media = [], []
        for token in ids:
            if token == self.ids["<image>"]:
                media.append((len(fused), len(fused) + self.media_len))
                fused += [token] * self.media_len
            else:
                fused.append(token)
        assistant = self.ids["<|assistant|>"]
        question_end = fused.index(assistant) + 1 if assistant in fused else None
        return fused, Layout(len(fused), media, question_end)

    def logits(self, rows: list[list[int]], layouts: list[Layout], media: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V] of laid out rows; `media` [N, L, H] are all their pictures in order.

        Pictures stand only where the layouts say: an `<image>` that was generated is a token.
        """
        longest = max(layout.length for layout in layouts)
        padded = [row + [self.ids["<pad>"]] * (longest - len(row)) for row in rows]
        embedded = list(self.lang_model.model.embed_tokens(torch.tensor(padded)))
        pictures = iter(media)
        for row, layout in enumerate(layouts):
            for start, end in layout.media:
                before, after = embedded[row][:start], embedded[row][end:]
                embedded[row] = torch.cat((before, next(pictures), after))
        assert next(pictures, None) is None, "more pictures than <image> tokens"
        hidden = self.lang_model.model(
            inputs_embeds=torch.stack(embedded), attention_mask=additive_mask(layouts), use_cache=False
        ).last_hidden_state
        return self.lang_model.lm_head(hidden)


def losses(logits: torch.Tensor, labels: list[list[int]]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Mean over all labels of the batch, and the mean of each row. Labels stand at their own token."""
    per_row = []
    for row, row_labels in enumerate(labels):
        targets = torch.tensor(row_labels[1:])
        kept = targets != IGNORE
        per_row.append(cross_entropy(logits[row, : len(row_labels) - 1][kept], targets[kept], reduction="none"))
    return torch.cat(per_row).mean(), [row.mean() for row in per_row]


def load_configs(folder: Path, config: dict) -> tuple[SiglipVisionConfig, Phi3Config]:
    return (
        SiglipVisionConfig.from_pretrained(folder / config["vision_encoder_path"]),
        Phi3Config.from_pretrained(folder / config["lang_model_path"]),
    )
