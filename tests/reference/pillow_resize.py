"""Writes the fixtures that pin aki-data's resizing to Pillow's.

    pip install pillow==11.3.0
    python tests/reference/pillow_resize.py aki-data/tests/fixtures/pillow

Each line of cases.txt names an input and the output that Pillow made of it with
its bicubic filter. Read by the test at the end of aki-data/src/image/resize.rs.
"""

import random
import sys
from pathlib import Path

import PIL
from PIL import Image, ImageDraw

assert PIL.__version__ == "11.3.0", f"the fixtures are pinned to Pillow 11.3.0, not {PIL.__version__}"

# kind, width, height, new width, new height
CASES = [
    ("noise", 37, 53, 24, 24),  # shrinks on both axes, odd sizes
    ("noise", 7, 5, 64, 64),  # grows on both axes
    ("noise", 64, 64, 48, 31),
    ("noise", 40, 9, 11, 33),  # shrinks on one axis, grows on the other
    ("noise", 20, 16, 20, 7),  # one axis stays
    ("noise", 20, 16, 9, 16),
    ("noise", 1, 1, 5, 4),  # fewer pixels than the kernel is wide
    ("noise", 90, 2, 1, 1),
    ("edges", 61, 47, 16, 16),  # black and white edges overshoot and are clipped
    ("edges", 13, 17, 50, 41),
    ("smooth", 96, 72, 28, 28),
    ("smooth", 30, 30, 77, 59),
]


def draw(kind: str, width: int, height: int) -> Image.Image:
    rng = random.Random(f"{kind} {width} {height}")
    if kind == "noise":
        return Image.frombytes("RGB", (width, height), rng.randbytes(width * height * 3))
    picture = Image.new("RGB", (width, height))
    if kind == "edges":
        pen = ImageDraw.Draw(picture)
        for _ in range(6):
            x, y = rng.randrange(width), rng.randrange(height)
            colour = tuple(rng.choice((0, 255)) for _ in range(3))
            pen.rectangle((x, y, x + width // 3, y + height // 3), fill=colour)
        return picture
    for x in range(width):
        for y in range(height):
            picture.putpixel((x, y), (255 * x // width, 255 * y // height, (x * y) % 256))
    return picture


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for kind, width, height, new_width, new_height in CASES:
        before = draw(kind, width, height)
        after = before.resize((new_width, new_height), Image.Resampling.BICUBIC)
        names = (f"{kind}_{width}x{height}.png", f"{kind}_{width}x{height}_to_{new_width}x{new_height}.png")
        for picture, name in zip((before, after), names):
            picture.save(folder / name, optimize=True)
        lines.append(" ".join(names))
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
