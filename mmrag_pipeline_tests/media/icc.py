"""ICC profiles made from numbers, and raw PNG and TIFF files with them, so that the truth is arithmetic."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def to_xyz(primaries: tuple) -> np.ndarray:
    """3x3 of linear RGB with white D65 -> XYZ."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


def to_srgb(values: np.ndarray, primaries: tuple, gamma: float) -> np.ndarray:
    """What sRGB numbers (0..255, rounded) colours of another RGB space have; no ICC code involved."""
    linear = (np.asarray(values) / 255.0) ** gamma @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T
    linear = linear.clip(0, 1)
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def rgb_profile(primaries: tuple, gamma: float, name: str = "made for a test") -> bytes:
    matrix = to_xyz(primaries)
    cones = _BRADFORD @ matrix.sum(axis=1)
    matrix = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / cones) @ _BRADFORD @ matrix
    curve = _curve(gamma)
    tags = {letter + b"XYZ": _xyz(column) for letter, column in zip((b"r", b"g", b"b"), matrix.T, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}, name)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile(inks: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A press whose 16 full-tone overprints have the CIELAB colours in `inks`; those left out are black."""
    corners = b""
    for number in range(16):
        ink = tuple(number >> shift & 1 for shift in (3, 2, 1, 0))
        lightness, a, b = inks.get(ink, (8, 0, 0))
        corners += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(np.eye(3, dtype=int) * 65536).ravel())
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + straight * 4 + corners + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def png(values: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """uint8 or uint16 [h, w] or [h, w, 3 or 4] as a PNG with `chunks` in front of the pixels."""
    height, width = values.shape[:2]
    kind = {2: 0, 3: 2}.get(values.ndim) if values.ndim == 2 or values.shape[2] == 3 else 6
    header = struct.pack(">IIBBBBB", width, height, values.itemsize * 8, kind, 0, 0, 0)
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def tiff(values: np.ndarray, *, photometric: int, order: str = "<", extra: tuple[int, ...] = ()) -> bytes:
    """uint8, uint16 or float32 [h, w, channels] as an uncompressed TIFF; `extra` is its ExtraSamples tag."""
    height, width, channels = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    kind = 3 if values.dtype.kind == "f" else 1
    tags = {
        256: [width], 257: [height], 258: [values.itemsize * 8] * channels, 259: [1], 262: [photometric],
        273: [8], 277: [channels], 278: [height], 279: [len(data)], 339: [kind] * channels, 338: list(extra),
    }  # fmt: skip
    tags = {tag: numbers for tag, numbers in sorted(tags.items()) if numbers}
    at = 8 + len(data)
    behind = at + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    for tag, numbers in tags.items():
        form = "I" if tag in (273, 279) else "H"
        packed = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        if len(packed) > 4:
            packed, tail = struct.pack(f"{order}I", behind + len(tail)), tail + packed
        entries += struct.pack(f"{order}HHI", tag, 4 if form == "I" else 3, len(numbers)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    return start + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + tail


def _xyz(values) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _text(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes], name: str = "test") -> bytes:
    tags = {b"desc": _text(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50), **tags}
    at = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        index += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    header = bytearray(128)
    header[0:4] = struct.pack(">I", at + len(body))
    header[8:12] = bytes([2, 0x10, 0, 0])
    header[12:24] = kind + space + connection
    header[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header[36:40] = b"acsp"
    header[68:80] = _xyz(_D50)[8:]
    return bytes(header) + index + body
