"""Writes the fixtures that pin aki-data's reading of the pre-training sets.

    python tests/reference/pretraining_sources.py aki-data/tests/fixtures/pretraining

Plain Python 3.10 or later, nothing to install. It says what each set's text is, in the
most direct way; the matching of pictures and sentences tries all. The shards are
written by Python's tarfile in each format it knows. Read by
aki-data/tests/pretraining_sources.rs.
"""

import ast
import base64
import io
import itertools
import json
import random
import struct
import sys
import tarfile
import zlib
from pathlib import Path

MAX_PICTURES, MIN_SIMILARITY = 3, 0.24


def kale(txt: str) -> str:
    return txt.strip()


def ocr(txt: str) -> str:
    record = json.loads(txt)
    entries = record if isinstance(record, list) else record["captions"]
    if isinstance(entries, str):
        entries = json.loads(entries)
    return next(entry["text"] for entry in entries if entry["granularity"] == 1).strip()


def grounding(txt: str) -> str:
    return ast.literal_eval(txt)[0][0].strip()


def caption_text(caption: str) -> str:
    return f"<image>{caption}<|endofchunk|>"


def mmc4_text(page: dict) -> tuple[str, list[int]]:
    """The text, and the places in image_info of the pictures in it."""
    large = [i for i, image in enumerate(page["image_info"])
             if len(base64.b64decode(image.get("image_base64") or "")) >= 3000]
    similarity = page["similarity_matrix"]
    sentences = range(len(page["text_list"]))
    # Each choice gives each picture a sentence or, if there are too few, none.
    places = list(sentences) + [None] * max(0, len(large) - len(sentences))
    best = max(
        itertools.permutations(places, len(large)),
        key=lambda choice: sum(similarity[i][s] for i, s in zip(large, choice) if s is not None),
    )
    pairs = [(i, s) for i, s in zip(large, best) if s is not None and similarity[i][s] >= MIN_SIMILARITY]
    picture_of = {s: i for i, s in pairs[:MAX_PICTURES]}
    marked = [("<|endofchunk|><image>" if s in picture_of else "") + page["text_list"][s] for s in sentences]
    text = " ".join(marked).replace("<|endofchunk|>", "", 1)
    # No blank before a mark.
    text = text.replace(" <|endofchunk|>", "<|endofchunk|>").replace(" <image>", "<image>")
    return text + "<|endofchunk|>", [picture_of[s] for s in sorted(picture_of)]


def png(side: int, rng: random.Random) -> bytes:
    """Noise, so that it does not get smaller."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + rng.randbytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def captions() -> list[dict]:
    entries = [
        {"text": "nothing", "granularity": 0, "include_datacomp_raw_cap": False},
        {"text": 'The image contains the text "STOP", the text "größe"', "granularity": 1,
         "include_datacomp_raw_cap": False},
        {"text": "with the raw caption", "granularity": 1, "include_datacomp_raw_cap": True},
        {"text": "boxes <bbox>0.1, 0.2, 0.3, 0.4</bbox>", "granularity": 2},
    ]
    grounded = [
        ["A dog's \"bone\"\non the <image>", {"objects": ["dog", 'it\'s'], "boxes": [(0.1, 0.25), (1, -2e-05)]}],
        ["second", None, True, set(), {1}],
    ]
    odd = "tab\t nul\0 \x7f \xa0 \xad é \u2028 \U0001f600 \\ \\n 'both\" quotes"
    kinds = {
        "blip3-kale": (kale, ["A photo of\na <|endofchunk|> sign.\n"]),
        "cc3m": (kale, [" a very typical bus station . "]),
        "cc12m": (kale, ["<PERSON> in Zürich"]),
        "blip3-ocr": (ocr, [json.dumps(entries), json.dumps({"uid": "7", "captions": entries}, ensure_ascii=False),
                            json.dumps({"captions": json.dumps(entries)})]),
        "blip3-grounding": (grounding, [repr(grounded), repr([[odd]]), repr(((odd, 1),)), ascii([[odd]])]),
    }
    return [{"kind": kind, "txt": txt, "text": caption_text(read(txt))}
            for kind, (read, texts) in kinds.items() for txt in texts]


def page(rng: random.Random, pictures: int, sentences: int, small: int) -> dict:
    sides = [8 if i < small else 33 for i in range(pictures)]
    rng.shuffle(sides)
    info = [{"image_name": f"{i}.png", "image_base64": base64.b64encode(png(side, rng)).decode()}
            for i, side in enumerate(sides)]
    return {
        "url": "https://example.org/",
        "text_list": [" ".join(rng.choices(["a", "<image>", "big", "größe", "cat."], k=rng.randint(1, 4)))
                      for _ in range(sentences)],
        "image_info": info,
        "similarity_matrix": [[round(rng.uniform(0.1, 0.4), 6) for _ in range(sentences)] for _ in range(pictures)],
    }


def pages() -> list[dict]:
    # pictures, sentences, small pictures among them
    shapes = [(1, 1, 0), (2, 4, 0), (3, 2, 1), (4, 5, 1), (4, 3, 0), (5, 6, 1)]
    cases = []
    for number, (pictures, sentences, small) in enumerate(shapes):
        made = page(random.Random(f"page {number}"), pictures, sentences, small)
        # A sentence that spells a mark would be lost in the text, so none of these does here.
        made["text_list"] = [sentence.replace("<image>", "<img>") for sentence in made["text_list"]]
        if number == 3:
            del made["image_info"][0]["image_base64"]
        text, places = mmc4_text(made)
        cases.append({"page": made, "text": text, "pictures": places})
    assert any("<|endofchunk|><image>" in case["text"] for case in cases)
    return cases


def shard(path: Path, form: int) -> None:
    rng = random.Random("shard")
    with tarfile.open(path, "w", format=form) as tar:
        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        # In USTAR a name of 100 to 255 bytes is cut in two at a slash.
        for key in ["000", "folder/001", "long" * 20 + "/" + "name" * 10, "größe"]:
            add(f"{key}.png", png(4, rng))
            add(f"{key}.txt", f"caption of {key[:10]}".encode())
            add(f"{key}.json", b"{}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, cases in [("captions.json", captions()), ("mmc4.json", pages())]:
        (folder / name).write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
        shard(folder / f"{name}.tar", form)
