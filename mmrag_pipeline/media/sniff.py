"""What a file is, by its first bytes; its name is never believed.

Only the formats in `STILLS` and `VIDEOS` go on to a decoder, each to its own. Everything else gets a reason
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmrag_pipeline.media.rules import MediaError, Reason

SNIFF_BYTES = 4096
"""Bytes from the start of a file that `sniff` wants to see."""

STILLS = {
    "jpeg": ("JPEG", "MPO"),
    "png": ("PNG",),
    "gif": ("GIF",),
    "webp": ("WEBP",),
    "tiff": ("TIFF",),
    "bmp": ("BMP",),
    "avif": ("AVIF",),
    "heic": ("HEIF",),
    "jp2": ("JPEG2000",),
}
"""Our name of each still format -> the only Pillow plug-ins that may open it."""

VIDEOS = {"mp4": "mov", "mov": "mov", "webm": "matroska", "mkv": "matroska"}
"""Our name of each container -> the only FFmpeg demuxer that may open it."""

_SMALLEST = 12  # bytes: no allowed format has a complete header in fewer

_STILL_MAGIC = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"BM": "bmp",
    b"\0\0\0\x0cjP  \r\n\x87\n": "jp2",
    b"\xff\x4f\xff\x51": "jp2",
}

_UNSUPPORTED_MAGIC = {
    b"%!PS": "EPS or PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\0\0\1\0": "Windows icon",
    b"icns": "macOS icon",
    b"gimp xcf": "GIMP",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"qoif": "QOI",
    b"DDS ": "DirectDraw surface",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"FLV\1": "Flash video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "Windows media",
    b"OggS": "Ogg",
    b"\0\0\1\xba": "MPEG program stream",
    b"\0\0\1\xb3": "MPEG video",
}

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1"}  # any HEIF, so only telling when no other brand is there


@dataclass(frozen=True)
class Kind:
    """An allowed format."""

    media_type: Literal["image", "video"]
    format: str


def sniff(head: bytes) -> Kind:
    """Name the format of a file from its first `SNIFF_BYTES` bytes (all of them if it is shorter).

    Raises:
        MediaError: `empty_or_not_an_image`, `unsupported_format` or `not_an_image`.
    """
    if len(head) < _SMALLEST:
        raise MediaError(Reason.EMPTY_OR_NOT_AN_IMAGE, f"only {len(head)} bytes")
    foreign = _unsupported(head)
    if foreign:
        raise MediaError(
            Reason.UNSUPPORTED_FORMAT,
            f"{foreign}: export it as JPEG, PNG, WebP or TIFF, a video as MP4 or WebM",
        )
    for magic, name in _STILL_MAGIC.items():
        if head.startswith(magic):
            return Kind("image", name)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind("image", "webp")
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return Kind("video", "mov")  # QuickTime before ftyp existed
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Kind("video", "webm" if b"webm" in head[:64] else "mkv")
    raise MediaError(Reason.NOT_AN_IMAGE, f"no picture or video format begins with {_printable(head)}")


def check_complete(kind: Kind, data: bytes) -> None:
    """Refuse a HEIC or AVIF that was cut short: its decoder is content when the first item is still whole.

    Raises:
        MediaError: `decode_error`, the last box ends behind the end of the file.
    """
    at = 0
    while kind.format in ("heic", "avif") and at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # "to the end of the file"
            return
        at += max(size, 8)
        if at > len(data):
            raise MediaError(Reason.DECODE_ERROR, f"{kind.format}: cut short, {at - len(data)} bytes are missing")


def _iso_media(head: bytes) -> Kind:
    """MP4, QuickTime, HEIC and AVIF share one container; its brands tell them apart."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return Kind("image", "avif")
    if brands & _HEIC_BRANDS or major in _HEIF_BRANDS:
        return Kind("image", "heic")
    if major.startswith(b"crx"):
        raise MediaError(Reason.UNSUPPORTED_FORMAT, "camera raw: export it as JPEG or TIFF")
    return Kind("video", "mov" if major == b"qt  " else "mp4")


def _unsupported(head: bytes) -> str | None:
    for magic, name in _UNSUPPORTED_MAGIC.items():
        if head.startswith(magic):
            return name
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return "camera raw"  # a TIFF to Pillow, which would take the thumbnail for the picture
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI video"
    if head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[14:16] == b"\x03\0":
        return "FLIC animation"
    if head[0] == 0x47 and len(head) > 188 and head[188] == 0x47:
        return "MPEG transport stream"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text):
        return "SVG"
    return None


def _printable(head: bytes) -> str:
    start = head[:12]
    return repr(start.decode("ascii")) if start.isascii() and b"\0" not in start else start.hex(" ")
