"""Pictures that are to a JPEG decoder what photographs are, made and not downloaded."""

import io
import random

from PIL import Image


def photograph(seed: int, width: int, height: int, quality: int | None = None) -> bytes:
    """A JPEG with halved chroma planes: noise of every scale, the finer the weaker, as photographs
    have it. 50 to 150 kB at 640 x 480; without a `quality` one of 80, 90 and 95."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    for scale in (200, 80, 32, 12, 5, 2):
        small = width // scale + 1, height // scale + 1
        layer = Image.frombytes("RGB", small, rng.randbytes(small[0] * small[1] * 3))
        layer = layer.resize((width, height), Image.Resampling.BICUBIC)
        picture = Image.blend(picture, layer, 0.6 if scale > 20 else 0.04 * scale**0.5)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality or rng.choice((80, 90, 95)))
    return file.getvalue()
