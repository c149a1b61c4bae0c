"""What 32x32 thumbnails of a video say about each other: blank, a mixture, moved, or the same picture.

Sums run over whole numbers in float64, where their order does not matter: other processors decide alike.
"Difference" is the mean absolute difference over the mean contrast of the two, so that a dark scene or a small
product on white counts as much as a bright one that fills the frame.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SIDE = 32
"""Pixels of a thumbnail's side."""
CLEAR, FAINT, MIXED = 0, 1, 2
"""What `mixtures` calls a sample: itself, a fainter copy of a neighbour, or one neighbour fading into another."""

_BLANK = 4.0  # variation (of 255) along rows or along columns below which there is nothing to see
_FLOOR = 2.0  # of 255, added to contrasts: noise is no picture
_NEAR = 0.10  # difference up to which two are the same as they lie
_FAR = 1.5  # and above which no shift makes them the same
_SHIFT = 4  # pixels to each side
_ZOOMS = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)
_ROWS = 0.75  # of the rows count, the most alike ones: a title that comes in changes the others
_REACH = 8  # samples to either side that may explain a sample
_REACH_MS = 1500  # between those two, at most
_UNEXPLAINED = 0.06  # share of a sample's variance that a mixture may leave over
_SHARE = 0.10  # a mixture holds at least this much of either side
_FAINT = 0.85  # contrast, relative to its neighbour, under which a sample is a faded copy
_CHANGING = 0.08  # of the difference between the two sides, that passes while a fade passes one sample
_SIDES = 0.14  # difference, after alignment, from which the two sides are two pictures
_MOTION = 0.4  # share of a change that motion explains, from which it is no fade
_FADE_MS = 1200  # what looks like a fade for longer is motion
_CHUNK = 256

_INNER = slice(_SHIFT, SIDE - _SHIFT)
_INDEX = [np.clip(np.rint((np.arange(SIDE) - 15.5) / zoom + 15.5).astype(int), 0, SIDE - 1) for zoom in _ZOOMS]


