"""Hostile pictures: bombs, polyglots, and the rare kinds that are right."""

import functools
import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageCms


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def sound() -> dict[str, bytes]:
    """Small pictures that are right, by a name."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    image = Image.fromarray(pixels)
    clear = image.convert("RGBA")
    clear.paste((0, 0, 0, 0), (10, 10, 30, 30))
    out = {
        kind: _saved(image, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
    }
    out |= {"clear": _saved(clear, "PNG"), "clear WEBP": _saved(clear, "WEBP", lossless=True)}
    frames = [image.rotate(turn) for turn in (90, 180)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        out[f"several {kind}"] = _saved(image, kind, save_all=True, append_images=frames)
    for kind in ("AVIF", "JPEG2000"):
        if kind in Image.SAVE:
            out[kind] = _saved(image, kind)
    return out


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2, more: bytes = b""):
    """A PNG of any size over any data."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + more + _chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


@functools.cache
def bombs() -> dict[str, bytes]:
    """Small files that claim or unpack to much."""
    zeros = zlib.compress(bytes(1 << 25), 9)
    text = b"zTXt", b"x\0\0" + zeros
    nine = b"\x00" * (9 * 28)
    out = {f"{w} x {h}": _png(w, h, b"\0" * 1000) for w, h in (
        (1, 1), (256, 256), (257, 256), (65_536, 1), (1, 65_536), (10_000, 10_000), (46_341,
        46_341),
        (100_000, 100_000), ((1 << 31) - 1, 1), ((1 << 31) - 1, (1 << 31) - 1), (0, 5), (5, 0),
    )}  # fmt: skip
    out["65536 x 1 whole"] = _png(65_536, 1, bytes(1 + 3 * 65_536))
    out["1 x 65536 whole"] = _png(1, 65_536, bytes(4 * 65_536))
    out |= {f"{name} bomb": _png(9, 9, nine, more=_chunk(*more) * 3) for name, more in {
        "text": text, "profile": (b"iCCP", b"x\0\0" + zeros),
        "xmp": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros), "exif": (b"eXIf", bytes(1 << 19)),
        "parameters": (b"iTXt", b"glide_jax\0\1\0\0\0" + zeros),
    }.items()}  # fmt: skip
    out["more data than pixels"] = _png(9, 9, bytes(1 << 26))
    out["deep parameters"] = _png(9, 9, nine, more=_chunk(b"tEXt", b"glide_jax\0" + b"[" * 200_000))
    for value in (
        b"NaN",
        b"[]",
        b'"x"',
        b"{}",
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"9" * 5000,
        b'{"edit": {"image": "/etc/passwd"}}',
        b"\xff",
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ):
        more = _chunk(b"iTXt", b"glide_jax\0\0\0\0\0" + value)
        out[f"parameters {value[:20]!r}"] = _png(9, 9, nine, more=more)
    lying = {
        "length": b"\x7f\xff\xff\xff",
        "negative length": b"\x80\x00\x00\x00",
        "no length": bytes(4),
    }
    for name, size in lying.items():
        raw = bytearray(_png(9, 9, nine))
        raw[33:37] = size  # that of IDAT
        out[name] = bytes(raw)
    frames = [Image.new("P", (250, 250), k % 256) for k in range(300)]
    out["many frames"] = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    gif = bytearray(sound()["GIF"])
    gif[6:10] = b"\xff\xff\xff\xff"
    out["GIF of 65535 x 65535"] = bytes(gif)
    bmp = bytearray(sound()["BMP"])
    bmp[18:26] = struct.pack("<ii", 2_000_000_000, -2_000_000_000)
    out["BMP of 2e9"] = bytes(bmp)
    out |= {f"PPM {head!r}": head + b"\n" + bytes(300) for head in (
        b"P6 99999 99999 255", b"P6 -1 5 255", b"P6 5 5 0", b"P6 5 5 65535", b"P3 9 9 255",
        b"P1 9 9",
        b"P6 256 256 255", b"Pf 5 5 -1", b"P7", b"P6 1" + b"0" * 5000 + b" 1 255",
    )}  # fmt: skip
    return out


