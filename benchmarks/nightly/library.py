"""A drop of many small JPEGs, each another picture; now and then a large one, as in any library.

A night's changes are made on a copy of hard links, so that every repeat starts from the same state.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Changes:
    """What a night found different; names are paths below the drop's folder."""

    new: frozenset[str]
    gone: frozenset[str]
    renamed: dict[str, str]
    """New names by the old ones."""


def changed(library: Path, new: list[Path], into: Path) -> Changes:
    """Link `library` into `into` with `new` added, and half as many files gone and renamed each."""
    source, target = drop_folder(library), drop_folder(into)
    files = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    share = max(1, len(new) // 2)
    stride = len(files) // (2 * share)
    gone = files[:: 2 * stride][:share]
    renamed = {path: path.with_name(f"renamed-{path.name}") for path in files[stride :: 2 * stride][:share]}
    for path in set(files) - set(gone):
        _link(source / path, target / renamed.get(path, path))
    for path in new:
        _link(path, target / path.name)
    return Changes(
        frozenset(path.name for path in new),
        frozenset(path.as_posix() for path in gone),
        {old.as_posix(): now.as_posix() for old, now in renamed.items()},
    )


def part_of(library: Path, count: int, into: Path) -> Path:
    """Link `count` files, evenly chosen, of `library` into `into`."""
    source, target = drop_folder(library), drop_folder(into)
    files = sorted(source.rglob("*.jpg"))
    for path in files[:: max(1, len(files) // count)][:count]:
        _link(path, target / path.relative_to(source))
    return into


def names(library: Path) -> set[str]:
    """Of all files, as paths below the drop's folder."""
    folder = drop_folder(library)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}


def _link(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    os.link(path, to)


def _name(number: int) -> Path:
    return Path(f"{number // _A_FOLDER:04d}") / f"{number:06d}.jpg"


def _write(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    large = [shape for every, shape in _LARGE.items() if number % every == every - 1]
    shape = large[-1] if large else _SMALL[number % len(_SMALL)]
    temporary = path.with_suffix(".making")
    temporary.write_bytes(jpeg(photo(number, shape, grain=5.0 if large else 0.0)))
    temporary.rename(path)
