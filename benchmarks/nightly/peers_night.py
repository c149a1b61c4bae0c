"""The same night, each peer in its own way, from what it would have kept of the night before.

- clip-retrieval has no second run: it computes the folder again into a new place. Its rate is measured on a part.
- One at a time: who reads the tutorial skips what is there under that path already, and adds the rest.
- Daft: an anti join with the paths that are there, and the rest is appended. (Its checkpoints, which would remember the
  paths, are for its Ray runner and for tables as sources.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.embed_folder.sides import CLIP_RETRIEVAL, DAFT, TUTORIAL, Side
from benchmarks.nightly import library as libraries
from benchmarks.vectors import Rows

ONLY_NEW = {DAFT: "Daft, anti join by path", TUTORIAL: "one at a time, known paths skipped"}


COLUMNS = [
    "side",
    "pictures embedded",
    "rows in the end",
    "of files that are gone",
    "renamed, also under the old name",
    "missing",
    "the same path twice",
]


@dataclass(frozen=True)
class Night:
    """What a side took and left; `embedded` pictures went through its model."""

    seconds: float
    embedded: int
    names: list[str]


@dataclass(frozen=True)
class Before:
    """A night before, and the library as it is tonight."""

    rows: Rows
    tonight: Path
    root: Path
    """Where to put what is made for a round."""


def sides(peers: dict[str, Side], *, part: int) -> dict[str, Callable[[Before], Night]]:
    """Every peer's way by its name; `part`: how many pictures stand for all where all are computed again."""
    found: dict[str, Callable[[Before], Night]] = {}
    if CLIP_RETRIEVAL in peers:
        found[f"clip-retrieval, all of it again, extrapolated from {part:,}"] = partial(
            _all_again, peers[CLIP_RETRIEVAL], part
        )
    for peer, name in ONLY_NEW.items():
        if peer in peers:
            found[name] = partial(_only_new, peers[peer])
    return found


def _all_again(embed: Side, part: int, before: Before) -> Night:
    """Load and warm-up as measured, and the rate of the part for as many files as there are."""
    with tempfile.TemporaryDirectory(dir=before.root) as folder:
        done = embed(libraries.part_of(before.tonight, part, Path(folder)))
    if len(done.rows) != part:
        raise AssertionError(f"it was given {part} pictures and has vectors of {len(done.rows)}")
    names = sorted(libraries.names(before.tonight))
    seconds = done.cost.wall_s - done.seconds + done.seconds / part * len(names)
    return Night(seconds, len(names), names)


def _only_new(embed: Side, before: Before) -> Night:
    with tempfile.TemporaryDirectory(dir=before.root) as folder:
        output = Path(folder) / "parquet"
        output.mkdir()
        flat = pa.array(before.rows.vectors.astype("float32").reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, before.rows.vectors.shape[1])
        pq.write_table(pa.table({"path": before.rows.names, "embedding": vectors}), output / "part-000.parquet")
        done = embed(before.tonight, output=output, options=("--only-new",))
        return Night(done.cost.wall_s, len(done.rows) - len(before.rows), done.rows.names)


def what_is_wrong(night: Night, tonight: Path, changes: libraries.Changes) -> list[str]:
    """Cells of a table: pictures embedded, rows in the end, of files that are gone, under old names, missing."""
    should, there = libraries.names(tonight), set(night.names)
    doubled = [old for old, new in changes.renamed.items() if old in there and new in there]
    numbers = (
        night.embedded,
        len(night.names),
        len(there & changes.gone),
        len(doubled),
        len(should - there),
        len(night.names) - len(there),
    )
    return [f"{number:,}" for number in numbers]
