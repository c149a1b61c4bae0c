"""Names and vectors that each side left, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drop import DROP

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """What a side's output holds, a row a picture; names are paths below the folder that it was given."""

    names: list[str]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def only(self, names: list[str]) -> Rows:
        """The rows of these names that are there."""
        wanted = set(names)
        rows = [at for at, name in enumerate(self.names) if name in wanted]
        return Rows([self.names[at] for at in rows], self.vectors[rows])

    def by_name(self) -> dict[str, np.ndarray]:
        """Vectors by name.

        Raises:
            ValueError: a name is there twice.
        """
        found = dict(zip(self.names, self.vectors, strict=True))
        if len(found) < len(self.names):
            raise ValueError(f"{len(self.names) - len(found)} names are there more than once")
        return found


@dataclass(frozen=True)
class Agreement:
    """Cosines between the two sides' vectors of the same picture."""

    least: float
    mean_removed: float
    """The least after each side's mean vector is taken off: random weights make all vectors alike, this does not."""
    strangers: float
    """Median cosine between vectors of different pictures: how alike all are to begin with."""
    nearest: float
    """Share of pictures for which the other side's nearest vector is the same picture's."""


def compare(ours: Rows, theirs: Rows) -> Agreement:
    """Compare the vectors of the same names; both must hold the same ones, each once."""
    if sorted(ours.names) != sorted(theirs.names):
        raise ValueError(f"the sides embedded different pictures: {len(ours)} and {len(theirs)}")
    names = sorted(ours.names)
    both = (ours.by_name(), theirs.by_name())
    a, b = (_unit(np.stack([side[name] for name in names]).astype(np.float64)) for side in both)
    between = a @ b.T
    own = np.diag(between)
    centred = np.sum(_unit(a - a.mean(0)) * _unit(b - b.mean(0)), axis=1)
    strangers = np.median(between[~np.eye(len(names), dtype=bool)])
    nearest = np.mean(between.argmax(axis=1) == np.arange(len(names)))
    return Agreement(float(own.min()), float(centred.min()), float(strangers), float(nearest))


def of_ours(store: Path, fingerprint: str) -> Rows:
    """The ok rows of the manifest with the vector of their content, from the parquet of a run of ours."""
    import pyarrow.parquet as pq

    vectors: dict[str, np.ndarray] = {}
    for part in sorted((store / "embeddings" / fingerprint / DROP.key).glob("part-*.parquet")):
        table = pq.read_table(part)
        vectors |= dict(zip(table["content_id"].to_pylist(), _matrix(table), strict=True))
    manifest = pq.read_table(store / "manifests" / f"{DROP.key}.parquet", columns=["path", "content_id", "status"])
    rows = [(row["path"], vectors[row["content_id"]]) for row in manifest.to_pylist() if row["status"] == "ok"]
    return _rows(rows)


def quarantined(store: Path) -> str:
    """A line for each file that the manifest of a run of ours has no picture of: its path, and why."""
    import pyarrow.parquet as pq

    manifest = pq.read_table(
        store / "manifests" / f"{DROP.key}.parquet", columns=["path", "status", "reason", "detail"]
    )
    bad = [row for row in manifest.to_pylist() if row["status"] != "ok"]
    return "\n".join(f"{row['path']}: {row['reason']}: {row['detail']}" for row in bad)


def of_clip_retrieval(output: Path, folder: Path) -> Rows:
    """From the folder that `clip-retrieval inference` wrote about `folder`."""
    import pyarrow.parquet as pq

    rows = []
    for part in sorted((output / "metadata").glob("metadata_*.parquet")):
        paths = pq.read_table(part)["image_path"].to_pylist()
        vectors = np.load(output / "img_emb" / part.name.replace("metadata", "img_emb").replace("parquet", "npy"))
        rows += [
            (Path(path).relative_to(folder).as_posix(), vector) for path, vector in zip(paths, vectors, strict=True)
        ]
    return _rows(rows)


def of_parquet(output: Path) -> Rows:
    """From parquet files of `path` and `embedding` in a folder, as the loop and Daft write them."""
    import pyarrow.parquet as pq

    rows = []
    for file in sorted(output.glob("*.parquet")):
        table = pq.read_table(file)
        rows += list(zip(table["path"].to_pylist(), _matrix(table), strict=True))
    return _rows(rows)


def _rows(rows: list[tuple[str, np.ndarray]]) -> Rows:
    return Rows([name for name, _ in rows], np.stack([vector for _, vector in rows]) if rows else np.empty((0, 0)))


def _matrix(table: pa.Table) -> np.ndarray:
    """The vectors of a table, [rows, dim]."""
    column = table["embedding"].combine_chunks()
    values = getattr(column, "storage", column).flatten().to_numpy(zero_copy_only=False)
    return values.reshape(table.num_rows, -1) if table.num_rows else np.empty((0, 0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
