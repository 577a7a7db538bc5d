"""aki's generation with packed weights beside that of llama.cpp, on the CPU. Started by
scripts/bench-llama-cpp."""

import argparse
import functools
import json
import os
import statistics
import subprocess
import tempfile
import time

import gguf
import llama_cpp
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--aki", required=True, help="the program")
parser.add_argument("--hidden", type=int, default=1536)
parser.add_argument("--layers", type=int, default=16)
parser.add_argument("--intermediate", type=int, default=4096)
parser.add_argument("--heads", type=int, default=16)
parser.add_argument("--vocab", type=int, default=32064)
parser.add_argument("--prompt", type=int, default=512)
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--bits", type=int, nargs="+", choices=[8, 4], default=[8, 4])
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = str(args.threads)

Q8, Q4 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0
random = np.random.default_rng(1)


@functools.cache
def drawn(rows, columns, how):
    """Random numbers, quantised; the same in each layer, of which each has a copy."""
    numbers = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
    return gguf.quants.quantize(numbers, how)


def write(path, bits):
    """A Phi-3 whose head has 8 bits, as aki's has; llama.cpp's own files have 6 there."""
    how, hidden = (Q8 if bits == 8 else Q4), args.hidden
    writer = gguf.GGUFWriter(path, "phi3")
    writer.add_context_length(4096)
    writer.add_embedding_length(hidden)
    writer.add_block_count(args.layers)
    writer.add_feed_forward_length(args.intermediate)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // args.heads)
    writer.add_vocab_size(args.vocab)
    writer.add_tokenizer_model("none")

    def add(name, rows, columns, how=how):
        writer.add_tensor(f"{name}.weight", drawn(rows, columns, how), raw_dtype=how)

    def add_norm(name):
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))

    add("token_embd", args.vocab, hidden)
    for layer in range(args.layers):
        block = f"blk.{layer}"
        add_norm(f"{block}.attn_norm")
        add(f"{block}.attn_qkv", 3 * hidden, hidden)
        add(f"{block}.attn_output", hidden, hidden)
        add_norm(f"{block}.ffn_norm")
        add(f"{block}.ffn_up", 2 * args.intermediate, hidden)
        add(f"{block}.ffn_down", hidden, args.intermediate)
    add_norm("output_norm")
    add("output", args.vocab, hidden, Q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Llama:
    def __init__(self, path):
        self.model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = args.prompt + args.tokens
        params.n_batch = params.n_ubatch = args.prompt
        params.n_threads = params.n_threads_batch = args.threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        assert self.model and self.context, f"llama.cpp does not take {path}"

    def decode(self, ids):
        """The likeliest token after these."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
        status = llama_cpp.llama_decode(self.context, batch)
        assert status == 0, f"llama_decode: {status}"
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(logits, (args.vocab,)).argmax())

    def round(self):
        """Seconds of the prefill, and of each token after it."""
        memory = llama_cpp.llama_get_memory(self.context)
        llama_cpp.llama_memory_clear(memory, True)
        begun = time.perf_counter()
        token = self.decode([at * 7919 % args.vocab for at in range(args.prompt)])
        prefilled = time.perf_counter()
        for _ in range(args.tokens - 1):
            token = self.decode([token])
        return prefilled - begun, (time.perf_counter() - prefilled) / (args.tokens - 1)


def aki_round(bits):
    command = [args.aki, "bench", "generate", "--json", "--device", "cpu", "--runs", "1"]
    command += ["--new-tokens", str(args.tokens)]
    for name in ["hidden", "layers", "intermediate", "heads", "vocab", "prompt"]:
        command += [f"--{name}", str(getattr(args, name))]
    command += ["--bits", str(bits)] if bits else []
    line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return line["prefill_seconds"], line["decode_seconds_per_token"], line["memory_bytes_per_second"]


log = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(log, None)
llama_cpp.llama_backend_init()
rounds = {}
memory = []
with tempfile.TemporaryDirectory() as folder:
    rivals = {}
    for bits in args.bits:
        path = f"{folder}/{bits}.gguf"
        write(path, bits)
        rivals[bits] = Llama(path)
        rivals[bits].round()
    for _ in range(args.rounds):
        for bits in [None, *args.bits]:
            prefill, decode, read = aki_round(bits)
            memory.append(read)
            rounds.setdefault(("aki", bits), []).append((prefill, decode))
            if bits:
                rounds.setdefault(("llama.cpp", bits), []).append(rivals[bits].round())

hidden, features = args.hidden, llama_cpp.llama_print_system_info().decode()
head = args.vocab * hidden
blocks = args.layers * (4 * hidden * hidden + 3 * hidden * args.intermediate)
print(f"{(blocks + 2 * head) / 1e6:.0f} M parameters, {(blocks + head) / 1e6:.0f} M read a token, prompt "
      f"{args.prompt}, {args.tokens} tokens, {args.threads} threads, medians of {args.rounds} rounds; "
      f"llama-cpp-python {llama_cpp.__version__}; memory reads {max(memory) / 1e9:.1f} GB/s")
print(features.strip())
print(f"{'':16} {'prefill tok/s':>13} {'decode tok/s':>13} {'GB/s':>6}   aki is x, prefill  decode")
medians = {key: [statistics.median(column) for column in zip(*times)] for key, times in rounds.items()}
for (name, bits), (prefill, decode) in medians.items():
    # A block of 32 numbers has a scale of 16 bits.
    read = 4 * (blocks + head) if not bits else blocks * (bits + 0.5) / 8 + head * 8.5 / 8
    what = f"{name}, {f'{bits} bits' if bits else 'f32'}"
    line = f"{what:16} {args.prompt / prefill:>13.1f} {1 / decode:>13.1f} {read / decode / 1e9:>6.1f}"
    if name == "llama.cpp":
        own = medians["aki", bits]
        line += f" {prefill / own[0]:>19.2f} {decode / own[1]:>7.2f}"
    print(line)
plain = medians["aki", None][1]
print("decoding against our own f32: " + ", ".join(
    f"{bits} bits {plain / medians['aki', bits][1]:.2f} x" for bits in args.bits))
