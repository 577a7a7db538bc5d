"""Writes the fixtures that pin aki-data's decoding to Pillow's `convert("RGB")`.

    pip install pillow==11.3.0
    python tests/reference/pillow_modes.py aki-data/tests/fixtures/pillow_modes

Each line of cases.txt names a picture, the width and height that Pillow decoded,
and those after `ImageOps.exif_transpose`. Beside each picture lies Pillow's result
as raw bytes (`.rgb`), and where turning changes it, the turned one (`.upright.rgb`).
Read by aki-data/tests/pillow_modes.rs.
"""

import io
import random
import struct
import sys
import zlib
from pathlib import Path

import PIL
from PIL import Image, ImageOps

assert PIL.__version__ == "11.3.0", f"the fixtures are pinned to Pillow 11.3.0, not {PIL.__version__}"

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
PALETTE = bytes(random.Random("palette").randbytes(3 * 256))
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(kind: int, depth: int, width: int, height: int, *chunks: bytes, interlaced=False, colours=None) -> bytes:
    """A PNG of random samples, of any colour type and depth, with further chunks before the pixels."""
    rng = random.Random(f"png {kind} {depth} {width} {height}")
    limit = colours or 1 << depth
    # In 16 bits, half of the samples are small: Pillow clips grey ones.
    sample = lambda: rng.randrange(300) if depth == 16 and rng.random() < 0.5 else rng.randrange(limit)
    pixels = [[[sample() for _ in range(CHANNELS[kind])] for _ in range(width)] for _ in range(height)]
    raw = b""
    for left, top, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        for row in pixels[top::down]:
            bits = "".join(f"{value:0{depth}b}" for pixel in row[left::right] for value in pixel)
            if bits:
                bits += "0" * (-len(bits) % 8)
                raw += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    parts = chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pngs():
    for interlaced in (False, True):
        name = "interlaced" if interlaced else "plain"
        for kind, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
            for depth in depths:
                palette = [chunk(b"PLTE", PALETTE[: 3 << depth])] if kind == 3 else []
                for width, height in ((13, 9), (1, 3)) if interlaced else ((13, 9),):
                    data = png(kind, depth, width, height, *palette, interlaced=interlaced)
                    yield f"{name}_{kind}_{depth}_{width}x{height}.png", data
    transparent = {"grey1": (0, 1, b"\0\1"), "grey8": (0, 8, b"\0\7"), "grey16": (0, 16, b"\1\0"),
                   "rgb8": (2, 8, b"\0\1\0\2\0\3"), "rgb16": (2, 16, b"\1\1\2\2\3\3")}
    for name, (kind, depth, value) in transparent.items():
        yield f"trns_{name}.png", png(kind, depth, 13, 9, chunk(b"tRNS", value))
    for depth in (1, 4, 8):
        chunks = chunk(b"PLTE", PALETTE[: 3 << depth]), chunk(b"tRNS", b"\0\x80")
        yield f"trns_palette{depth}.png", png(3, depth, 13, 9, *chunks)
    # Indices beyond the palette are black.
    yield "short_palette8.png", png(3, 8, 13, 9, chunk(b"PLTE", PALETTE[:600]))
    yield "short_palette4.png", png(3, 4, 13, 9, chunk(b"PLTE", PALETTE[:33]))
    colour = chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0"), chunk(b"bKGD", b"\0\1\0\2\0\3")
    yield "gamma.png", png(2, 8, 13, 9, *colour[:1])
    yield "srgb_background.png", png(2, 8, 13, 9, *colour[1:])
    yield "significant_bits.png", png(2, 8, 13, 9, chunk(b"sBIT", b"\5\6\5"))


