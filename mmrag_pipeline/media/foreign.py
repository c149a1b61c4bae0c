"""A closer look at files that are refused anyway, by their headers: a bomb, damaged, or only foreign?

Nothing is decoded. People who read the quarantine list learn whether exporting the file again would help.
"""

from __future__ import annotations

from mmrag_pipeline.media.rules import Limits, MediaError, Reason

_PSD_SIGNATURES = (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR")


def look_closer(head: bytes, size: int, limits: Limits) -> None:
    """Look at the beginning of an unsupported file of `size` bytes.

    Raises:
        MediaError: `too_many_pixels` or `decode_error`, where the header says so.
    """
    if head[:4] == b"\0\0\1\0":
        for width, height in _icon_sizes(head):
            limits.check_pixels(width, height)
    elif head[4:6] in (b"\x11\xaf", b"\x12\xaf"):
        _within(int.from_bytes(head[:4], "little"), size, "FLIC animation")
    elif head[:4] == b"8BPS":
        _check_photoshop(head, size)


def _icon_sizes(head: bytes) -> list[tuple[int, int]]:
    """Sizes in pixels by the embedded bitmaps' own headers; the icon's directory can't say more than 256."""
    sizes = []
    for entry in range(6, min(6 + 16 * _u16_le(head, 4), len(head) - 15), 16):
        at = _u32(head[entry + 12 : entry + 16], "little")
        if head[at : at + 8] == b"\x89PNG\r\n\x1a\n":
            sizes.append((_u32(head[at + 16 : at + 20]), _u32(head[at + 20 : at + 24])))
        else:
            sizes.append((_u32(head[at + 4 : at + 8], "little"), _u32(head[at + 8 : at + 12], "little") // 2))
    return sizes


def _check_photoshop(head: bytes, size: int) -> None:
    at = 26
    for section in ("colours", "resources", "layers"):
        length = _u32(head[at : at + 4])
        _within(at + 4 + length, size, "Photoshop file")
        body = head[at + 4 : at + 4 + length]
        damaged = (section == "resources" and not _sane_resources(body, length)) or (
            section == "layers" and not _sane_layers(body)
        )
        if damaged:
            raise MediaError(Reason.DECODE_ERROR, f"Photoshop file: its {section} are damaged")
        at += 4 + length


def _sane_resources(section: bytes, length: int) -> bool:
    """Whether block follows block, each signed, as far as `section` reaches of its `length` bytes."""
    at = 0
    while at + 12 <= min(len(section), length):
        if section[at : at + 4] not in _PSD_SIGNATURES:
            return False
        name = 1 + section[at + 6]  # with its length byte; padded to an even size, like the data
        at += 6 + (name + 1) // 2 * 2
        at += 4 + (_u32(section[at : at + 4]) + 1) // 2 * 2
    return True


def _sane_layers(section: bytes) -> bool:
    """Whether each layer's rectangle, as far as `section` reaches, has no negative side."""
    count = abs(int.from_bytes(section[4:6], "big", signed=True))
    at = 6
    for _ in range(count):
        if at + 18 > len(section):
            break
        edges = [int.from_bytes(section[at + i : at + i + 4], "big", signed=True) for i in (0, 4, 8, 12)]
        top, left, bottom, right = edges
        if bottom < top or right < left:
            return False
        at += 18 + 6 * int.from_bytes(section[at + 16 : at + 18], "big")  # now at signature, mode, flags
        at += 16 + _u32(section[at + 12 : at + 16])
    return True


def _within(end: int, size: int, what: str) -> None:
    if end > size:
        raise MediaError(Reason.DECODE_ERROR, f"{what}: cut short, {end - size} bytes are missing")


def _u16_le(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, order: str = "big") -> int:
    return int.from_bytes(data[:4], order)
