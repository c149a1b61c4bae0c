"""Perceptual hashes out of looks: which of very many pictures may be nearly the same, before anything slower is asked.

The hash is pHash (Zauner 2010): the signs of the lowest 8 x 8 waves of the lightness about their median. It is made of
the look that the manifest keeps, so no picture is opened for it. It knows no colour: the look does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmrag_pipeline.media.likeness import LIGHT, LOOK_BYTES

BITS = 64
MAX_BITS = 14
"""Of 64 that differ at most: a copy that was encoded anew differs in 2, one cropped by 2% at each side in 6."""
MAX_COLOUR = 6.0
"""Mean difference of the coarse colours at most, in 1/255: a white-balanced copy has 5, another colourway 10."""
_WAVES = 8
_ROWS = 1024


def like_pairs(looks: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of indices (lower, higher) whose hashes and colours are near one another; looks of `b""` are in none.

    Every pair is compared: a few seconds for 100,000 pictures, and four times that for twice as many.
    """
    known = [index for index, look in enumerate(looks) if len(look) == LOOK_BYTES]
    if len(known) < 2:
        return
    rows = np.frombuffer(b"".join(looks[index] for index in known), dtype=np.uint8).reshape(-1, LOOK_BYTES)
    light_end = 2 + LIGHT**2
    signs = _signs(rows[:, 2:light_end].reshape(-1, LIGHT, LIGHT))
    colours = rows[:, light_end:]
    least = BITS - 2 * MAX_BITS  # of a product of signs: equal bits minus different ones
    for start in range(0, len(known), _ROWS):
        likeness = signs[start : start + _ROWS] @ signs[start:].T
        lower, higher = np.nonzero(likeness >= least)
        ahead = higher > lower
        lower, higher = lower[ahead] + start, higher[ahead] + start
        for at in range(0, len(lower), _ROWS):
            one, other = lower[at : at + _ROWS], higher[at : at + _ROWS]
            apart = np.abs(colours[one].astype(np.int16) - colours[other]).mean(axis=1)
            for a, b in zip(one[apart <= MAX_COLOUR].tolist(), other[apart <= MAX_COLOUR].tolist(), strict=True):
                yield known[a], known[b]


def _signs(light: np.ndarray) -> np.ndarray:
    """float32 [n, 64] of 1 and -1: above or below the median of a picture's 64 waves."""
    at = (np.arange(LIGHT) + 0.5) * np.pi / LIGHT
    waves = np.cos(np.outer(np.arange(_WAVES), at)).astype(np.float32)
    signs = np.empty((len(light), BITS), dtype=np.float32)
    for start in range(0, len(light), _ROWS):
        strength = (waves @ light[start : start + _ROWS].astype(np.float32) @ waves.T).reshape(-1, BITS)
        signs[start : start + _ROWS] = np.where(strength > np.median(strength, axis=1, keepdims=True), 1, -1)
    return signs
