"""Where the pipeline stands: what was delivered, what is embedded, what is live, and whether they agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline import wiring
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import LiveStatus, live_ids, live_status
from mmrag_pipeline.media.manifest_store import DamagedManifest, ManifestStore
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store


@dataclass(frozen=True)
class DropStatus:
    """One drop: manifest rows by status, and rows embedded under the model in force."""

    drop: str
    rows: dict[str, int]
    embedded: int


@dataclass(frozen=True)
class Status:
    """`in_sync` is True when the ids of the live collection are the ids of the ok manifest rows.

    `damaged` has a sentence for each manifest that can't be read.
    """

    drops: list[DropStatus]
    files: dict[str, int]
    embedded_rows: int
    model: str
    fingerprint: str | None
    live: LiveStatus
    in_sync: bool
    damaged: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_status(settings: Settings) -> Status:
    """Read the store and the live collection; loads no model.

    Raises:
        UserError: Milvus can't be reached.
    """
    store = Store(settings.store)
    embeddings = EmbeddingStore(store)
    fingerprint = wiring.encoder(settings).noted_fingerprint()
    drops: list[DropStatus] = []
    damaged: list[str] = []
    wanted: set[str] = set()
    manifests = ManifestStore(store)
    for key in manifests.drops():
        try:
            table = manifests.read(key)
        except DamagedManifest as error:
            damaged.append(str(error))
            continue
        wanted.update(_ok_ids(table))
        summary = embeddings.summary(fingerprint, key) if fingerprint else None
        drops.append(DropStatus(key, dict(Counter(table["status"].to_pylist())), summary.rows if summary else 0))
    with connect(wiring.milvus(settings)) as milvus:
        live = live_status(milvus)
        in_sync = not damaged and live_ids(milvus) == wanted
    files: Counter[str] = Counter()
    for drop in drops:
        files.update(drop.rows)
    return Status(
        drops=drops,
        files=dict(files),
        embedded_rows=sum(drop.embedded for drop in drops),
        model=settings.clip_model,
        fingerprint=fingerprint,
        live=live,
        in_sync=in_sync,
        damaged=damaged,
    )


def _ok_ids(table: pa.Table) -> list[str]:
    return table.filter(pc.equal(table["status"], "ok"))["media_id"].to_pylist()