def smooth(width: int, height: int, mode="RGB") -> Image.Image:
    """A picture of large shapes and some noise, as photographs are."""
    rng = random.Random(f"smooth {width} {height}")
    small = max(width // 8, 1), max(height // 8, 1)
    channels = len(mode)
    noise = [rng.randbytes(small[0] * small[1]) for _ in range(channels)]
    planes = [Image.frombytes("L", small, plane).resize((width, height), Image.Resampling.BICUBIC) for plane in noise]
    return planes[0] if channels == 1 else Image.merge(mode, planes)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def jpegs():
    for name, sampling in {"444": 0, "422": 1, "420": 2}.items():
        for width, height in ((61, 47), (16, 16), (7, 5), (1, 1)):
            yield f"{name}_{width}x{height}.jpg", saved(smooth(width, height), "JPEG", subsampling=sampling, quality=85)
    yield "440_61x47.jpg", saved(smooth(61, 47), "JPEG", subsampling=1, quality=80).replace(b"\1\x21\0\2\x11", b"\1\x12\0\2\x11")
    yield "quality30.jpg", saved(smooth(61, 47), "JPEG", quality=30)
    yield "quality100.jpg", saved(smooth(61, 47), "JPEG", quality=100)
    yield "progressive.jpg", saved(smooth(61, 47), "JPEG", progressive=True)
    yield "restart.jpg", saved(smooth(61, 47), "JPEG", restart_marker_blocks=2)
    yield "grey.jpg", saved(smooth(61, 47, "L"), "JPEG")
    yield "rgb.jpg", saved(smooth(61, 47), "JPEG", keep_rgb=True)
    cmyk = saved(smooth(61, 47, "CMYK"), "JPEG", quality=90, subsampling=0)
    yield "cmyk.jpg", cmyk
    adobe = cmyk.index(b"Adobe") + 11
    yield "ycck.jpg", cmyk[:adobe] + b"\2" + cmyk[adobe + 1 :]
    yield "cmyk_unmarked.jpg", cmyk[: adobe - 15] + cmyk[adobe + 1 :]
    yield "cmyk_420.jpg", saved(smooth(61, 47, "CMYK"), "JPEG", quality=90, subsampling=2)
    for orientation in range(10):
        yield f"exif_{orientation}.jpg", saved(smooth(24, 16), "JPEG", exif=exif(orientation))


def gif(width, height, frames, palette=PALETTE[:24], background=1) -> bytes:
    """A GIF of 8 colours; frames are (left, top, width, height, transparent, interlaced, palette)."""
    flags = 0x82 if palette else 0
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, background, 0) + (palette or b"")
    rng = random.Random(f"gif {width} {height}")
    for left, top, w, h, transparent, interlaced, local in frames:
        if transparent is not None:
            data += b"!\xf9\4" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
        flags = (0x40 if interlaced else 0) | (0x82 if local else 0)
        data += b"," + struct.pack("<HHHHB", left, top, w, h, flags) + (local or b"")
        # Codes of 4 bits, cleared before they would widen to 5.
        codes = []
        for index in range(w * h):
            codes += [8] if index % 4 == 0 else []
            codes.append(rng.randrange(8))
        codes.append(9)
        packed = bytes(codes[i] | (codes[i + 1] if i + 1 < len(codes) else 0) << 4 for i in range(0, len(codes), 2))
        blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
        data += b"\3" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return data + b";"


def gifs():
    whole = (0, 0, 13, 9, None, False, None)
    yield "plain.gif", gif(13, 9, [whole])
    yield "interlaced.gif", gif(13, 9, [(0, 0, 13, 9, None, True, None)])
    yield "transparent.gif", gif(13, 9, [(0, 0, 13, 9, 3, False, None)])
    yield "inset.gif", gif(13, 9, [(4, 2, 5, 4, None, False, None)])
    yield "inset_transparent.gif", gif(13, 9, [(4, 2, 5, 4, 3, False, None)])
    yield "lower_rows.gif", gif(13, 9, [(0, 3, 13, 6, None, False, None)])
    yield "overhanging.gif", gif(13, 9, [(4, 2, 15, 12, None, False, None)])
    yield "local_palette.gif", gif(13, 9, [(0, 0, 13, 9, None, False, PALETTE[60:84])])
    yield "only_local_palette.gif", gif(13, 9, [(2, 0, 11, 9, None, False, PALETTE[60:84])], palette=None)
    yield "short_palette.gif", gif(13, 9, [whole], palette=PALETTE[:12]).replace(b"\x0d\0\x09\0\x82", b"\x0d\0\x09\0\x81", 1)
    grey = bytes(value for value in range(8) for _ in range(3))
    yield "grey_palette.gif", gif(13, 9, [whole], palette=grey)
    yield "animated.gif", gif(13, 9, [whole, (2, 2, 4, 4, None, False, None)])
    yield "saved.gif", saved(smooth(61, 47).quantize(200), "GIF")


