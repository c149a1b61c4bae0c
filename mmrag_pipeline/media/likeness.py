"""Near-duplicates: copies of the same picture that were encoded again, resized, re-tagged or mirrored.

A picture's look is a very small picture of it: 20x20 lightness, 6x6 colour, and its shape. Copies agree in every
cell to within what JPEG does; another colour, angle or inscription shows in at least one cell, so the largest
difference decides, not only the mean. This is no search for similar pictures: when in doubt they are different.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

LIGHT, COLOUR = 20, 6
"""Cells to a side of a look's lightness, and of each of its two colours."""
LOOK_BYTES = 2 + LIGHT**2 + 2 * COLOUR**2

# Largest differences between two copies; lightness and colour in 1/255, shape in octaves of width / height.
_MAX_LIGHT, _MAX_COLOUR, _MAX_SHAPE = 8, 4, 0.025
_RMS_LIGHT, _RMS_COLOUR = 2.0, 1.2
_RMS_SHARE = 0.12
"""Of the picture's own contrast: what is nearly one shade all over needs to agree better."""
_LEAST_CONTRAST = 5.0
"""Standard deviation of the lightness under which a picture has no look: there is too little to go by."""

_FAR = LIGHT * _RMS_LIGHT + 0.5
"""Distance above which two gists can't be of copies: the root of the cells' squared differences, and rounding."""
_BLOCK = 256
_ROWS, _COLUMNS = 8, 1024
"""Of one product of matrices: any larger and the library keeps all cores spinning, for longer than one takes."""


def squeezed(picture: Image.Image, part: tuple[float, float] | None = None) -> Image.Image:
    """The 20x20 picture of `picture`, or of its left upper `part` (width, height), that `look_of` is made of."""
    box = (0, 0, *part) if part else None
    return picture.resize((LIGHT, LIGHT), Image.Resampling.BILINEAR, box=box)


def look_of(picture: Image.Image, shape: tuple[int, int] | None = None) -> bytes:
    """474 bytes that say what an RGB picture looks like; b"" for one of nearly one shade, which is like no other.

    Of a picture that is `squeezed` already, `shape` is the (width, height) that it had before.
    """
    width, height = shape or picture.size
    octaves = math.log2(width / height)
    bands = (picture if shape else squeezed(picture)).convert("YCbCr").split()
    light = np.asarray(bands[0])
    if light.std() < _LEAST_CONTRAST:
        return b""
    colour = [np.asarray(band.resize((COLOUR, COLOUR), Image.Resampling.BILINEAR)) for band in bands[1:]]
    return b"".join([np.int16(round(octaves * 1000)).astype("<i2").tobytes(), light.tobytes(), *map(bytes, colour)])


def near_duplicates(looks: Sequence[bytes], sizes: Sequence[int]) -> dict[int, int]:
    """Index of each copy -> index of the picture to keep in its place; who is neither is not in it.

    Of the pictures that are like one another the largest by `sizes` (pixels) is kept, of equals the first. Every
    copy was compared with the very picture that it maps to, so likeness is never handed on from copy to copy.
    """
    known = [index for index, look in enumerate(looks) if len(look) == LOOK_BYTES]
    known.sort(key=lambda index: (-sizes[index], index))
    if len(known) < 2:
        return {}
    album = _Album(b"".join(looks[index] for index in known))
    copies: dict[int, int] = {}
    free = np.ones(len(known), dtype=bool)
    for keeper in album.with_company().tolist():
        if free[keeper]:
            others = album.company_of(keeper)
            others = others[(others > keeper) & free[others]]
            for copy in others[album.alike(keeper, others)].tolist():
                copies[known[copy]] = known[keeper]
                free[copy] = False
    return copies


