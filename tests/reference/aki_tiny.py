"""Writes a whole tiny AKI in the published layout, and what it computes.

    python tests/reference/aki_tiny.py tests/fixtures/aki-tiny

The folder itself is a checkpoint: config.json with the published keys, model.safetensors,
the four tokenizer files, and vision_encoder/config.json and lang_model/config.json, which
config.json names. checkpoint_0.pt holds the same weights as a training checkpoint, less the
frozen tower. V logits, T tokens after the pictures were put in place, n pictures.

cases/prompts.json: name, images (files in cases/), prompt (raw) and text (the new tokens
decoded, without special ones) of
    picture         one question about one picture
    text            the same without a picture
    turns           two pictures in the first of two questions, long enough for LongRoPE's long factors
    late-picture    the second picture in the second question: its rows stay causal
cases/NAME.safetensors:
    prompt_token_ids, prefill_tokens [1] = T, media [n, 2], question_end [1]
    pixel_values [n, 3, 28, 28], media_embeddings [n, 10, 24]    if n > 0
    rows [R], logits [R, V]    of the prefill; all rows in `picture`, else the pictures' and the last 8
    token_ids [24]             greedy and uncached: the prompt's rows under the rule of
                               aki_network.visible at each step, new tokens see all before them
cases/samples.jsonl and cases/probe.json: three training samples, and as one batch padded on
the right: input_ids and labels without padding, `<image>` at each position of a picture, the
mean loss of each sample, of the batch (over all its labels), and gradient norms of the latter.
cases/probe.safetensors: logits.0, logits.1, logits.2 of these rows, of the labelled positions
only, each at the token before its label.
cases/tokenizer.json: texts, their ids and both ways of decoding them.
"""

import json
import random
import re
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import Phi3Config, SiglipVisionConfig

from aki_network import Aki, Layout, losses
from aki_tokenizer import PHI_TOKENS, PIECES, SYSTEM, special_ids, write_cases, write_tokenizer
from tiny import IGNORE, gradient_norms, greedy, ids_tensor, randomise, write_json, write_tensors

SEED = 70
SIDE = 28
WIDTH = 24
LATENTS = 10
BASE_LEN = PIECES + len(PHI_TOKENS) + 1  # and <pad>
# More rows than tokens, as Phi's 32064 are more than its 32012.
ROWS = 400
CONFIG = {
    "base_img_size": None,
    "decoder_layers_attr_name": "model.layers",
    "gradient_checkpointing": False,
    "initial_tokenizer_len": BASE_LEN,
    "lang_model_path": "lang_model",
    "num_vision_tokens": LATENTS,
    "pad_token_id": BASE_LEN - 1,
    "tokenizer": None,
    "vision_encoder_path": "vision_encoder",
    "n_px": SIDE,
    "norm_mean": 0.5,
    "norm_std": 0.5,
}
VISION = SiglipVisionConfig(
    hidden_size=8,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=SIDE,
    patch_size=7,
    layer_norm_eps=2e-3,
    architectures=["SiglipVisionModel"],
    dtype="float32",
)
LANGUAGE = Phi3Config(
    vocab_size=ROWS,
    hidden_size=WIDTH,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=3,
    max_position_embeddings=384,
    original_max_position_embeddings=112,
    rms_norm_eps=3e-3,
    rope_scaling={
        "type": "longrope",
        "short_factor": [1.0, 1.2, 1.5, 2.2],
        "long_factor": [1.3, 2.4, 3.2, 3.8],
    },
    pad_token_id=PIECES,
    bos_token_id=1,
    eos_token_id=PIECES,
    architectures=["Phi3ForCausalLM"],
    dtype="float32",
)
QUESTION = "what color is the circle in the picture?"
HEAD = f"<|system|>\n{SYSTEM}<|end|>\n<|user|>\n"
# name -> pictures, raw prompt
PROMPTS = {
    "picture": (["red.png"], f"<s> {HEAD}<image>\n{QUESTION}<|end|>\n<|assistant|>\n"),
    "text": ([], f"<s> {HEAD}{QUESTION}<|end|>\n<|assistant|>\n"),
    "turns": (
        ["red.png", "green.png"],
        f"<s> {HEAD}<image>\nis there a blue shape in the first picture, and not in the second one? <image>\n"
        "yes or no?<|end|>\n<|assistant|>\nno, there is not.<|end|>\n"
        "<|user|>\nwhat shape is it?<|end|>\n<|assistant|>\n",
    ),
    "late-picture": (
        ["green.png", "red.png"],
        f"<s> {HEAD}<image>\n{QUESTION}<|end|>\n<|assistant|>\nblue<|end|>\n"
        f"<|user|>\n<image>\n{QUESTION}<|end|>\n<|assistant|>\n",
    ),
}
SAMPLES = [
    {"image": "red.png", "prompt": "what shape is it?", "answer": "it is a triangle."},
    {"image": "green.png", "caption": "a red triangle on a yellow floor"},
    {"image": None, "text": f"{HEAD}is 20 a color?<|end|>\n<|assistant|>\nno, it is not."},
]


