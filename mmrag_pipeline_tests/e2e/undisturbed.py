"""What an undisturbed night would have left: the measure of every act."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmrag_pipeline import wiring
from mmrag_pipeline.embed import embed_drops
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import TEMPORARY_PREFIX, Store

Rows = dict[str, tuple[str, str, np.ndarray]]
"""By media id: drop, path and vector."""
ALIKE = 0.999
"""Cosine of two vectors of one picture: the model's batches are cut elsewhere after a disturbance."""


class Undisturbed:
    """The library as it lies there, scanned and embedded by this one process into a store of its own, away from Dagster
    and Milvus and all that happens to them.
    """

    def __init__(self, root: Path):
        self._store = root

    def differences(self, settings: Settings) -> list[str]:
        """In what the pipeline's store and live collection are not what an undisturbed night would have left:
        the ids, drops, paths and vectors of all ok rows, each once, and no half-written file.
        """
        wanted, live = self._rows(settings), _live(settings)
        ids = [media_id for media_id, *_ in live]
        known = {media_id: rest for media_id, *rest in live}
        said = [f"{name} {len(found)} ids" for name, found in _apart(set(wanted), set(known)).items() if found]
        if len(ids) != len(known):
            said.append(f"{len(ids) - len(known)} ids are live twice")
        both = wanted.keys() & known.keys()
        if wrong := [each for each in both if tuple(known[each][:2]) != wanted[each][:2]]:
            said.append(f"{len(wrong)} rows name another file")
        if wrong := [each for each in both if float(np.dot(known[each][2], wanted[each][2])) < ALIKE]:
            said.append(f"{len(wrong)} vectors are of another picture")
        manifests = {row for row in _manifest_ids(Store(settings.store))}
        if manifests != set(wanted):
            said.append(f"the manifests have {len(manifests)} ok rows, the library {len(wanted)}")
        said += [f"{path.name} is left over" for path in Path(settings.store).rglob(f"{TEMPORARY_PREFIX}*")]
        return said

    def _rows(self, settings: Settings) -> Rows:
        apart = settings.model_copy(update={"store": str(self._store)})
        brought = embed_drops(apart)
        assert not brought.failed, brought.failed
        rows: Rows = {}
        for done in brought.done:
            embeddings, summary = EmbeddingStore(Store(apart.store)), done.embedded.summary
            vectors: dict[str, np.ndarray] = {}
            for batch in embeddings.batches(summary.fingerprint, done.drop.key):
                matrix = batch["embedding"].flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
                vectors |= dict(zip(batch["content_id"].to_pylist(), matrix, strict=True))
            for row in done.scan.table.select(["media_id", "path", "content_id", "status"]).to_pylist():
                if row["status"] == "ok":
                    rows[row["media_id"]] = (done.drop.key, row["path"], vectors[row["content_id"]])
        return rows


def _live(settings: Settings) -> list[tuple[str, str, str, np.ndarray]]:
    with connect(wiring.milvus(settings)) as milvus:
        live = milvus.live()
        pages = milvus.rows(live.name, ("drop", "path", "embedding")) if live else ()
        return [
            (row["id"], row["drop"], row["path"], np.asarray(row["embedding"], np.float32))
            for page in pages
            for row in page
        ]


def _manifest_ids(store: Store) -> set[str]:
    manifests, ids = ManifestStore(store), set()
    for drop in manifests.drops():
        rows = manifests.read(drop).select(["media_id", "status"]).to_pylist()
        ids |= {row["media_id"] for row in rows if row["status"] == "ok"}
    return ids


def _apart(wanted: set[str], known: set[str]) -> dict[str, set[str]]:
    return {"live lacks": wanted - known, "live has too many": known - wanted}
