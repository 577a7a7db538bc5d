"""Writes tiny language models and what transformers computes with them.

    python tests/reference/language_models.py tests/fixtures/language

One folder a model: config.json and model.safetensors as Hugging Face writes them,
expected.safetensors and grads.json. All in f32. T tokens, V words, H hidden width.
In expected.safetensors, with CASE one of the model's cases:

    CASE.input_ids [T]           CASE.logits [T, V]
    CASE.last_hidden_state [T, H]    after the final norm
    CASE.greedy [24]                 each step computes the whole sequence anew (`short`: [13])
    CASE.labels [T], CASE.loss [1]   label t at token t, predicted from t - 1; -100 is left out
    CASE.batch.input_ids [2, T], CASE.batch.lengths [2], CASE.batch.labels [2, T]
    CASE.batch.logits.ROW [length, V], CASE.batch.loss [1]   rows padded on the right

grads.json: CASE -> parameter -> L2 norm of the gradient of CASE.batch.loss.

LongRoPE in transformers: one forward pass takes the long factors for all its tokens when
the highest position of the whole batch + 1 exceeds original_max_position_embeddings, else
the short ones; the attention factor is the same in both. The row that is shorter than the
limit would so depend on its neighbours, hence both rows of a batch here lie on one side.
`crossing` starts below the limit and decodes past it: without a cache, all keys move to the
long factors at the step that first exceeds it (33 tokens here). With a cache transformers
4.57.3 means to do the same, dropping the cache at that step
(Phi3ForCausalLM.prepare_inputs_for_generation), but then masks with the position of the new
token alone: all tokens see all others in that one pass, so its `generate` goes astray from
there. main prints this. The uncached tokens are what is expected.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tiny import IGNORE, gradient_norms, greedy, ids_tensor, randomise, save_model, write_json, write_tensors

VOCAB = 80
PAD = 0
COMMON = {
    "vocab_size": VOCAB,
    "num_hidden_layers": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 128,
    "rms_norm_eps": 3e-3,  # no model's default, and large enough to show
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.3, 1.9, 2.6],
    "long_factor": [1.2, 2.1, 3.1, 3.9],
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# name -> model, seed, case -> lengths of the two rows; the first is the case's prompt
MODELS = {
    "phi3": (
        lambda: Phi3ForCausalLM(
            Phi3Config(
                **COMMON,
                hidden_size=32,
                num_attention_heads=4,
                num_key_value_heads=2,
                rope_scaling=LONGROPE,
                original_max_position_embeddings=32,
                pad_token_id=PAD,
            )
        ),
        11,
        {"short": (20, 13), "long": (40, 36), "crossing": (24, 17)},
    ),
    "llama3": (
        lambda: LlamaForCausalLM(
            LlamaConfig(
                **COMMON,
                hidden_size=24,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=10,
                rope_theta=10000.0,  # of 5 wavelengths 1 is kept, 1 is between, 3 are scaled
                rope_scaling=LLAMA3_ROPE,
                tie_word_embeddings=True,
            )
        ),
        59,
        {"prompt": (20, 13)},
    ),
    "llama2": (
        lambda: LlamaForCausalLM(LlamaConfig(**COMMON, hidden_size=24, num_attention_heads=4)),
        9,
        {"prompt": (20, 13)},
    ),
    "mistral": (
        lambda: MistralForCausalLM(
            MistralConfig(
                **COMMON,
                hidden_size=24,
                num_attention_heads=4,
                num_key_value_heads=1,
                head_dim=8,
                sliding_window=None,
            )
        ),
        25,
        {"prompt": (20, 13)},
    ),
    "qwen2": (
        lambda: Qwen2ForCausalLM(
            Qwen2Config(
                **COMMON,
                hidden_size=24,
                num_attention_heads=4,
                num_key_value_heads=2,
                rope_theta=1000000.0,
                tie_word_embeddings=True,
            )
        ),
        39,
        {"prompt": (20, 13)},
    ),
}


def greedy_count(case: str, prompt_len: int) -> int:
    """24; `short` stops where the last forward pass is as long as the limit of 32."""
    return 32 - prompt_len + 1 if case == "short" else 24


def draw_rows(lengths: tuple[int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, both padded on the right; about a third of the labels is ignored."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((2, max(lengths)), PAD)
    labels = torch.full((2, max(lengths)), IGNORE)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, VOCAB, (length,), generator=generator)
        kept = torch.rand(length, generator=generator) > 0.35
        kept[0] = True  # nothing stands before it: it must not count
        labels[row, :length] = torch.where(kept, ids[row, :length], IGNORE)
    return ids, labels


def run_case(model, case: str, lengths: tuple[int, int], seed: int) -> tuple[dict, dict]:
    ids, labels = draw_rows(lengths, seed)
    prompt, prompt_labels = ids[:1, : lengths[0]], labels[:1, : lengths[0]]
    with torch.no_grad():
        one = model(input_ids=prompt, labels=prompt_labels, output_hidden_states=True)
        new = greedy(
            lambda seq: model(input_ids=ids_tensor([seq])).logits[0, -1],
            prompt[0].tolist(),
            greedy_count(case, lengths[0]),
        )
        cached = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=len(new),
            eos_token_id=VOCAB,
            pad_token_id=PAD,
        )
    agree = cached[0, lengths[0] :].tolist() == new
    print(f"  {case}: cached generate of transformers gives the same tokens: {agree}")
    mask = torch.arange(ids.shape[1])[None, :] < ids_tensor(lengths)[:, None]
    both = model(input_ids=ids, attention_mask=mask.long(), labels=labels)
    tensors = {
        "input_ids": prompt[0],
        "logits": one.logits[0],
        "last_hidden_state": one.hidden_states[-1][0],
        "greedy": ids_tensor(new),
        "labels": prompt_labels[0],
        "loss": one.loss[None],
        "batch.input_ids": ids,
        "batch.lengths": ids_tensor(lengths),
        "batch.labels": labels,
        "batch.loss": both.loss[None],
    }
    for row, length in enumerate(lengths):
        tensors[f"batch.logits.{row}"] = both.logits[row, :length]
    return {f"{case}.{name}": value for name, value in tensors.items()}, gradient_norms(both.loss, model)


def main(folder: Path) -> None:
    for name, (build, seed, cases) in MODELS.items():
        print(name)
        torch.manual_seed(seed)
        model = build().eval()
        randomise(model, seed, embedding=0.3 if model.config.tie_word_embeddings else 1.0)
        extra = None
        if name == "llama2":
            # Llama 2's published files hold these buffers; a reader passes over them.
            extra = {
                f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": model.model.rotary_emb.inv_freq.clone()
                for layer in range(2)
            }
        save_model(model, folder / name, extra)
        tensors, grads = {}, {}
        for index, (case, lengths) in enumerate(cases.items()):
            found, grads[case] = run_case(model, case, lengths, 100 * seed + index)
            tensors |= found
        write_tensors(folder / name / "expected.safetensors", tensors)
        write_json(folder / name / "grads.json", grads)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