def draw_pictures(folder: Path) -> None:
    for name, size, shape in (("red.png", (40, 30), "red"), ("green.png", (23, 51), "green")):
        rng = random.Random(name)
        picture = Image.frombytes("RGB", size, rng.randbytes(size[0] * size[1] * 3))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((4, 6, size[0] // 2, size[1] // 2), fill=shape)
        pen.rectangle((size[0] // 2, 2, size[0] - 5, size[1] // 3), fill="white")
        picture.save(folder / name, optimize=True)


def pixels(folder: Path, names: list[str]) -> torch.Tensor:
    """[n, 3, S, S]: resized as Pillow does, x / 255, (x - mean) / std."""
    pictures = []
    for name in names:
        picture = Image.open(folder / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        values = torch.tensor(list(picture.getdata()), dtype=torch.float32).reshape(SIDE, SIDE, 3)
        pictures.append((values.permute(2, 0, 1) / 255 - CONFIG["norm_mean"]) / CONFIG["norm_std"])
    return torch.stack(pictures) if pictures else torch.empty(0, 3, SIDE, SIDE)


def build(ids: dict[str, int]) -> Aki:
    torch.manual_seed(SEED)
    network = Aki(VISION, LANGUAGE, CONFIG, ids).eval()
    randomise(network, SEED)
    with torch.no_grad():
        # Greedy decoding shall not stop early, and shall show more words than single bytes.
        bias = network.lang_model.lm_head.bias
        bias[PIECES:BASE_LEN] -= 9
        bias[:3] -= 9
        bias[3:259] -= 2.5
    return network


@torch.no_grad()
def run_prompt(network: Aki, tokenizer, folder: Path, name: str) -> dict:
    images, prompt = PROMPTS[name]
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    fused, layout = network.lay_out(prompt_ids)
    pixel_values = pixels(folder, images)
    media = network.media(pixel_values) if images else torch.empty(0, LATENTS, WIDTH)

    def prefix_logits(ids: list[int]) -> torch.Tensor:
        # The spans and the end of the question are the prompt's, whatever was generated.
        grown = Layout(len(ids), layout.media, layout.question_end)
        return network.logits([ids], [grown], media)[0]

    logits = prefix_logits(fused)
    new = greedy(lambda ids: prefix_logits(ids)[-1], fused)
    if images:
        # A causal mask must not pass for the rule.
        causal = Layout(layout.length + len(new), layout.media, None)
        predicted = network.logits([fused + new], [causal], media)[0, layout.length - 1 : -1].argmax(-1)
        assert predicted.tolist() != new, "a causal mask gives the same tokens; take another seed"
    rows = set(range(layout.length))
    if name != "picture":
        rows = {row for span in layout.media for row in range(*span)} | set(range(layout.length - 8, layout.length))
    tensors = {
        "prompt_token_ids": ids_tensor(prompt_ids),
        "prefill_tokens": ids_tensor([layout.length]),
        "question_end": ids_tensor([layout.question_end]),
        "rows": ids_tensor(sorted(rows)),
        "logits": logits[sorted(rows)],
        "token_ids": ids_tensor(new),
    }
    if images:
        tensors |= {
            "media": ids_tensor(layout.media),
            "pixel_values": pixel_values,
            "media_embeddings": media,
        }
    write_tensors(folder / f"{name}.safetensors", tensors)
    text = tokenizer.decode(new, skip_special_tokens=True)
    print(f"{name}: {len(prompt_ids)} ids, {layout.length} fused, question ends at {layout.question_end}: {text!r}")
    return {"name": name, "images": images, "prompt": prompt, "text": text}


def encode_sample(network: Aki, tokenizer, sample: dict) -> tuple[list[int], list[int], Layout]:
    """Fused ids, labels, layout. bos and eos are part of the text that is encoded."""
    if "caption" in sample:
        text = f"<image>{sample['caption']}<|endofchunk|>"
    elif "text" in sample:
        text = sample["text"]
    else:
        picture = "<image>\n" if sample["image"] else ""
        text = f"{HEAD}{picture}{sample['prompt']}<|end|>\n<|assistant|>\n{sample['answer']}"
    ids, layout = network.lay_out(tokenizer.encode(f"<s>{text}<|endoftext|>", add_special_tokens=False))
    if "caption" in sample:
        ignored = {network.ids["<image>"]}
        first = 0
    else:
        ignored = {network.ids["<image>"], network.ids["<|endofchunk|>"]}
        first = layout.question_end
    labels = [IGNORE if at < first or token in ignored else token for at, token in enumerate(ids)]
    return ids, labels, layout


def run_probe(network: Aki, tokenizer, folder: Path) -> None:
    encoded = [encode_sample(network, tokenizer, sample) for sample in SAMPLES]
    ids, labels, layouts = (list(column) for column in zip(*encoded))
    media = network.media(pixels(folder, [sample["image"] for sample in SAMPLES if sample["image"]]))
    logits = network.logits(ids, layouts, media)
    loss, row_losses = losses(logits, labels)
    norms = gradient_norms(loss, network)
    probe = {
        "samples": [
            {"input_ids": row_ids, "labels": row_labels, "loss": row_loss.item()}
            for row_ids, row_labels, row_loss in zip(ids, labels, row_losses)
        ],
        "loss": loss.item(),
        "frozen": [name for name, value in network.named_parameters() if not value.requires_grad],
        "grad_norms": norms,
    }
    (folder / "probe.json").write_text(compact_lists(json.dumps(probe, indent=2)) + "\n")
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in SAMPLES))
    rows = {}
    for row, row_labels in enumerate(labels):
        before = [at - 1 for at, label in enumerate(row_labels) if at > 0 and label != IGNORE]
        rows[f"logits.{row}"] = logits[row, before]
    write_tensors(folder / "probe.safetensors", rows)
    print(f"probe: lengths {[layout.length for layout in layouts]}, loss {loss.item():.5f}")


def compact_lists(text: str) -> str:
    """Puts lists of numbers on one line, not a number a line."""
    return re.sub(r"\[[-\d\s,]*\]", lambda found: " ".join(found[0].split()), text)


def write_training_checkpoint(network: Aki, path: Path) -> None:
    """As the reference saves one: names start with `module.`, the frozen tower is left out."""
    parallel = torch.nn.Module()
    parallel.module = network
    weights = parallel.state_dict()
    for name, value in parallel.named_parameters():
        if not value.requires_grad:
            del weights[name]
    # State for the smallest parameters only: it is there to be passed over.
    optimizer = torch.optim.AdamW(network.vision_tokenizer.norm.parameters(), lr=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    optimizer.step()
    scheduler.step()
    states = {
        "epoch": 0,
        "model_state_dict": weights,
        "optimizer_state_dict": optimizer.state_dict(),
        "lr_scheduler_state_dict": scheduler.state_dict(),
    }
    torch.save(states, path)


def main(folder: Path) -> None:
    cases = folder / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", CONFIG)
    VISION.save_pretrained(folder / CONFIG["vision_encoder_path"])
    LANGUAGE.save_pretrained(folder / CONFIG["lang_model_path"])
    tokenizer = write_tokenizer(folder)
    write_cases(tokenizer, cases / "tokenizer.json")
    draw_pictures(cases)
    network = build(special_ids(tokenizer))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(cases / "prompts.json", [run_prompt(network, tokenizer, cases, name) for name in PROMPTS])
    run_probe(network, tokenizer, cases)
    write_training_checkpoint(network, folder / "checkpoint_0.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