def bmp(bits, width, height, compression, pixels, palette=b"", masks=b"", top_down=False) -> bytes:
    offset = 14 + 40 + len(masks) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression,
                       len(pixels), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + masks + palette + pixels


def bmps():
    rng = random.Random("bmp")
    rows = lambda bits: rng.randbytes((13 * bits + 31) // 32 * 4 * 9)
    entries = lambda count: b"".join(PALETTE[3 * i : 3 * i + 3] + b"\0" for i in range(count))
    for bits in (1, 4, 8):
        yield f"palette{bits}.bmp", bmp(bits, 13, 9, 0, rows(bits), entries(1 << bits))
    yield "rgb555.bmp", bmp(16, 13, 9, 0, rows(16))
    yield "rgb565.bmp", bmp(16, 13, 9, 3, rows(16), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    yield "rgb24.bmp", bmp(24, 13, 9, 0, rows(24))
    yield "rgb24_top_down.bmp", bmp(24, 13, 9, 0, rows(24), top_down=True)
    yield "rgb32.bmp", bmp(32, 13, 9, 0, rows(32))
    yield "rgb32_masks.bmp", bmp(32, 13, 9, 3, rows(32), masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    runs = b"".join(bytes([6, i, 0, 3, i + 1, i + 2, i + 3, 0, 4, i + 4, 0, 0]) for i in range(9)) + b"\0\1"
    yield "rle8.bmp", bmp(8, 13, 9, 1, runs, entries(256))
    yield "saved_grey.bmp", saved(smooth(13, 9, "L"), "BMP")
    yield "saved_bits.bmp", saved(smooth(13, 9, "L").convert("1"), "BMP")
    yield "saved_rgba.bmp", saved(smooth(13, 9, "RGBA"), "BMP")


def webps():
    yield "lossless.webp", saved(smooth(61, 47), "WebP", lossless=True)
    yield "lossless_alpha.webp", saved(smooth(61, 47, "RGBA"), "WebP", lossless=True, exact=True)
    for width, height in ((61, 47), (16, 16), (1, 1)):
        yield f"lossy_{width}x{height}.webp", saved(smooth(width, height), "WebP", quality=80)
    yield "lossy_alpha.webp", saved(smooth(61, 47, "RGBA"), "WebP", quality=80)
    frames = [smooth(13, 9), smooth(13, 9).rotate(180)]
    yield "animated.webp", saved(frames[0], "WebP", save_all=True, append_images=frames[1:], lossless=True)
    yield "exif_6.webp", saved(smooth(24, 16), "WebP", lossless=True, exif=exif(6))


def tiffs():
    yield "cmyk.tif", saved(smooth(61, 47, "CMYK"), "TIFF")
    for mode in ("L", "RGB", "RGBA", "CMYK"):
        yield f"{mode.lower()}_lzw.tif", saved(smooth(13, 9, mode), "TIFF", compression="tiff_lzw")
    yield "rgb_deflate.tif", saved(smooth(13, 9), "TIFF", compression="tiff_adobe_deflate")
    yield "rgb_packbits.tif", saved(smooth(13, 9), "TIFF", compression="packbits")
    yield "grey_alpha.tif", saved(Image.merge("LA", smooth(13, 9, "RGBA").split()[:2]), "TIFF")
    rng = random.Random("tiff")
    deep = struct.pack("<117H", *(rng.randrange(300) if i % 2 else rng.randrange(65536) for i in range(117)))
    yield "grey16.tif", saved(Image.frombytes("I;16", (13, 9), deep), "TIFF")
    for orientation in (3, 6):
        yield f"turned_{orientation}.tif", saved(smooth(24, 16), "TIFF", tiffinfo={274: orientation})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    turned = [(f"exif_{orientation}.png", saved(smooth(24, 16), "PNG", exif=exif(orientation))) for orientation in (3, 8)]
    for name, data in (*pngs(), *turned, *jpegs(), *gifs(), *bmps(), *webps(), *tiffs()):
        (folder / name).write_bytes(data)
        picture = Image.open(io.BytesIO(data))
        rgb = picture.convert("RGB")
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        (folder / f"{name}.rgb").write_bytes(rgb.tobytes())
        if upright.tobytes() != rgb.tobytes() or upright.size != rgb.size:
            (folder / f"{name}.upright.rgb").write_bytes(upright.tobytes())
        lines.append(f"{name} {rgb.width} {rgb.height} {upright.width} {upright.height}")
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