class _Album:
    """Looks in order of precedence: a coarse comparison of all with all, a fine one of few with one."""

    def __init__(self, looks: bytes):
        rows = np.frombuffer(looks, dtype=np.uint8).reshape(-1, LOOK_BYTES)
        light_end = 2 + LIGHT**2
        self._shape = rows[:, :2].copy().view("<i2")[:, 0] / np.float32(1000)
        self._light = rows[:, 2:light_end].reshape(-1, LIGHT, LIGHT)
        self._colour = rows[:, light_end:].reshape(-1, 2, COLOUR, COLOUR)
        self._tolerance = np.minimum(_RMS_LIGHT, _RMS_SHARE * self._light.std(axis=(1, 2)))
        gist = self._light.reshape(-1, LIGHT**2).astype(np.float32) @ _gist_basis()
        gist = gist[:, np.argsort(gist.var(axis=0))]
        self._order = np.argsort(gist[:, -1], kind="stable")  # along the direction in which they differ most
        self._place = np.argsort(self._order)
        self._gist = gist[self._order]

    def _window(self, low: float, high: float) -> slice:
        """Where in the order of gists those are that may be near one between `low` and `high`."""
        along = self._gist[:, -1]
        return slice(*np.searchsorted(along, (low - _FAR, high + _FAR)).tolist())

    def with_company(self) -> np.ndarray:
        """Indices of the looks that may be like another one, ascending."""
        half = np.square(self._gist).sum(axis=1) / 2
        found = np.zeros(len(half), dtype=bool)
        for start in range(0, len(half), _ROWS):
            block = self._gist[start : start + _ROWS]
            window = self._window(block[0, -1], block[-1, -1])
            least = half[start : start + _ROWS, None] - _FAR**2 / 2
            count = np.zeros(len(block), dtype=np.int64)
            for at in range(window.start, window.stop, _COLUMNS):
                part = slice(at, min(at + _COLUMNS, window.stop))
                # |a - b|^2 <= far^2, said as a . b - |b|^2 / 2 >= (|a|^2 - far^2) / 2
                count += np.count_nonzero(block @ self._gist[part].T - half[part] >= least, axis=1)
            found[start : start + _ROWS] = count > 1  # itself does not count
        return np.sort(self._order[found])

    def company_of(self, index: int) -> np.ndarray:
        """Indices of the looks that may be like `index`, itself included, ascending."""
        gist = self._gist[self._place[index]]
        window = self._window(gist[-1], gist[-1])
        near = np.square(self._gist[window] - gist).sum(axis=1) <= _FAR**2
        return np.sort(self._order[window][near])

    def alike(self, index: int, others: np.ndarray) -> np.ndarray:
        """bool [len(others)]: whether each is a copy of `index`, as it is or mirrored."""
        result = np.zeros(len(others), dtype=bool)
        for start in range(0, len(others), _BLOCK):
            part = others[start : start + _BLOCK]
            shaped = np.abs(self._shape[part] - self._shape[index]) <= _MAX_SHAPE
            result[start : start + _BLOCK] = shaped & (self._same(index, part, 1) | self._same(index, part, -1))
        return result

    def _same(self, index: int, others: np.ndarray, step: int) -> np.ndarray:
        light = np.abs(self._light[others].astype(np.int16) - self._light[index][:, ::step])
        colour = np.abs(self._colour[others].astype(np.int16) - self._colour[index][:, :, ::step])
        return (
            (light.max(axis=(1, 2)) <= _MAX_LIGHT)
            & (colour.max(axis=(1, 2, 3)) <= _MAX_COLOUR)
            & (_rms(light) <= np.minimum(self._tolerance[index], self._tolerance[others]))
            & (_rms(colour) <= _RMS_COLOUR)
        )


def _rms(differences: np.ndarray) -> np.ndarray:
    """Root mean square of each of int16 [n, ...]; float32 [n]."""
    return np.sqrt(np.mean(np.square(differences, dtype=np.float32), axis=tuple(range(1, differences.ndim))))


def _gist_basis() -> np.ndarray:
    """float32 [400, 32], orthonormal: the coarsest waves that are the same for a mirrored picture.

    No two looks are further apart in these numbers than they are cell by cell.
    """
    at = (np.arange(LIGHT) + 0.5) * np.pi / LIGHT
    down, across = (np.cos(np.outer(at, waves)) for waves in (range(8), range(0, 8, 2)))
    basis = (down[:, None, :, None] * across[None, :, None, :]).reshape(LIGHT**2, -1)
    return (basis / np.linalg.norm(basis, axis=0)).astype(np.float32)
