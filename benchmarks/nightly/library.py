"""A drop of many small JPEGs, each another picture; now and then a large one, as in any library.

A night's changes are made on a copy of hard links, so that every repeat starts from the same state.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.drop import drop_folder
from benchmarks.photos import jpeg, photo

_SMALL = ((320, 240), (256, 256))
_LARGE = {100: (2304, 1728), 1000: (4000, 3000)}
"""Every how manyth picture has which size."""
_A_FOLDER = 500


def make(data: Path, files: int) -> Path:
    """The library with `files` files; made once."""
    library = data / f"nightly-{files}"
    done = library.with_suffix(".done")
    if not done.exists():
        for number in range(files):
            _write(drop_folder(library) / _name(number), number)
        done.touch()
    return library


def make_new(data: Path, files: int, count: int) -> list[Path]:
    """`count` pictures that are not in the library of `files` files; made once."""
    folder = data / f"nightly-{files}-new"
    paths = [folder / f"new-{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            _write(path, 1_000_000 + 1001 * number + 1)
    return paths


def changed(library: Path, new: list[Path], into: Path) -> tuple[int, int]:
    """Link `library` into `into` with `new` added, and half as many files gone and renamed each; the two counts."""
    source, target = drop_folder(library), drop_folder(into)
    files = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    share = max(1, len(new) // 2)
    stride = len(files) // (2 * share)
    gone, renamed = set(files[:: 2 * stride][:share]), set(files[stride :: 2 * stride][:share])
    for folder in {path.parent for path in files}:
        (target / folder).mkdir(parents=True)
    for path in files:
        if path not in gone:
            os.link(source / path, target / (path.with_name(f"renamed-{path.name}") if path in renamed else path))
    for path in new:
        os.link(path, target / path.name)
    return len(gone), len(renamed)


def _name(number: int) -> Path:
    return Path(f"{number // _A_FOLDER:04d}") / f"{number:06d}.jpg"


def _write(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    large = [shape for every, shape in _LARGE.items() if number % every == every - 1]
    shape = large[-1] if large else _SMALL[number % len(_SMALL)]
    temporary = path.with_suffix(".making")
    temporary.write_bytes(jpeg(photo(number, shape, grain=5.0 if large else 0.0)))
    temporary.rename(path)
