"""A whole pipeline in a temporary folder: its own library, store, briefs and Dagster instance, nothing faked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns, RunOutcome
from mmrag_pipeline.embed import embed_drops
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_status
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.settings import Settings, load_settings
from mmrag_pipeline.status import Status, read_status
from mmrag_pipeline.store import Store

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "grey": (128, 128, 128)}


@dataclass
class Pipeline:
    """`root/media` is the library, `root/briefs` the briefs; settings come from the environment, as in production."""

    root: Path

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def settings(self) -> Settings:
        return load_settings()

    def deliver(self, drop: str, pictures: Mapping[str, tuple[int, int, int]], catalogue: str | None = None) -> Path:
        """Write plain pictures of these colours, and a metadata.csv, into a drop."""
        folder = self.media.joinpath(*drop.split("__"))
        folder.mkdir(parents=True, exist_ok=True)
        for name, colour in pictures.items():
            image = Image.new("RGB", (96, 64), colour)
            image.paste((255, 255, 255), (30, 20, 60, 40))
            image.save(folder / name)
        if catalogue is not None:
            (folder / "metadata.csv").write_text(catalogue)
        return folder

    def remove(self, drop: str) -> None:
        shutil.rmtree(self.media.joinpath(*drop.split("__")))

    def ingest(self) -> dict[str, RunOutcome]:
        """What the sensor asks for, run; by drop."""
        with DagsterRuns(self.settings) as runs:
            return {key: runs.run("ingest_drop", key) for key in runs.sense_drops()}

    def index(self) -> int:
        """The library embedded and indexed without Dagster, which is quicker; rows that are live then."""
        embed_drops(self.settings)
        store = Store(self.settings.store)
        encoder = wiring.encoder(self.settings, store)
        with connect(wiring.milvus(self.settings)) as milvus:
            for key in ManifestStore(store).drops():
                sync_drop(
                    milvus,
                    drop=Drop.parse(key),
                    manifest=ManifestStore(store).read(key),
                    vectors=EmbeddingStore(store).batches(encoder.fingerprint, key),
                    fingerprint=encoder.fingerprint,
                    dim=encoder.dim,
                    now=datetime.now(UTC),
                )
            return live_status(milvus).rows

    def run(self, job: str, key: str | None = None, config: dict | None = None) -> RunOutcome:
        with DagsterRuns(self.settings) as runs:
            if job == "run_campaign" and key is not None:
                runs.add_occurrence(key)
            return runs.run(job, key, config=config)

    def status(self) -> Status:
        return read_status(self.settings)


def new_pipeline(root: Path, environment: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline under `root`, with the environment pointing at it."""
    for name, folder in (("MMRAG_STORE", "store"), ("MMRAG_MEDIA", "media"), ("MMRAG_CAMPAIGNS", "briefs")):
        environment.setenv(name, str(root / folder))
    environment.setenv("DAGSTER_HOME", str(root / "dagster"))
    (root / "briefs").mkdir(exist_ok=True)
    return Pipeline(root)