def blanks(strip: np.ndarray) -> np.ndarray:
    """bool[n] of uint8[n,32,32,3]: is there nothing to see? Letterbox bars alone are nothing, either."""
    parts = [_blanks(strip[start : start + _CHUNK]) for start in range(0, len(strip), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _blanks(strip: np.ndarray) -> np.ndarray:
    pixels = strip.astype(np.float64)

    def variation(axis: int) -> np.ndarray:
        return (SIDE * (pixels**2).sum(axis) - pixels.sum(axis) ** 2).sum(1).max(-1) / SIDE**3

    return np.minimum(variation(1), variation(2)) < _BLANK**2


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of two thumbnails as they lie."""
    return float(np.abs(a.astype(np.int16) - b).mean()) / _scale(_contrast(a), _contrast(b))


def unlikeness(a: np.ndarray, b: np.ndarray) -> float:
    """1 - correlation: tells another picture from the same one that was encoded anew."""
    gram = _gram(np.stack([a, b]))
    return 1 - float(gram[0, 1]) / (float(np.sqrt(gram[0, 0] * gram[1, 1])) + 1e-9)


class Alike:
    """Does another thumbnail show what this one shows, though zoomed or shifted a little or with a title on it?"""

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels.astype(np.int16)
        self._contrast = _contrast(pixels)
        self._windows: np.ndarray | None = None

    def __call__(self, other: np.ndarray, limit: float) -> bool:
        """Is the difference after alignment up to `limit`?"""
        scale = _scale(self._contrast, _contrast(other))
        plain = float(np.abs(self._pixels - other).mean()) / scale
        return plain <= _NEAR or (plain <= _FAR and self._aligned(other) <= limit * scale)

    def _aligned(self, other: np.ndarray) -> float:
        side, places = SIDE - 2 * _SHIFT, 2 * _SHIFT + 1
        if self._windows is None:
            grey = _grey(self._pixels)
            parts = [sliding_window_view(grey[at][:, at], (side, side)).reshape(-1, side**2) for at in _INDEX]
            self._windows = np.concatenate(parts)
            self._powers = np.einsum("ij,ij->i", self._windows, self._windows)
        inner = other[_INNER, _INNER]
        best = int((self._powers - 2 * (self._windows @ _grey(inner).reshape(-1))).argmin())
        zoom, shift = divmod(best, places**2)
        y, x = divmod(shift, places)
        at = _INDEX[zoom]
        rows = np.abs(self._pixels[at[y : y + side]][:, at[x : x + side]] - inner).sum((1, 2))
        rows.sort()
        kept = round(_ROWS * side)
        return float(rows[:kept].sum()) / (3 * side * kept)


def motions(strip: np.ndarray) -> np.ndarray:
    """float[n]: share of the change to the next sample that one shift, zoom and turn of the whole picture explain."""
    y, x = (place - (SIDE - 1) / 2 for place in np.mgrid[1 : SIDE - 1, 1 : SIDE - 1])
    shares = np.zeros(len(strip))
    for n in range(len(strip) - 1):
        a, b = (pixels.astype(np.float64).transpose(2, 0, 1) for pixels in (strip[n], strip[n + 1]))
        both = a + b
        across = both[:, 1:-1, 2:] - both[:, 1:-1, :-2]
        down = both[:, 2:, 1:-1] - both[:, :-2, 1:-1]
        change = (b - a)[:, 1:-1, 1:-1].reshape(-1)
        basis = np.stack([across, down, x * across + y * down, x * down - y * across]).reshape(4, -1)
        seen = basis @ change
        shares[n] = seen @ np.linalg.solve(basis @ basis.T + np.eye(4), seen) / (change @ change + 1)
    return shares


def mixtures(strip: np.ndarray, times: np.ndarray, blank: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """int8[n]: `FAINT` or `MIXED` for the samples that their neighbours explain, else `CLEAR`."""
    found = np.zeros(len(strip), np.int8)
    for start in range(0, len(strip), _CHUNK):
        low, high = max(0, start - _REACH), min(len(strip), start + _CHUNK + _REACH)
        part = _mixtures(*(values[low:high] for values in (strip, times, blank, motion)))
        found[start : start + _CHUNK] = part[start - low : start - low + _CHUNK]
    edges = np.flatnonzero(np.diff(found == MIXED, prepend=False, append=False))
    for start, end in edges.reshape(-1, 2):
        if times[end - 1] - times[start] > _FADE_MS:
            found[start:end] = CLEAR
    return found


def _mixtures(strip: np.ndarray, times: np.ndarray, blank: np.ndarray, motion: np.ndarray) -> np.ndarray:
    n = len(strip)
    gram = _gram(strip)
    power = np.diag(gram)
    found = np.zeros(n, np.int8)
    pixels = strip.astype(np.int16)
    changing = np.zeros(n)
    changing[1:-1] = np.abs(pixels[2:] - pixels[:-2]).mean((1, 2, 3)) if n > 2 else 0
    sides: dict[int, Alike] = {}
    for reach in range(1, min(_REACH, n - 1) + 1):
        early, late = np.arange(n - reach), np.arange(reach, n)
        for one, other in ((early, late), (late, early)):
            common = gram[one, other]
            faint = (common > 0) & (common < _FAINT * power[other]) & ~blank[other]
            faint &= common**2 > (1 - _UNEXPLAINED) * power[one] * power[other]
            faint &= np.abs(times[one] - times[other]) <= _REACH_MS // 2
            found[one[faint]] = FAINT
        if 2 * reach >= n:
            continue
        a, i, b = np.arange(n - 2 * reach), np.arange(reach, n - reach), np.arange(2 * reach, n)
        # Least squares: sample i = of_a * sample a + of_b * sample b + a flat colour.
        ab, ia, ib = gram[a, b], gram[i, a], gram[i, b]
        det = power[a] * power[b] - ab * ab
        solvable = det > 1e-3 * power[a] * power[b]
        safe = np.where(solvable, det, 1)
        of_a, of_b = (ia * power[b] - ib * ab) / safe, (ib * power[a] - ia * ab) / safe
        fits = solvable & (power[i] - of_a * ia - of_b * ib < _UNEXPLAINED * power[i])
        fits &= (np.minimum(of_a, of_b) >= _SHARE) & (of_a + of_b <= 1.2)
        fits &= ~blank[a] & ~blank[b] & (times[b] - times[a] <= _REACH_MS) & (found[i] == CLEAR)
        fits &= changing[i] > _CHANGING * np.abs(pixels[a] - pixels[b]).mean((1, 2, 3))
        fits &= np.maximum(motion[i - 1], motion[i]) < _MOTION
        for m in np.flatnonzero(fits):
            if not sides.setdefault(m, Alike(strip[m]))(strip[b[m]], _SIDES):
                found[i[m]] = MIXED
    return np.where(blank, CLEAR, found)


def _gram(strip: np.ndarray) -> np.ndarray:
    """float64[n,n]: products of all thumbnails, each channel without its mean; exact."""
    flat = strip.reshape(len(strip), -1).astype(np.float64)
    sums = strip.sum((1, 2)).astype(np.float64)
    return flat @ flat.T - sums @ sums.T / SIDE**2


def _contrast(pixels: np.ndarray) -> float:
    # SIDE**2 is a power of two, so that means are exact.
    return float(np.abs(pixels - pixels.mean((0, 1))).mean())


def _scale(contrast_a: float, contrast_b: float) -> float:
    return (contrast_a + contrast_b) / 2 + _FLOOR


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Twice, five times and once red, green and blue: whole numbers."""
    return pixels.astype(np.float64) @ np.array([2.0, 5.0, 1.0])
