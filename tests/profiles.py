"""Small ICC profiles, made by hand: of wide colours, of grey, and of inks."""

import struct

# Primaries as XYZ of D50. The first are Rec. 2020's, nearly; red is far outside sRGB.
_WIDE = ((0.6734, 0.2790, -0.0019), (0.1657, 0.6753, 0.0300), (0.1251, 0.0456, 0.7968))
_WHITE = (0.9642, 1.0, 0.8249)


def _xyz(x, y, z):
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (x, y, z))


def _gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def _profile(kind, space, pcs, tags):
    tags = {"wtpt": _xyz(*_WHITE), "cprt": b"text\0\0\0\0none\0\0\0\0", **tags}
    tags["desc"] = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in _WHITE)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def wide(gamma: float = 1.8) -> bytes:
    """RGB whose primaries lie outside sRGB's."""
    colours = {f"{c}XYZ": _xyz(*xyz) for c, xyz in zip("rgb", _WIDE, strict=True)}
    curves = {f"{c}TRC": _gamma(gamma) for c in "rgb"}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**colours, **curves})


def grey(gamma: float = 1.0) -> bytes:
    """Grey levels that are linear in light."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {"kTRC": _gamma(gamma)})


def inks() -> bytes:
    """CMYK whose black ink is all that is seen: paper is white, and full black is dark grey."""
    identity = bytes(range(256))
    light = [0 if k else 255 for _ in range(8) for k in (0, 1)]  # CMY by K, the last the fastest
    lut = b"".join(bytes([max(level, 40), 128, 128]) for level in light)  # Lab
    matrix = struct.pack(">9i", *(65536 * (i == j) for i in range(3) for j in range(3)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + lut + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {"A2B0": table})
