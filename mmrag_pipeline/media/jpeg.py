"""Plain JPEGs -> pixels without Pillow in between, at full size or made smaller while they are decoded.

libjpeg-turbo (through simplejpeg) gives the very pixels that Pillow gives, sooner. The inverse cosine transform
can make 1/2, 1/4 or 1/8 of the size for a fraction of the work; the scales between (5/8 and so on) take longer
than full size does. What is not plain (CMYK, odd sampling) or makes the decoder complain is left to Pillow.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

_REDUCTIONS = (8, 4, 2)

_TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: pixels[::-1].T,
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: pixels.T[::-1],
}


def reduction(size: tuple[int, int], short_side: int | None, *, even: bool) -> int:
    """1, 2, 4 or 8: the most by which `size` may be divided with its short side still at least `short_side`.

    Where the size is no multiple of it, the last row or column of the reduced picture reaches beyond the
    picture; with `even`, only a reduction that divides both sides is taken.
    """
    if short_side is None:
        return 1
    for by in _REDUCTIONS:
        if min(size) >= short_side * by and not (even and (size[0] % by or size[1] % by)):
            return by
    return 1


def decode_plain(data: bytes, size: tuple[int, int], *, by: int = 1, grey: bool = False) -> np.ndarray | None:
    """uint8 [ceil(height/by), ceil(width/by), 3] as stored, not yet upright; with `grey`, one channel.

    None when the decoder refuses the bytes or warns about them: Pillow has the last word on those.
    """
    width, height = (-(-side // by) for side in size)
    smaller = {"min_width": width, "min_height": height} if by > 1 else {}
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY" if grey else "RGB", strict=True, **smaller)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (height, width) else None


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Undo EXIF orientation `turn` (1..8) of uint8 [h, w, 3]; C-contiguous."""
    if turn not in _TURNS:
        return pixels
    whole = pixels.view(np.dtype("V3"))[..., 0]  # a pixel at a time: half the time of three bytes at a time
    moved = np.ascontiguousarray(_TURNS[turn](whole))
    return moved.view(np.uint8).reshape(*moved.shape, 3)
