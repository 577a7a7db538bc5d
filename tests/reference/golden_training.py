"""Trains the tiny AKI for 20 steps in torch, and writes down what a run of ours must give.

    python tests/reference/golden_training.py tests/fixtures/golden

Needs order.txt, the sample numbers of each step, which tests/program/golden.rs writes (see there).
It makes pictures/*.png and samples.jsonl, which are the run's source, and

losses.txt: of each step learning rate, gradient norm before clipping and mean loss over all labels
    of the batch, for two curves: `frozen` (the vision tower is not trained) and `whole` (it is).
updates.txt: of each parameter how far `whole` moved it, as an L2 norm.

What the numbers would be if something was done otherwise (see MISTAKES) is computed too; where a
mistake would hide behind the test's tolerance, nothing is written.
"""

import json
import random
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from transformers import LlamaTokenizer

from aki_network import Aki, Layout, load_configs
from aki_tiny import CONFIG, LANGUAGE, pixels
from aki_tokenizer import special_ids
from tiny import IGNORE

# The matrices of these weights are halved: as they are, the network is so sharp that torch's own
# rounding is amplified to 1e-4 within 20 steps. (Halves are exact.)
START = Path(__file__).parent.parent / "fixtures" / "aki-tiny"
# As in run.toml.
SYSTEM = "answer the question."
STEPS, BATCH, MICRO_BATCH = 20, 6, 3
LR, MIN_LR, WARMUP = 8e-3, 8e-4, 5
WEIGHT_DECAY, CLIP_NORM = 0.3, 1.0
# The test allows 1e-5; every mistake has to stand out from it.
VISIBLE = 5e-4

PICTURES = {"red": (28, 28), "green": (40, 30), "blue": (23, 51), "brown": (28, 14)}
# (pictures, turns); a system line of its own may come first. Lengths differ as much as they can.
SAMPLES = [
    (["red"], [("<image>\nwhat color is the circle?", "it is red.")]),
    (["green"], [("<image>\nwhat color is the circle in the picture?", "green")]),
    (["blue"], [("<image>\nis there a blue shape?", "yes, there is. it is the second one in the picture.")]),
    (["brown"], [("<image>\nis it a triangle or a circle?", "it is a circle with a small shadow below it.")]),
    ([], [("is 20 a color?", "no, it is not.")]),
    ([], [("what?", "a")]),
    (["red"], [("<image>\nwhat color is it?", "red"), ("is it a triangle?", "no, it is a circle.")]),
    (["green", "brown"], [("<image>\n<image>\nis there a red shape in the first picture?", "no")]),
    (["blue"], [("is it red?", "no"), ("<image>\nand what is in the picture?", "a blue circle")]),
    (["red"], [("<image>\nwhat is in front of it?", "there are 20 people in front of the café; it is closed.")]),
    ([], [("what is brown?", "the second one is brown."), ("and yellow?", "the floor"), ("and red?", "a shape")]),
    (["brown"], [("<image>\nyes or no?", "yes")], "say yes."),
    (["green"], [("what shape is it?\n<image>", "it does not contain a shape that is blue.")]),
]

# What may go wrong unseen -> how the training is to be changed to see what it does.
MISTAKES = {
    "the learning rate starts at its second value": {"rate": "early"},
    "the warm-up starts at 0": {"warmup_from": 1e-9},
    "no weight decay": {"decay": "none"},
    "weight decay as part of the gradient": {"decay": "coupled"},
    "weight decay without the learning rate": {"decay": "constant"},
    "biases and norms do not decay": {"decay": "matrices"},
    "epsilon of 1e-5": {"eps": 1e-5},
    "beta 2 of 0.99": {"beta_2": 0.99},
    "no bias correction": {"bias_correction": False},
    "no clipping": {"clip": "none"},
    "scaling small gradients up": {"clip": "always"},
    "clipping every tensor by itself": {"clip": "tensor"},
    "clipping every micro-batch": {"clip": "micro-batch"},
    "micro-batches that weigh the same": {"weight": "micro-batch"},
    "rows that weigh the same": {"weight": "row"},
    "only the last micro-batch": {"weight": "last"},
    "padding is learned": {"labels": "padding"},
    "questions are learned": {"labels": "all"},
    "the end of an answer is not learned": {"labels": "no end"},
    "only the last answer is learned": {"labels": "last"},
    "a causal mask": {"mask": "causal"},
    "samples in the order of the file": {"order": "file"},
    "a frozen tower": {"frozen": True},
}


