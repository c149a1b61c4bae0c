"""Made promo videos whose every frame is known: random shots of real pictures, cut the way that brands cut them.

The six videos of the shared data were there when the thresholds of `media.keyframes` were chosen; these were not.
A seed gives one video, always the same pictures and times (the bytes are the encoder's affair).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHOT_MS = 500
"""A shot that is seen unmixed for at least this long needs a key frame."""

_SIZES = {"16:9": (256, 144), "9:16": (144, 256), "1:1": (176, 176)}
_SEEN = 0.85  # share of a shot in a frame from which on the frame is a picture of that shot


@dataclass(frozen=True)
class Shot:
    """One shot: seen unmixed between `start_ms` and `end_ms`; `picture` is the same for a repeated shot."""

    picture: str
    start_ms: int
    end_ms: int
    trouble: str


@dataclass(frozen=True)
class Promo:
    """A video and what is in it; `shares[frame, shot]` says how much of a shot each frame shows (rest: black)."""

    data: bytes
    rate: int
    shots: tuple[Shot, ...]
    shares: np.ndarray

    @cached_property
    def times(self) -> np.ndarray:
        return np.array([round(Fraction(1000 * n, self.rate)) for n in range(len(self.shares))])


@dataclass(frozen=True)
class Score:
    """What key frames made of a promo; all but the first two are faults and should be 0."""

    shots: int
    found: int
    twice: int
    mixed: int
    blank: int
    repeated: int

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def score(promo: Promo, keyframes: tuple[int, ...]) -> Score:
    """Count the shots (each picture once) that must be found, those that are, and the frames that should not be."""
    frames = np.searchsorted(promo.times, np.asarray(keyframes, int))
    assert (promo.times[frames] == keyframes).all(), "a key frame lies between two frames"
    shares = promo.shares[frames]
    shown = [int(n) for n in shares.argmax(1)[shares.max(1) >= _SEEN]]  # shots, one entry a clear key frame
    pictures = [promo.shots[n].picture for n in shown]
    wanted = {shot.picture for shot in promo.shots if shot.end_ms - shot.start_ms >= SHOT_MS}
    total = shares.sum(1)
    return Score(
        shots=len(wanted),
        found=len(wanted & set(pictures)),
        twice=len(shown) - len(set(shown)),
        mixed=int(((shares.max(1) < _SEEN) & (total >= 0.15)).sum()),
        blank=int((total < 0.15).sum()),
        repeated=len(set(shown)) - len(set(pictures)),
    )


def promo(shared_data: Path, seed: int, *, seconds: float = 25, codec: str = "libx264") -> Promo:
    """Make the video of one seed, about `seconds` long."""
    rng = np.random.default_rng(seed)
    rate = int(rng.choice([24, 25, 30, 60]))
    size = _SIZES[rng.choice(list(_SIZES))]
    plan = _plan(rng, _pictures(shared_data), seconds)
    lengths = [max(2, round(s * rate)) for _, s in plan]
    joins = [_join(rng, rate) for _ in plan[1:]]
    shares, light = _mix(lengths, joins)
    looks = {}
    for look, _ in plan:
        looks.setdefault(look.picture, look)
    renderers = [_Renderer(looks[look.picture], size, rate) for look, _ in plan]
    starts = [int(np.flatnonzero(shares[:, n]).min()) for n in range(len(plan))]

    def frames() -> Iterator[np.ndarray]:
        for frame, (row, (level, target)) in enumerate(zip(shares, light, strict=True)):
            mixed = np.zeros((size[1], size[0], 3), np.float32)
            for n in np.flatnonzero(row):
                mixed += row[n] * renderers[n](frame - starts[n])
            yield (mixed * level + (1 - level) * target).clip(0, 255).astype(np.uint8)

    data = encode(frames(), size, rate, codec)
    seen = shares * light[:, :1]
    shots = []
    for n, (look, _) in enumerate(plan):
        clear = np.flatnonzero(seen[:, n] > 0.999)
        begin, end = (int(clear.min()), int(clear.max()) + 1) if len(clear) else (starts[n], starts[n])
        shots.append(Shot(look.picture, *(round(1000 * at / rate) for at in (begin, end)), looks[look.picture].trouble))
    return Promo(data, rate, tuple(shots), seen)


def encode(frames: Iterator[np.ndarray], size: tuple[int, int], rate: int, codec: str = "libx264") -> bytes:
    """An MP4 of RGB frames at a constant rate, in the quality of a web clip."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": "24"} if codec == "libx264" else {"qscale": "4"}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


