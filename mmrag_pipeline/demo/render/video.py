"""Short promos cut from the pictures: one shot a second, a slow push-in, H.264."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE, RATE, SECONDS = 480, 24, 1.1


@dataclass(frozen=True)
class Promo:
    """A film: its line of metadata.csv, and the pictures that its shots are made of."""

    path: str
    title: str
    tags: str
    season: str
    shots: tuple[str, ...]


PROMOS = (
    Promo(
        "figurines/2026-11/holiday-promo.mp4",
        "Holiday promo film",
        "video;promo;figurine;watch;cape",
        "holiday",
        (
            "figurines/2026-11/captain-comet-black-three-quarter.jpg",
            "figurines/2026-11/orin-wizard-purple-front.jpg",
            "figurines/2026-11/sir-alden-knight-gold-front.jpg",
            "watches/2026-08/aurora-gold-three-quarter.jpg",
            "lunar/2026-09/lunar-cape-red-three-quarter.jpg",
        ),
    ),
    Promo(
        "lunar/2026-12/moonrise-promo.mp4",
        "Moonrise promo film",
        "video;promo;cape;evening gown;shoe;bag",
        "winter",
        (
            "lunar/2026-12/lunar-cape-ivory-three-quarter.jpg",
            "lunar/2026-12/selene-gown-navy-front.jpg",
            "shoes/2026-11/vesper-pump-emerald-three-quarter.jpg",
            "bags/2026-10/soiree-crossbody-pink-front.jpg",
        ),
    ),
)


def add_promos(out: Path, rows: dict[str, list[dict[str, str]]]) -> None:
    """Write the promos that are missing, and their lines of metadata."""
    for promo in PROMOS:
        path = out / promo.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _film(path, [out / shot for shot in promo.shots])
        drop, name = promo.path.rsplit("/", 1)
        rows[drop].append(
            {
                "path": name,
                "sku": "",
                "title": promo.title,
                "tags": promo.tags,
                "season": promo.season,
                "price_usd": "",
            }
        )


def _film(path: Path, shots: Sequence[Path]) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": "26", "preset": "medium", "threads": "1"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = 500_000
        for shot in shots:
            for frame in _push_in(shot):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _push_in(path: Path) -> list[np.ndarray]:
    """The frames of one shot: the picture, slowly nearer."""
    from PIL import Image

    with Image.open(path) as picture:
        still = picture.convert("RGB")
    count = round(RATE * SECONDS)
    frames = []
    for index in range(count):
        margin = still.width * 0.045 * index / count
        part = still.resize(
            (SIZE, SIZE),
            Image.Resampling.BICUBIC,
            (margin, margin, still.width - margin, still.height - margin),
        )
        frames.append(np.asarray(part))
    return frames
