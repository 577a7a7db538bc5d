#!/usr/bin/env python3
"""Holds the kernels, run on the CPU by the emulator, against numpy in f64, with visibility found by brute force.

  verify.py PROGRAMS WORK [--full] [--only SUBSTRING] [--orders 0,1] [--arch 80]
      PROGRAMS: where `verify` is; WORK: a folder for cases and for what the emulator builds

An error may be twice that of a dense path which rounds to the same dtype at the same places. Besides, every order of
threads must give the same bits, what sees nothing must be 0, and a NaN must show wherever it is seen.
"""
import argparse, concurrent.futures, os, shutil, subprocess, sys
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("programs")
parser.add_argument("work")
parser.add_argument("--full", action="store_true", help="all cases and all tiles, on sm_80, 86 and 90")
parser.add_argument("--only", default="", help="cases whose names contain this")
parser.add_argument("--orders", help="of threads, see cuda_emu.h")
parser.add_argument("--arch")
A = parser.parse_args()
ORDERS = (A.orders or ("0,1,5" if A.full else "0,1")).split(",")
ARCHS = (A.arch or ("80,86,90" if A.full else "80")).split(",")
NAN_ROW = 40  # of the poisoned tensor
FLOOR = 2e-6  # of the largest value: sums in f32 in another order


def to_bits(x, e):
    if e == "f32":
        return x.astype(np.float32)
    if e == "f16":
        return x.astype(np.float16).view(np.uint16)
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    r = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), 0x7FFF, r).astype(np.uint16)


