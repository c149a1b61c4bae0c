"""What the acts of `make e2e` play on: a library, a store, a Milvus server, a live Dagster, all in one folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from mmrag_pipeline.demo.delivery import deliver, packaged_drops
from mmrag_pipeline.settings import Settings, load_settings
from mmrag_pipeline.status import Status, read_status
from mmrag_pipeline_tests.integration.live_dagster import LiveDagster, live_dagster
from mmrag_pipeline_tests.integration.milvus_server import MilvusServer, running_server

BRIEF = """title: The evening watch
objective: Show that a campaign's time comes.
products:
  - {name: the golden watch, query: a golden watch, product_line: watches}
scenes:
  - {name: table, prompt: "{{ product.name }} on a wooden table."}
placements:
  - {name: feed, aspect_ratio: "1:1"}
schedule: {cron: "*/2 * * * *", timezone: UTC}
budget_usd: 1
"""
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 200), (128, 128, 128))


@dataclass
class Stage:
    """The library is `root/media`; what is set is in the environment of this process and of Dagster's."""

    root: Path
    milvus: MilvusServer
    dagster: LiveDagster
    told: list[str] = field(default_factory=list)

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def settings(self) -> Settings:
        return load_settings()

    def deliver_packaged(self, drops: Sequence[str]) -> None:
        """Deliver drops of the demo library."""
        packaged = {drop.key: drop for drop in packaged_drops()}
        for key in drops:
            deliver(packaged[key], self.media)

    def deliver_plain(self, drop: str, pictures: int = 4) -> Path:
        """Deliver a drop of small plain pictures, no two of them equal in this or another drop."""
        folder = self.media.joinpath(*drop.split("__"))
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(pictures):
            image = Image.new("RGB", (96, 64), COLOURS[number % len(COLOURS)])
            for bit, on in enumerate(f"{hash_of(drop):016b}{number:08b}"):
                if on == "1":
                    image.paste((255, 255, 255), (4 * bit, 0, 4 * bit + 3, 20))
            image.save(folder / f"{number}.png")
        return folder

    def status(self) -> Status:
        return read_status(self.settings)

    def is_in_sync(self, rows: int | None = None) -> bool:
        status = self.status()
        return status.in_sync and (rows is None or status.live.rows == rows)

    def partitions(self) -> list[str]:
        """Keys of the drops that Dagster knows."""
        answer = self.dagster.ask(
            'query { assetNodeOrError(assetKey: {path: ["drop_manifest"]}) { ... on AssetNode {'
            " partitionKeysByDimension { partitionKeys } } } }"
        )
        return answer["assetNodeOrError"]["partitionKeysByDimension"][0]["partitionKeys"]

    def tell(self, what: str) -> None:
        self.told.append(what)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-2:], "big")


@dataclass(frozen=True)
class Played:
    """One line of the table."""

    act: str
    passed: bool
    seconds: float
    told: str


@contextlib.contextmanager
def set_stage(root: Path) -> Iterator[Stage]:
    """Start everything under `root`; all of it is killed on the way out."""
    (root / "briefs").mkdir(parents=True)
    (root / "briefs" / "evening.yaml").write_text(BRIEF)
    (root / "media").mkdir()
    with running_server(root / "milvus") as milvus:
        environment = {
            "MMRAG_STORE": str(root / "store"),
            "MMRAG_MEDIA": str(root / "media"),
            "MMRAG_CAMPAIGNS": str(root / "briefs"),
            "MMRAG_MILVUS_URI": milvus.uri,
            "MMRAG_MILVUS_TOKEN": milvus.token,
            "MMRAG_QUIET_S": "3",
            "MMRAG_VANISHED_GRACE_H": "0.01",
        }
        for name in list(os.environ):
            if name.startswith("MMRAG_") and name != "MMRAG_SHARED_DATA":
                del os.environ[name]
        os.environ |= environment
        with live_dagster(root / "dagster", environment) as dagster:
            yield Stage(root, milvus, dagster)


def play(name: str, act: Callable[[Stage], Any], stage: Stage) -> Played:
    """Play one act; a failure is a line of the table, and the next act is played."""
    started, stage.told = time.monotonic(), []
    try:
        act(stage)
    except Exception as error:  # every act shall have its line
        return Played(name, False, time.monotonic() - started, f"{type(error).__name__}: {error}")
    return Played(name, True, time.monotonic() - started, "; ".join(stage.told))
