"""JPEGs to measure with: real photos, enlarged to the size asked for, with grain where enlarging left none.

Half of them have the shape of a camera's picture (4:3), half are square as in shops; quality 88, 4:2:0, about 2 bits
a pixel, as cameras write them. Equal seeds give equal bytes.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.drop import drop_folder
from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY

_SHARED = Path(__file__).parents[2] / "shared" / "data"
_FOLDERS = ("clothing/images", "grocery/dataset", "abo-sample/samples")
_MIN_SIDE = 300
_GRAIN = 5.0
"""Standard deviation of the grain in levels of 255."""
SHAPES = {
    "1 MP": ((1152, 864), (1000, 1000)),
    "4 MP": ((2304, 1728), (2000, 2000)),
    "12 MP": ((4000, 3000), (3464, 3464)),
}


@functools.cache
def sources() -> tuple[Path, ...]:
    """Photos to start from: those of ../shared/data where they are, else the packaged demo library."""
    found = [path for folder in _FOLDERS for path in sorted((_SHARED / folder).rglob("*.jp*g"))]
    return tuple(found) or tuple(sorted(PACKAGED_LIBRARY.rglob("*.jpg")))


def where_from() -> str:
    """For the notes of a result."""
    return "photos of ../shared/data" if _SHARED.is_dir() else "pictures of the packaged demo library"


def photo(number: int, shape: tuple[int, int], *, grain: float = _GRAIN) -> np.ndarray:
    """uint8 [h, w, 3]: a crop of source photo `number` at this (width, height); every number gives another picture."""
    source = _source(number % len(sources()))
    chosen = np.random.default_rng([20261121, number, *shape])
    width, height = source.size
    scale = min(width / shape[0], height / shape[1]) * chosen.uniform(0.6, 1.0)
    left = chosen.uniform(0, width - shape[0] * scale)
    top = chosen.uniform(0, height - shape[1] * scale)
    box = (left, top, left + shape[0] * scale, top + shape[1] * scale)
    pixels = np.asarray(source.resize(shape, Image.Resampling.BICUBIC, box=box))
    if number // len(sources()) % 2:
        pixels = pixels[:, ::-1]
    if not grain:
        return np.ascontiguousarray(pixels)
    noise = chosen.standard_normal((shape[1], shape[0], 1), dtype=np.float32) * grain
    return np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    """Quality 88, 4:2:0."""
    import simplejpeg

    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=88, colorsubsampling="420")


def jpegs(case: str, count: int) -> list[bytes]:
    """`count` different JPEGs of a case of `SHAPES`."""
    shapes = SHAPES[case]
    return [jpeg(photo(number, shapes[number % len(shapes)])) for number in range(count)]


def library_of(data: Path, case: str, count: int) -> Path:
    """A media library whose one drop holds `count` different pictures of a case; made once."""
    shapes = SHAPES[case]
    pictures = (jpeg(photo(number, shapes[number % len(shapes)])) for number in range(count))
    return _library(data / f"{case.replace(' ', '-').lower()}-{count}", pictures)


def commented_library(data: Path, case: str, count: int, *, different: int) -> Path:
    """As `library_of`, of `different` pictures only; the files differ by a comment, so that all are embedded."""
    name = f"{case.replace(' ', '-').lower()}-{count}-of-{different}"
    pictures = jpegs(case, min(different, count)) if not (data / name).with_suffix(".done").exists() else []
    return _library(data / name, (_commented(pictures[number % len(pictures)], number) for number in range(count)))


def _library(library: Path, pictures: Iterable[bytes]) -> Path:
    done = library.with_suffix(".done")
    if not done.exists():
        folder = drop_folder(library)
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(pictures):
            (folder / f"{number:05d}.jpg").write_bytes(data)
        done.touch()
    return library


def _commented(data: bytes, number: int) -> bytes:
    """The same picture with a JPEG comment behind its first marker."""
    text = f"{number:010d}".encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


@functools.lru_cache(maxsize=512)
def _source(index: int) -> Image.Image:
    """The first photo at or after `index` that opens and is large enough; the demo library has broken ones."""
    paths = sources()
    for step in range(len(paths)):
        data = paths[(index + step) % len(paths)].read_bytes()
        try:
            picture = Image.open(io.BytesIO(data)).convert("RGB")
        except OSError:
            continue
        if min(picture.size) >= _MIN_SIDE:
            return picture
    raise RuntimeError("no photo to make pictures from")