def from_bits(b, e):
    if e == "f32":
        return b.view(np.float32)
    if e == "f16":
        return b.view(np.uint16).view(np.float16).astype(np.float32)
    return (b.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def rnd(x, e):
    return from_bits(to_bits(x, e), e).reshape(x.shape)


# ---------------------------------------------------------------------------------------- masks
def documents(T, rng, kind):
    """[(start, end, media spans, question_end)]: several documents, then padding."""
    if kind == "one":
        return [(0, T, [], None)]
    if kind == "packed":
        # Long spans of media and text, so that tiles are full by either rule, and whole windows of tiles empty.
        docs, a = [], 0
        while T - a > 60:
            n = min(int(rng.integers(T // 8, T // 3)), T - a)
            m0, m1 = a + n // 20, a + n // 20 + 9 * n // 20
            docs.append((a, a + n, [(m0, m1)], m1 + 9 * n // 20))
            a += n
        return docs
    end = {"mma": T - T // 7, "padded": T // 4}.get(kind, T)  # the rest is padding
    cuts = sorted({0, end, *(int(c) for c in rng.integers(1, max(end, 2), 2) if c < end)})
    docs = []
    for a, b in zip(cuts, cuts[1:]):
        n, media = b - a, []
        if n >= 6:
            m0 = a + 1 + n // 10
            m1 = m0 + max(1, n // 5)
            media.append((m0, m1))
            if n >= 20:
                m2 = m1 + 2
                media.append((m2, m2 + n // 6))
            q_end = media[-1][1] + max(1, n // 4)
            docs.append((a, b, media, min(q_end, b)))
        else:
            docs.append((a, b, [], None))
    return docs


def layout(T, rng, mask):
    """Visibility [T, T] by brute force, and the rules and text flags that should say the same."""
    vis = np.zeros((T, T), bool)
    rules = np.zeros((T, 4), np.int32)
    text = np.ones(T, bool)
    if mask == "everything":
        vis[:] = True
        rules[:, 1] = T
        return vis, rules, text
    docs = documents(T, rng, "one" if mask == "causal" else mask)
    for a, b, media, q_end in docs:
        for i in range(a, b):
            vis[i, a : i + 1] = True
            rules[i] = (a, i + 1, 0, 0)
        for m0, m1 in media:
            text[m0:m1] = False
        for m0, m1 in media:
            if q_end is not None and m1 < q_end:
                for i in range(m0, m1):
                    for j in range(m1, q_end):
                        if not any(x <= j < y for x, y in media):
                            vis[i, j] = True
                    rules[i, 2:] = (m1, q_end)
    return vis, rules, text


# ---------------------------------------------------------------------------------------- maths
def dense(q, k, v, g, vis, group, e=None):
    """Forward and gradients in f64, or with `e` in f32 with roundings to that dtype."""
    t = np.float64 if e is None else np.float32
    r = (lambda x: x) if e is None else (lambda x: rnd(x, e))
    q, k, v, g = (x.astype(t) for x in (q, k, v, g))
    K, V = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scale = t(1 / np.sqrt(q.shape[-1]))
    T = lambda x: np.swapaxes(x, -1, -2)
    m = vis[:, None]
    s = np.where(m, scale * (q @ T(K)), -np.inf)
    high = s.max(-1, keepdims=True)
    empty = ~np.isfinite(high)
    p = np.exp(s - np.where(empty, 0, high))
    l = p.sum(-1, keepdims=True)
    p = p / np.where(empty, 1, l)
    lse = np.where(empty, 0, np.where(empty, 0, high) + np.log(np.where(empty, 1, l)))[..., 0]
    out = r(r(p) @ V)
    dv = T(r(p)) @ g
    dp = g @ T(V)
    delta = (out * g).sum(-1, keepdims=True)
    ds = r(p * (dp - delta))
    dq = r(scale * (ds @ K))
    dk = scale * (T(ds) @ q)
    B, H, S, D = dk.shape
    fold = lambda x: r(x.reshape(B, H // group, group, S, D).sum(2))
    return dict(out=out, lse=lse, dq=dq, dk=fold(dk), dv=fold(dv))


# ---------------------------------------------------------------------------------------- cases
def cases():
    """family, dtype, head_dim, query_len, key_len, mask, queries' heads a key's head, batch rows, tile."""
    if not A.full:
        core, plain = "tensor_core", "plain"
        yield core, "f16", 64, 97, 97, "mma", 2, 1, 0
        yield core, "bf16", 64, 70, 133, "mma", 1, 1, 1
        yield core, "f16", 72, 70, 133, "mma", 2, 1, 1
        yield core, "bf16", 72, 133, 133, "packed", 1, 1, 0
        yield core, "f16", 96, 97, 97, "causal", 1, 2, 2
        yield core, "bf16", 96, 133, 133, "mma", 2, 1, 0
        yield core, "bf16", 72, 97, 97, "mma-nan-k", 1, 1, 0
        yield plain, "f32", 72, 97, 97, "mma", 2, 1, 0
        yield plain, "f32", 72, 16, 133, "causal", 2, 1, 0
        yield plain, "f32", 64, 70, 133, "causal", 1, 1, 1
        yield plain, "f32", 59, 97, 97, "packed", 1, 1, 0
        yield plain, "f16", 96, 70, 133, "mma", 2, 1, 0
        yield plain, "bf16", 72, 133, 133, "mma", 1, 1, 1
        return
    masks, groups, n = ["causal", "mma", "everything", "mma"], [1, 2, 8, 1, 2], 0
    for family, dtypes in (("tensor_core", ("f16", "bf16")), ("plain", ("f32", "f16", "bf16"))):
        for d in (64, 72, 80, 96, 128, 256):
            for e in dtypes:
                for t in (1, 3, 17, 97, 200):
                    mask, group = masks[n % 4], groups[n % 5]
                    n += 1
                    for tile in (0, 1, 2) if t == 97 else (n % 3,):
                        yield family, e, d, t, t, mask, group, 1 if t > 100 or group == 8 else 2, tile
                yield family, e, d, 70, 133, "mma" if e == "f16" else "everything", 2, 1, 0
        half = dtypes[0]
        yield family, "bf16", 128, 300, 300, "mma", 2, 1, 0
        yield family, half, 64, 300, 300, "causal", 1, 1, 0
        yield family, half, 88, 97, 97, "mma", 2, 1, 0
        yield family, half, 72, 300, 300, "padded", 2, 1, 0
        yield family, "bf16", 128, 600, 600, "padded", 1, 1, 0
        yield family, half, 16, 1100, 1100, "packed", 2, 1, 0
        yield family, "bf16", 128, 700, 700, "packed", 1, 1, 0
        yield family, half, 8, 33, 33, "mma", 1, 1, 0
        for poison in ("q", "k", "grad"):
            yield family, "bf16", 72, 97, 97, f"mma-nan-{poison}", 2, 1, 0
            yield family, "f16", 128, 200, 200, f"causal-nan-{poison}", 1, 1, 0
    yield "plain", "f32", 59, 97, 97, "mma", 2, 1, 0
    yield "plain", "f16", 111, 97, 97, "mma", 2, 1, 0


def run(arch, at, case):
    """One line of the report, and whether all is well."""
    family, e, d, tq, tk, mask, group, batch, tile = case
    name = f"sm_{arch} {family} {e} d{d} {tq}x{tk} {mask} g{group} tile{tile}"
    folder = f"{A.work}/cases/{name.replace(' ', '_')}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rng = np.random.default_rng(at)
    heads = group * (2 if group == 1 else 1)
    kv = heads // group
    rows = [layout(tk, rng, mask.split("-")[0]) for _ in range(batch)]
    # The last queries against all keys: a chunk of a prompt against a cache.
    vis = np.stack([x[0][tk - tq :] for x in rows])
    np.stack([x[1][tk - tq :] for x in rows]).tofile(f"{folder}/rules")
    np.stack([x[2] for x in rows]).astype(np.int32).tofile(f"{folder}/text")
    t = lambda h, n: rnd(rng.standard_normal((batch, h, n, d)).astype(np.float32), e)
    x = dict(q=2 * t(heads, tq), k=t(kv, tk), v=t(kv, tk), grad=t(heads, tq))
    poison = mask.split("-")[-1] if "nan" in mask else None
    if poison:
        x[poison][:, :, NAN_ROW, 3] = np.nan
    for label, values in x.items():
        to_bits(values, e).tofile(f"{folder}/{label}")
    numbers = map(str, (tile, batch, heads, kv, tq, tk, d))
    done = subprocess.run([f"{A.programs}/verify", folder, f"{A.work}/builds", arch, family, e, *numbers, *ORDERS],
                          capture_output=True, text=True)
    if done.returncode or done.stderr:
        return f"{name}: FAILED, {done.returncode}\n{done.stderr[-3000:]}", False
    got = {}
    for w in ("out", "lse", "dq", "dk", "dv"):
        h, n = (kv, tk) if w in ("dk", "dv") else (heads, tq)
        shape = (batch, h, n) if w == "lse" else (batch, h, n, d)
        size = np.prod(shape) * (2 if w != "lse" and e != "f32" else 4)  # buffers end at multiples of 16 bytes
        raw = [np.fromfile(f"{folder}/{w}.{o}", np.uint8, size) for o in ORDERS]
        got[w] = [from_bits(r, "f32" if w == "lse" else e).reshape(shape) for r in raw]
    shutil.rmtree(folder)
    if poison:
        line, ok = nan_shows(got, vis[0], poison)
        return f"{name:52}{line}", ok
    exact, naive = dense(*x.values(), vis, group), dense(*x.values(), vis, group, e)
    line, good = "", True
    for w, results in got.items():
        err = np.abs(results[0].astype(np.float64) - exact[w]).max()
        base = np.abs(naive[w] - exact[w]).max()
        ok = err <= 2 * base + FLOOR * max(1, np.abs(exact[w]).max())
        line += f"  {w} {err:.1e}/{base:.1e}{'' if ok else ' TOO FAR'}"
        good &= bool(ok)
        if not all(np.array_equal(r, results[0]) for r in results):
            line, good = line + " ORDERS DIFFER", False
        unseen = ~vis.any(-2 if w in ("dk", "dv") else -1)
        if results[0][np.broadcast_to(unseen[:, None], results[0].shape[:3])].any():
            line, good = line + " NOT 0 WHERE NOTHING IS SEEN", False
    return f"{name:52}{line}", good


def nan_shows(got, vis, poison):
    """Whether NAN_ROW's NaN shows everywhere it must."""
    seen, seers, row = np.flatnonzero(vis[NAN_ROW]), np.flatnonzero(vis[:, NAN_ROW]), [NAN_ROW]
    must = {
        "q": dict(out=row, lse=row, dq=row, dk=seen, dv=seen),
        "k": dict(out=seers, lse=seers, dq=seers, dk=row, dv=row),
        "grad": dict(dq=row, dk=seen, dv=seen),
    }[poison]
    line, good = "  NaN shows in", True
    for w, rows in must.items():
        show = [np.isnan(r[:, :, rows].reshape(*r.shape[:2], len(rows), -1)).any(-1).all() for r in got[w]]
        line += f" {w}{'' if all(show) else ' NOT'}"
        good &= all(show)
    return line, good


def main():
    todo = [(arch, at, case) for arch in ARCHS for at, case in enumerate(cases())
            if A.only in str(case) and (arch == ARCHS[0] or case[0] == "tensor_core")]
    print(f"orders of threads {','.join(ORDERS)}; error of the kernels / error of the dense path")
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for line, good in pool.map(lambda job: run(*job), todo):
            print(line, flush=True)
            bad += not good
    print(f"{len(todo)} cases, {bad} failed")
    sys.exit(bad > 0)


main()
