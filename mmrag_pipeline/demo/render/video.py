"""A short promo cut from the pictures: one shot a second, a slow push-in, H.264."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PROMO = "figurines/2026-11/holiday-promo.mp4"
SHOTS = (
    "figurines/2026-11/captain-comet-black-three-quarter.jpg",
    "figurines/2026-11/orin-wizard-purple-front.jpg",
    "figurines/2026-11/sir-alden-knight-gold-front.jpg",
    "watches/2026-08/aurora-gold-three-quarter.jpg",
    "lunar/2026-09/lunar-cape-red-three-quarter.jpg",
)
SIZE, RATE, SECONDS = 480, 24, 1.1


def add_promo(out: Path, rows: dict[str, list[dict[str, str]]]) -> None:
    """Write the promo and its line of metadata."""
    import av

    (out / PROMO).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(out / PROMO), "w", options={"movflags": "faststart"}) as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": "26", "preset": "medium", "threads": "1"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = 500_000
        for name in SHOTS:
            for frame in _push_in(out / name):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    drop, name = PROMO.rsplit("/", 1)
    if drop in rows:
        rows[drop].append(
            {
                "path": name,
                "sku": "",
                "title": "Holiday promo film",
                "tags": "video;promo;figurine;watch;cape",
                "season": "holiday",
                "price_usd": "",
            }
        )


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
