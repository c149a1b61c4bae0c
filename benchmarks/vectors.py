"""Vectors of both sides by file name, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.drop import DROP


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


def compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> Agreement:
    """Compare the vectors of the names in `ours`; both must hold the same names."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"the sides embedded different pictures: {len(ours)} and {len(theirs)}")
    names = sorted(ours)
    a, b = (_unit(np.stack([side[name] for name in names]).astype(np.float64)) for side in (ours, theirs))
    between = a @ b.T
    own = np.diag(between)
    centred = np.sum(_unit(a - a.mean(0)) * _unit(b - b.mean(0)), axis=1)
    strangers = np.median(between[~np.eye(len(names), dtype=bool)])
    nearest = np.mean(between.argmax(axis=1) == np.arange(len(names)))
    return Agreement(float(own.min()), float(centred.min()), float(strangers), float(nearest))


def of_ours(store: Path, fingerprint: str) -> dict[str, np.ndarray]:
    """File name -> vector, from the manifest and the parquet of one run of ours."""
    import pyarrow.parquet as pq

    manifest = pq.read_table(store / "manifests" / f"{DROP.key}.parquet", columns=["path", "content_id"])
    paths = dict(zip(manifest["content_id"].to_pylist(), manifest["path"].to_pylist(), strict=True))
    found = {}
    for part in sorted((store / "embeddings" / fingerprint / DROP.key).glob("part-*.parquet")):
        table = pq.read_table(part)
        vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        found |= {
            paths[content]: vector for content, vector in zip(table["content_id"].to_pylist(), vectors, strict=True)
        }
    return found


def of_clip_retrieval(output: Path) -> dict[str, np.ndarray]:
    """File name -> vector, from the folder that `clip-retrieval inference` wrote."""
    import pyarrow.parquet as pq

    found = {}
    for part in sorted((output / "metadata").glob("metadata_*.parquet")):
        names = pq.read_table(part)["image_path"].to_pylist()
        vectors = np.load(output / "img_emb" / part.name.replace("metadata", "img_emb").replace("parquet", "npy"))
        found |= {Path(name).name: vector for name, vector in zip(names, vectors, strict=True)}
    return found


def of_tutorial(output: Path) -> dict[str, np.ndarray]:
    """File name -> vector, from the tutorial's parquet file."""
    import pyarrow.parquet as pq

    table = pq.read_table(output)
    return dict(zip(table["path"].to_pylist(), np.asarray(table["embedding"].to_pylist()), strict=True))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
