"""Which moments of a video or an animation are worth keeping: one for every shot, none of them twice.

Works on thumbnails about 80 ms apart and knows nothing of files; what thumbnails say about each other is in
`thumbnails`. Blank samples, cross-fades, fades to black or white and flashes are left out first. What remains is
cut into shots where the picture jumps or has become another one; from each comes the stillest sample near its
middle. A shot whose sample was seen before, at any moment of a shot already kept, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmrag_pipeline.media.thumbnails import CLEAR, MIXED, SIDE, Alike, blanks, difference, mixtures, motions, unlikeness

__all__ = ["SAMPLE_MS", "SIDE", "Sample", "choose_keyframes"]

SAMPLE_MS = 80
"""Samples closer together than this add nothing."""

_SAME = 0.22  # difference, after alignment, up to which a shot goes on
_SEEN = 0.12  # the same, up to which another shot is a repetition
_JUMP = 0.10  # difference to the next sample that may be a cut,
_SUDDEN = 3.0  # if it is this many times what is usual around it,
_UNLIKE = 0.03  # and not just the same picture after an encoder's refresh
_MOTION = 0.4  # share of a change that motion explains, from which the shot goes on,
_STEP = 0.3  # unless the change is larger than this,
_TAKE_MS = 5000  # or the shot has moved on for longer
_BRIEF_MS = 150  # a shot shorter than this is kept only where there is nothing else
_RESTLESS_MS = 500  # such shots, one after the other without a cut for this long, are one


@dataclass(frozen=True)
class Sample:
    """One moment: time in ms and uint8[32,32,3] thumbnail."""

    ms: int
    pixels: np.ndarray


@dataclass(frozen=True)
class _Shot:
    samples: list[int]
    cut: bool
    """It begins with a cut or a cross-fade, not because the picture has slowly become another."""


def choose_keyframes(samples: Sequence[Sample], most: int) -> tuple[int, ...]:
    """Times of one sample a shot, ascending; the longest shots win where there are more than `most`."""
    if not samples:
        return ()
    strip = np.stack([sample.pixels for sample in samples])
    times = np.array([sample.ms for sample in samples], np.int64)
    until = np.append(times[1:], times[-1] + (times[-1] - times[-2] if len(times) > 1 else SAMPLE_MS))

    def length(shot: _Shot) -> int:
        return int(until[shot.samples[-1]] - times[shot.samples[0]])

    shots = _restless(list(_shots(strip, times)), length)
    lengths = [length(shot) for shot in shots]
    kept: dict[int, int] = {}  # shot -> sample
    for n in sorted(range(len(shots)), key=lambda n: (-lengths[n], n)):
        if len(kept) == most or (kept and lengths[n] < _BRIEF_MS):
            break
        best = _stillest(strip, times, shots[n].samples)
        if not any(_repeats(strip, best, shots, n, other) for other in kept):
            kept[n] = best
    return tuple(sorted(int(times[best]) for best in kept.values()))


def _restless(shots: list[_Shot], length: Callable[[_Shot], int]) -> list[_Shot]:
    """Join moments that follow each other without a cut if they fill a shot: something moves too fast to follow."""
    runs: list[list[_Shot]] = []
    for shot in shots:
        if runs and not shot.cut and length(shot) < _BRIEF_MS and length(runs[-1][-1]) < _BRIEF_MS:
            runs[-1].append(shot)
        else:
            runs.append([shot])
    found: list[_Shot] = []
    for run in runs:
        whole = _Shot([n for part in run for n in part.samples], run[0].cut)
        found.extend([whole] if length(whole) >= _RESTLESS_MS else run)
    return found


def _shots(strip: np.ndarray, times: np.ndarray) -> Iterator[_Shot]:
    """Runs of clear samples that show one thing."""
    blank, motion = blanks(strip), motions(strip)
    mixed = mixtures(strip, times, blank, motion)
    clear = np.flatnonzero(~blank & (mixed == CLEAR))
    if not len(clear):
        clear = np.flatnonzero(~blank)
    steps = [difference(a, b) for a, b in pairwise(strip)]
    shot, cut = [], True
    first: Alike | None = None
    for n in map(int, clear):
        if first is not None:
            before = shot[-1]
            if n == before + 1:
                jumps = _jumps(strip, steps, motion, before)
                moves = motion[before] >= _MOTION and steps[before] < _STEP and times[n] - times[shot[0]] < _TAKE_MS
            else:
                faded = bool((mixed[before + 1 : n] == MIXED).any())
                jumps, moves = faded and not Alike(strip[before])(strip[n], _SEEN), False
            if jumps or not (moves or first(strip[n], _SAME)):
                yield _Shot(shot, cut)
                shot, cut, first = [], jumps, None
        if first is None:
            first = Alike(strip[n])
        shot.append(n)
    if shot:
        yield _Shot(shot, cut)


def _jumps(strip: np.ndarray, steps: list[float], motion: np.ndarray, n: int) -> bool:
    """Is there a cut behind sample n?"""
    around = [steps[m] for m in (n - 2, n - 1, n + 1, n + 2) if 0 <= m < len(steps)]
    if steps[n] <= max(_JUMP, _SUDDEN * float(np.median(around or [0]))):
        return False
    return (motion[n] < _MOTION or steps[n] > _STEP) and unlikeness(strip[n], strip[n + 1]) > _UNLIKE


def _repeats(strip: np.ndarray, best: int, shots: list[_Shot], n: int, other: int) -> bool:
    """Was sample `best` of shot n seen in shot `other`, or did the one slowly become the other?"""
    slowly = (other == n - 1 and not shots[n].cut) or (other == n + 1 and not shots[other].cut)
    seen = strip[shots[other].samples]
    nearest = np.abs(seen.astype(np.int16) - strip[best]).sum((1, 2, 3)).argmin()
    return Alike(seen[nearest])(strip[best], _SAME if slowly else _SEEN)


def _stillest(strip: np.ndarray, times: np.ndarray, shot: list[int]) -> int:
    """Of the samples that move least, the one nearest the middle."""
    if len(shot) < 3:
        return shot[len(shot) // 2]
    steps = [difference(strip[a], strip[b]) for a, b in pairwise(shot)]
    moves = [max(pair) for pair in pairwise(steps)]  # of shot[1:-1]
    calm = float(np.median(moves)) + 1e-6
    middle = (times[shot[0]] + times[shot[-1]]) / 2
    still = [n for n, move in zip(shot[1:-1], moves, strict=True) if move <= calm]
    return min(still, key=lambda n: (abs(times[n] - middle), n))