def draw_pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in PICTURES.items():
        rng = random.Random(name)
        picture = Image.new("RGB", (width, height), tuple(rng.randbytes(3)))
        pen = ImageDraw.Draw(picture)
        for _ in range(9):
            x, y = rng.randrange(width), rng.randrange(height)
            pen.ellipse((x - 4, y - 3, x + 6, y + 5), fill=tuple(rng.randbytes(3)))
        pen.rectangle((2, 3, width // 3, height // 3), fill=name)
        picture.save(folder / f"{name}.png", optimize=True)


def write_samples(path: Path) -> None:
    lines = []
    for pictures, turns, *system in SAMPLES:
        said = [{"from": "system", "value": text} for text in system]
        for question, answer in turns:
            said += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        line = {"image": [f"{name}.png" for name in pictures]} if pictures else {}
        lines.append(json.dumps(line | {"conversations": said}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n")


def encode(network: Aki, tokenizer, sample) -> tuple[list[int], list[int], Layout]:
    """Fused ids, labels, layout. Labelled are all answers, each with what ends it."""
    _, turns, *system = sample
    text = f"<s><|system|>\n{system[0] if system else SYSTEM}<|end|>\n"
    for question, answer in turns:
        # A mark stands for a line of its own before its question's text, wherever it was.
        marks, plain = question.count("<image>"), question.replace("<image>", "").strip("\n")
        text += "<|user|>\n" + "<image>\n" * marks + f"{plain}<|end|>\n<|assistant|>\n{answer}<|end|>\n"
    text = text.removesuffix("<|end|>\n") + "<|endoftext|>"
    ids, layout = network.lay_out(tokenizer.encode(text, add_special_tokens=False))
    begin, ends = network.ids["<|assistant|>"], (network.ids["<|end|>"], network.ids["<|endoftext|>"])
    labels, answering = [], False
    for token in ids:
        labels.append(token if answering else IGNORE)
        answering = token == begin or answering and token not in ends
    # Longer ones get LongRoPE's other factors, of which transformers gives all rows the same.
    assert layout.length <= LANGUAGE.original_max_position_embeddings, layout.length
    return ids, labels, layout


def changed_labels(network: Aki, ids: list[int], labels: list[int], how: str, longest: int) -> list[int]:
    padding = [IGNORE] * (longest - len(ids))
    if how == "padding":
        padding = [network.ids["<pad>"]] * len(padding)
    elif how == "all":
        labels = [IGNORE if token == network.ids["<image>"] else token for token in ids]
    elif how == "no end":
        ends = (network.ids["<|end|>"], network.ids["<|endoftext|>"])
        labels = [IGNORE if label in ends else label for label in labels]
    elif how == "last":
        last = max(at for at, label in enumerate(labels) if label == IGNORE)
        labels = [IGNORE] * last + labels[last:]
    return labels + padding


class Training:
    """One curve. The keywords are mistakes to make; see MISTAKES."""

    def __init__(self, folder: Path, tokenizer, frozen: bool = False, dtype=torch.float32, **mistakes):
        self.mistake = mistakes.get
        vision, language = load_configs(START, CONFIG)
        network = Aki(vision, language, CONFIG, special_ids(tokenizer))
        weights = load_file(START / "model.safetensors")
        network.load_state_dict({name: it * 0.5 if it.dim() > 1 else it for name, it in weights.items()})
        self.network = network.to(dtype).train()
        self.frozen = frozen
        if not frozen:
            network.vision_encoder.requires_grad_(True)
        self.encoded = [encode(network, tokenizer, sample) for sample in SAMPLES]
        self.pictures = {name: pixels(folder / "pictures", [f"{name}.png"])[0].to(dtype) for name in PICTURES}
        self.trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.first = {name: value.detach().clone() for name, value in self.trained.items()}
        flat = [value for value in self.trained.values() if value.dim() < 2]
        deep = [value for value in self.trained.values() if value.dim() >= 2]
        decay = self.mistake("decay")
        of_all = 0.0 if decay in ("none", "coupled", "constant") else WEIGHT_DECAY
        of_flat = 0.0 if decay == "matrices" else of_all
        groups = [{"params": deep, "weight_decay": of_all}, {"params": flat, "weight_decay": of_flat}]
        betas = (0.9, self.mistake("beta_2", 0.999))
        self.optimizer = torch.optim.AdamW(groups, lr=LR, betas=betas, eps=self.mistake("eps", 1e-8))
        warmup = LinearLR(self.optimizer, self.mistake("warmup_from", MIN_LR / LR), 1.0, WARMUP)
        descent = CosineAnnealingLR(self.optimizer, STEPS - WARMUP, MIN_LR)
        self.schedule = SequentialLR(self.optimizer, [warmup, descent], [WARMUP])

    def forward(self, numbers: list[int]) -> list[torch.Tensor]:
        """The losses of the labels of each row."""
        rows, labels, layouts = (list(column) for column in zip(*(self.encoded[number] for number in numbers)))
        pictures = [self.pictures[name] for number in numbers for name in SAMPLES[number][0]]
        network, media = self.network, []
        if pictures:
            with torch.set_grad_enabled(not self.frozen):
                features = network.vision_encoder(pixel_values=torch.stack(pictures)).last_hidden_state
            media = network.vision_tokenizer(features)
        seen = layouts
        if self.mistake("mask") == "causal":
            seen = [Layout(layout.length, layout.media, None) for layout in layouts]
        logits = network.logits(rows, seen, media)
        losses = []
        for row in range(len(rows)):
            longest = logits.shape[1]
            targets = torch.tensor(changed_labels(network, rows[row], labels[row], self.mistake("labels"), longest)[1:])
            kept = targets != IGNORE
            losses.append(cross_entropy(logits[row, :-1][kept], targets[kept], reduction="none"))
        return losses

    def step(self, numbers: list[int]) -> tuple[float, float, float]:
        """Learning rate, gradient norm and loss of one optimizer step."""
        micro_batches = [numbers[at : at + MICRO_BATCH] for at in range(0, len(numbers), MICRO_BATCH)]
        losses = [self.forward(micro_batch) for micro_batch in micro_batches]
        every = torch.cat([row for rows in losses for row in rows])
        clip, weight = self.mistake("clip"), self.mistake("weight")
        self.optimizer.zero_grad(set_to_none=True)
        for place, rows in enumerate(losses):
            loss = torch.cat(rows).sum() / len(every)
            if weight == "micro-batch":
                loss = torch.cat(rows).mean() / len(losses)
            elif weight == "row":
                loss = sum(row.mean() for row in rows) / len(numbers)
            elif weight == "last" and place + 1 < len(losses):
                continue
            loss.backward()
            if clip == "micro-batch":
                torch.nn.utils.clip_grad_norm_(self.trained.values(), CLIP_NORM)
        if clip == "tensor":
            norm = torch.stack([torch.nn.utils.clip_grad_norm_(it, CLIP_NORM) for it in self.trained.values()]).norm()
        else:
            most = float("inf") if clip in ("none", "micro-batch") else CLIP_NORM
            norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), most)
            if clip == "always" and norm < CLIP_NORM:
                for value in self.trained.values():
                    if value.grad is not None:
                        value.grad /= norm
        decay = self.mistake("decay")
        with torch.no_grad():
            for value in self.trained.values():
                if decay == "coupled" and value.grad is not None:
                    value.grad += WEIGHT_DECAY * value
                elif decay == "constant":
                    value *= 1 - LR * WEIGHT_DECAY
        rate = self.optimizer.param_groups[0]["lr"]
        if self.mistake("rate") == "early":
            self.schedule.step()
            self.optimizer.step()
        else:
            self.optimizer.step()
            self.schedule.step()
        if self.mistake("bias_correction") is False:
            for state in self.optimizer.state.values():
                state["step"].fill_(1e6)
        return rate, norm.item(), every.double().mean().item()

    def curve(self, order: list[list[int]]) -> list[tuple[float, float, float]]:
        if self.mistake("order") == "file":
            order = [[at % len(SAMPLES) for at in range(step * BATCH, (step + 1) * BATCH)] for step in range(STEPS)]
        if self.mistake("bias_correction") is False:
            for value in self.trained.values():
                zero = torch.zeros_like(value)
                self.optimizer.state[value] = {"step": torch.tensor(1e6), "exp_avg": zero, "exp_avg_sq": zero.clone()}
        return [self.step(numbers) for numbers in order]


def farthest(one, two) -> float:
    """The largest relative difference of two curves' losses."""
    return max(abs(a[2] - b[2]) / b[2] for a, b in zip(one, two))


def main(folder: Path) -> None:
    draw_pictures(folder / "pictures")
    write_samples(folder / "samples.jsonl")
    order_file = folder / "order.txt"
    if not order_file.exists():
        sys.exit(f"{order_file} is missing; the samples are written, now let the program say their order")
    lines = [line for line in order_file.read_text().splitlines() if not line.startswith("#")]
    order = [[int(number) - 1 for number in line.split()] for line in lines]
    assert [len(numbers) for numbers in order] == [BATCH] * STEPS
    tokenizer = LlamaTokenizer.from_pretrained(START)

    curves = {}
    for name in ("frozen", "whole"):
        training = Training(folder, tokenizer, name == "frozen")
        curves[name] = training.curve(order)
        exact = Training(folder, tokenizer, name == "frozen", torch.float64).curve(order)
        clipped = sum(norm > CLIP_NORM for _, norm, _ in curves[name])
        rounding = farthest(curves[name], exact)
        assert 0 < clipped < STEPS and rounding < 1e-6
        print(f"{name}: {curves[name][0][2]:.4f} -> {curves[name][-1][2]:.4f}, {clipped} of {STEPS} steps clipped,")
        print(f"  f32 is within {rounding:.1e} of f64")
    whole = training
    print(f"lengths {sorted(layout.length for _, _, layout in whole.encoded)}")
    print(f"labels {sorted(sum(label != IGNORE for label in labels) for _, labels, _ in whole.encoded)}")
    hidden = []
    for mistake, how in MISTAKES.items():
        distance = farthest(Training(folder, tokenizer, **how).curve(order), curves["whole"])
        print(f"  {distance:.1e}  {mistake}")
        if distance < VISIBLE:
            hidden.append(mistake)
    assert not hidden, f"the curve hides {hidden}"

    made = f"# Made by tests/reference/golden_training.py with torch {torch.__version__.split('+')[0]}, f32.\n"
    losses = made + "# curve, step, learning rate, gradient norm, loss\n"
    for name, curve in curves.items():
        for step, (rate, norm, loss) in enumerate(curve, 1):
            losses += f"{name} {step} {rate:.9e} {norm:.9e} {loss:.9e}\n"
    (folder / "losses.txt").write_text(losses)
    updates = made + "# parameter, how far it moved\n"
    for name, value in whole.trained.items():
        # A key's bias adds the same to all scores of a softmax: its gradient is nothing but rounding.
        if not name.endswith("k_proj.bias"):
            moved = (value.detach().double() - whole.first[name].double()).norm().item()
            updates += f"{name} {moved:.9e}\n"
    (folder / "updates.txt").write_text(updates)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
