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
_ROWS, _COLUMNS = 64, 4096
"""Of hashes that are compared at a time: what a core's cache holds."""


def like_pairs(looks: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of indices (lower, higher) whose hashes and colours are near one another; looks of `b""` are in none.

    Every pair is compared: half a minute of one core for 100,000 pictures, four times that for twice as many.
    """
    known = [index for index, look in enumerate(looks) if len(look) == LOOK_BYTES]
    if len(known) < 2:
        return
    rows = np.frombuffer(b"".join(looks[index] for index in known), dtype=np.uint8).reshape(-1, LOOK_BYTES)
    light_end = 2 + LIGHT**2
    hashes = _hashes(rows[:, 2:light_end].reshape(-1, LIGHT, LIGHT))
    colours = rows[:, light_end:]
    for start in range(0, len(known), _ROWS):
        block = hashes[start : start + _ROWS, None]
        for column in range(start, len(known), _COLUMNS):
            near = np.bitwise_count(block ^ hashes[column : column + _COLUMNS]) <= MAX_BITS
            one, other = np.nonzero(near)
            one, other = one + start, other + column
            ahead = other > one
            one, other = one[ahead], other[ahead]
            apart = np.abs(colours[one].astype(np.int16) - colours[other]).mean(axis=1)
            for a, b in zip(one[apart <= MAX_COLOUR].tolist(), other[apart <= MAX_COLOUR].tolist(), strict=True):
                yield known[a], known[b]


def _hashes(light: np.ndarray) -> np.ndarray:
    """uint64 [n]: which of a picture's 64 waves are above their median."""
    at = (np.arange(LIGHT) + 0.5) * np.pi / LIGHT
    waves = np.cos(np.outer(np.arange(_WAVES), at)).astype(np.float32)
    hashes = np.empty(len(light), dtype=np.uint64)
    for start in range(0, len(light), _COLUMNS):
        strength = (waves @ light[start : start + _COLUMNS].astype(np.float32) @ waves.T).reshape(-1, BITS)
        bits = np.packbits(strength > np.median(strength, axis=1, keepdims=True), axis=1)
        hashes[start : start + _COLUMNS] = bits.view(np.uint64)[:, 0]
    return hashes