@functools.cache
def strange() -> dict[str, bytes]:
    """Polyglots, other kinds of file, and pictures of rare modes."""
    png, out = sound()["PNG"], {}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x" * 50, bytes(1 << 24))
    html = b"<html><script>alert(1)</script></html>"
    out |= {
        "PNG and ZIP": png + zipped.getvalue(), "ZIP": zipped.getvalue(),
        "PNG and HTML": png + html,
        "PNG twice": png + png, "JPEG and PNG": sound()["JPEG"] + png, "HTML": html,
        "HTML and PNG": html + png, "GIF and script": b"GIF89a/*" + html + b"*/=1;",
        "gzip": b"\x1f\x8b\x08",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "SVG of entities": b'<!DOCTYPE x [<!ENTITY a "' + b"b" * 999 + b'">]><svg>&a;&a;</svg>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "PDF": b"%PDF-1.7\n%%EOF", "ICO": b"\0\0\1\0\1\0" + bytes(16),
        "PSD": b"8BPS\0\1" + bytes(30),
        "MPEG": b"\0\0\1\xb3" + bytes(99), "empty": b"", "zeros": bytes(5000),
        "ELF": b"\x7fELF" + bytes(99),
        "pickle": b"\x80\x04cposix\nsystem\n",
        "MSL": b"<image><read filename='/etc/passwd'/></image>",
        "push graphic-context": b"push graphic-context\nfill 'url(https://localhost/\"|ls\")'\n",
        "RIFF": b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(30),
        "ftyp": b"\0\0\0\x1cftypavif" + bytes(60),
        "JP2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "TIFF": b"II*\0" + b"\xff" * 60,
    }  # fmt: skip
    base = np.random.default_rng(1).integers(0, 256, (40, 48), np.uint8)
    grey = Image.fromarray(base)
    deep = Image.fromarray(base.astype(np.uint16) * 257)
    real = Image.fromarray(base.astype(np.float32))
    palette = grey.convert("RGB").quantize(7)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    out |= {
        "1": _saved(grey.convert("1"), "PNG"), "L": _saved(grey, "PNG"), "16 bits": _saved(deep,
        "PNG"),
        "LA": _saved(grey.convert("LA"), "PNG"), "F": _saved(real, "TIFF"), "I;16": _saved(deep,
        "TIFF"),
        "I": _saved(real.convert("I"), "TIFF"), "NaN": _saved(Image.fromarray(np.full((9, 9),
        np.nan, np.float32)), "TIFF"),
        "CMYK": _saved(grey.convert("CMYK"), "JPEG"), "CMYK TIFF": _saved(grey.convert("CMYK"),
        "TIFF"),
        "LAB": _saved(Image.new("LAB", (48, 40)), "TIFF"), "YCbCr": _saved(grey.convert("YCbCr"),
        "TIFF"),
        "palette, one clear": _saved(palette, "PNG", transparency=3),
        "palette, many clear": _saved(palette, "PNG", transparency=bytes(range(0, 210, 30))),
        "grey, one clear": _saved(grey, "PNG", transparency=7), "profile": _saved(grey, "PNG",
        icc_profile=profile),
        "RGB, one clear": _saved(grey.convert("RGB"), "PNG", transparency=(1, 2, 3)),
        "1 bit, one clear": _saved(grey.convert("1"), "PNG", transparency=0),
        "16 bits, one clear": _png(9, 9, bytes(9 * 19), 16, 0, _chunk(b"tRNS", b"\0\1")),
        "16 bits in colour": _png(9, 9, bytes(9 * 55), 16), "depth 3": _png(9, 9, bytes(99), 3, 0),
        "no palette": _png(9, 9, bytes(90), 8, 3), "palette of 1": _png(9, 9, b"\xff" * 90, 8, 3,
        _chunk(b"PLTE", bytes(3))),
        "tRNS too long": _png(9, 9, bytes(252), more=_chunk(b"tRNS", bytes(300))),
        "profile that is none": _saved(grey, "PNG", icc_profile=b"x" * 999),
        "1 x 1": _saved(Image.new("RGBA", (1, 1)), "PNG"), "2 x 1": _saved(Image.new("LA", (2, 1)),
        "PNG"),
        "all clear": _saved(Image.new("RGBA", (48, 40)), "PNG"), "half": _saved(Image.new("RGBA",
        (48, 40), (1, 2, 3, 99)), "PNG"),
        "1000 x 3": _saved(Image.new("RGBA", (1000, 3)), "PNG"),
        "3 x 1000": _saved(Image.new("RGB", (3, 1000)), "WEBP"),
    }  # fmt: skip
    for turn in (0, 5, 6, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = turn
        out[f"turned {turn}"] = _saved(grey.convert("RGB"), "JPEG", exif=exif)
        out[f"turned {turn}, PNG"] = _saved(grey.convert("RGBA"), "PNG", exif=exif)
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\xff" * 99, b"Exif\0\0"):
        out[f"exif {exif[6:12]!r}"] = _saved(grey.convert("RGB"), "JPEG", exif=exif)
    return out