@dataclass(frozen=True)
class _Look:
    """How one picture is filmed; equal pictures are filmed alike."""

    picture: str
    frame: str  # cover, packshot or letterbox
    motion: str  # still, zoom, pan or shake
    amount: float
    trouble: str  # "", dark, flash or text
    seed: int


def _pictures(shared_data: Path) -> list[list[Path]]:
    """Groups of pictures that look alike: the drawn characters by style, the photos by label."""
    groups: dict[str, list[Path]] = {}
    for path in sorted((shared_data / "characters/images").glob("*.png")):
        groups.setdefault(path.name.rsplit("-", 1)[0], []).append(path)
    photos = sorted((shared_data / "clothing/images").glob("*.jpg"))
    groups["clothing"] = photos
    for path in sorted((shared_data / "grocery/dataset").rglob("*.jpg")):
        groups.setdefault(path.parent.name, []).append(path)
    few = [path for group in groups.values() if len(group) < 8 for path in group]
    return [photos, photos, few, *(group for group in groups.values() if len(group) >= 8)]


def _plan(rng: np.random.Generator, groups: list[list[Path]], seconds: float) -> list[tuple[_Look, float]]:
    """Shots and how long each is seen unmixed; a fifth come in a series filmed alike, some come again later."""
    plan: list[tuple[_Look, float]] = []
    used: set[Path] = set()
    while sum(length for _, length in plan) < seconds:
        again = len(plan) > 3 and rng.random() < 0.06
        if again:
            plan.append((plan[int(rng.integers(len(plan) - 2))][0], _length(rng)))
            continue
        series = int(rng.integers(2, 5)) if rng.random() < 0.2 else 1
        group = groups[int(rng.integers(len(groups)))]
        fresh = [path for path in group if path not in used]
        frame = "packshot" if series > 1 else str(rng.choice(["cover", "cover", "packshot", "letterbox"]))
        motion = str(rng.choice(["still", "zoom", "pan", "shake"], p=[0.35, 0.3, 0.2, 0.15]))
        for index in rng.choice(len(fresh), size=min(series, len(fresh)), replace=False):
            used.add(fresh[index])
            trouble = str(rng.choice(["", "dark", "flash", "text"], p=[0.67, 0.08, 0.1, 0.15]))
            seed, amount = int(rng.integers(1 << 30)), float(rng.uniform(-1, 1))
            plan.append((_Look(str(fresh[index]), frame, motion, amount, trouble, seed), _length(rng)))
    return plan


def _length(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(0.5), np.log(4)))) + 0.02


def _join(rng: np.random.Generator, rate: int) -> tuple[str, int]:
    """How two shots meet, and for how many frames."""
    kind = str(rng.choice(["cut", "fade", "black", "white"], p=[0.5, 0.3, 0.12, 0.08]))
    return kind, 0 if kind == "cut" else max(2, round(rate * float(rng.uniform(0.25, 1))))


def _mix(lengths: list[int], joins: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Share of every shot in every frame, and how lit a frame is and towards which colour it is faded."""
    total = sum(lengths) + sum(length for _, length in joins)
    shares, light = np.zeros((total, len(lengths)), np.float32), np.tile(np.float32([1, 0]), (total, 1))
    at = 0
    for n, length in enumerate(lengths):
        shares[at : at + length, n] = 1
        at += length
        if n == len(joins):
            break
        kind, frames = joins[n]
        ramp = (np.arange(frames, dtype=np.float32) + 1) / (frames + 1)
        span = slice(at, at + frames)
        if kind == "fade":
            shares[span, n], shares[span, n + 1] = 1 - ramp, ramp
        else:
            shares[span, n], shares[span, n + 1] = ramp < 0.5, ramp >= 0.5
            light[span, 0] = np.clip(np.abs(2 * ramp - 1) * 1.3 - 0.3, 0, 1)  # blank for a moment, not for one frame
            light[span, 1] = 255 * (kind == "white")
        at += frames
    return shares, light


class _Renderer:
    """Frame n of a shot, float32[h,w,3], by how it is filmed."""

    def __init__(self, look: _Look, size: tuple[int, int], rate: int):
        self.look, self.size, self.rate = look, size, rate
        rng = np.random.default_rng(look.seed)
        self.canvas = _canvas(look, size)
        self.gain = float(rng.uniform(0.12, 0.25)) if look.trouble == "dark" else 1.0
        self.event_s = float(rng.uniform(0.15, 1.2))  # of the flash, or of the text
        self.shake = rng.normal(size=(40, 2)).cumsum(0)
        self.shake -= np.linspace(self.shake[0], self.shake[-1], 40)
        self.direction = rng.uniform(-1, 1, 2)
        self.noise = rng.normal(scale=2.0, size=(4, size[1], size[0], 1)).astype(np.float32)
        self.text = _text(rng, size)

    def __call__(self, n: int) -> np.ndarray:
        second = n / self.rate
        zoom, shift = 1.08, np.zeros(2)
        if self.look.motion == "zoom":  # up to 12 % a second, for at most 4 s
            gone = min(second, 4) if self.look.amount > 0 else 4 - min(second, 4)
            zoom *= 1 + 0.12 * abs(self.look.amount) * gone
        elif self.look.motion == "pan":  # up to 6 % of the width a second
            zoom, shift = 1.3, self.direction * 0.06 * (min(second, 4) - 2)
        elif self.look.motion == "shake":
            place = np.array([np.interp(second * 6 % 39, np.arange(40), self.shake[:, axis]) for axis in (0, 1)])
            zoom, shift = 1.2, place.clip(-8, 8) * 0.004
        width, height = self.size
        left = width * (0.5 + shift[0] - 0.5 / zoom), height * (0.5 + shift[1] - 0.5 / zoom)
        picture = self.canvas.transform(
            self.size,
            Image.Transform.AFFINE,
            (2 / zoom, 0, 2 * left[0], 0, 2 / zoom, 2 * left[1]),
            Image.Resampling.BILINEAR,
        )
        pixels = np.asarray(picture, np.float32) * self.gain + self.noise[n % 4]
        if self.look.trouble == "flash" and 0 <= (age := second - self.event_s) < 0.1:
            pixels += (255 - pixels) * (0.95 - 5 * age)
        if self.look.trouble == "text" and second > self.event_s:
            mask, colour = self.text
            pixels += (colour - pixels) * mask[..., None] * min(1.0, (second - self.event_s) / 0.2)
        if self.look.frame == "letterbox":
            bar = round(0.12 * min(self.size))
            across = pixels if height <= width else pixels.transpose(1, 0, 2)
            across[:bar] = across[-bar:] = 0
        return pixels


def _canvas(look: _Look, size: tuple[int, int]) -> Image.Image:
    """The picture at twice the video's size, filling it or standing in the middle of a plain studio."""
    with Image.open(look.picture) as opened:
        source = opened.convert("RGBA")
    white = Image.new("RGBA", source.size, "white")
    white.alpha_composite(source)
    source = white.convert("RGB")
    width, height = 2 * size[0], 2 * size[1]
    if look.frame == "packshot":
        scale = 0.62 * min(width / source.width, height / source.height)
        small = source.resize((round(source.width * scale), round(source.height * scale)))
        studio = Image.new("RGB", (width, height), (250, 250, 250))
        studio.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        return studio
    scale = max(width / source.width, height / source.height)
    left, top = (source.width - width / scale) / 2, (source.height - height / scale) / 2
    return source.resize((width, height), box=(left, top, left + width / scale, top + height / scale))


def _text(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Mask of a title, and how bright it is."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    word = str(rng.choice(["NEW IN", "SALE -30%", "SHOP NOW", "autumn", "only today"]))
    draw.text((size[0] // 2, size[1] * rng.uniform(0.3, 0.8)), word, 255, anchor="mm", font_size=size[0] // 7)
    return np.asarray(mask, np.float32) / 255, float(rng.choice([0, 255]))
