"""What the acts of `make e2e` play on: a library, a store, a Milvus server, a live Dagster, all in one folder."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mmrag_pipeline.demo.delivery import deliver, packaged_drops
from mmrag_pipeline.settings import Settings, load_settings
from mmrag_pipeline.status import Status, read_status
from mmrag_pipeline_tests.e2e.undisturbed import Undisturbed
from mmrag_pipeline_tests.integration.live_dagster import OVER, LiveDagster, Run, live_dagster
from mmrag_pipeline_tests.integration.milvus_server import MilvusServer, running_server
from mmrag_pipeline_tests.integration.slow_proxy import SlowProxy
from mmrag_pipeline_tests.integration.small_disk import NoMount, SmallDisk, small_disk
from mmrag_pipeline_tests.integration.webhook import Channel

BRIEF = """title: The evening watch
objective: Show that a campaign's time comes.
products:
  - {name: the golden watch, query: a golden watch, product_line: watches}
scenes:
  - {name: table, prompt: "{{ product.name }} on a wooden table."}
placements:
  - {name: feed, aspect_ratio: "1:1"}
schedule: {cron: "* * * * *", timezone: UTC}
budget_usd: 1
"""
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 200), (128, 128, 128))


TIMEZONE, NIGHTLY_CRON = "Europe/Berlin", "30 2 * * *"
"""Half past two in a place where clocks change: two nights a year this time is not there, or there twice."""
SHORT_INTERVALS = {
    "run_monitoring": {"poll_interval_seconds": 5, "free_slots_after_run_end_seconds": 5},
}
"""What is laid over the packaged dagster.yaml; the sensors' own interval is a setting."""
STORE_MB = 512


@dataclass
class Stage:
    """The library is `root/media`; what is set is in the environment of this process and of Dagster's. Between them and
    Milvus lies `network`, between `alerts` and people `channel`. `disk` holds the store; or why it can't be filled.
    """

    root: Path
    milvus: MilvusServer
    network: SlowProxy
    channel: Channel
    disk: SmallDisk | NoMount
    dagster: LiveDagster
    undisturbed: Undisturbed
    told: list[str] = field(default_factory=list)
    heard: int = 0

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

    def arrives(self, drop: str, pictures: int) -> Run:
        """Deliver a drop; the run that the sensor asks for."""
        self.deliver_plain(drop, pictures)
        self.dagster.switch_on_sensor("drop_sensor")  # it is, unless this is the first act that is played
        return self.dagster.wait_for(
            lambda: next((run for run in self.dagster.runs("ingest_drop") if run.partition == drop), None),
            f"the sensor asks for a run of {drop}",
        )

    def succeeded(self, job: str, partition: str | None = None) -> list[Run]:
        """Runs of a job, or of it and a partition, that ended well."""
        runs = self.dagster.runs(job)
        return [run for run in runs if run.status == "SUCCESS" and partition in (None, run.partition)]

    def status(self) -> Status:
        return read_status(self.settings)

    def is_in_sync(self, rows: int | None = None) -> bool:
        status = self.status()
        return status.in_sync and (rows is None or status.live.rows == rows)

    def ends_undisturbed(self) -> None:
        """When all runs have ended, all is as if nothing had happened: see `Undisturbed.differences`."""
        dagster, settings = self.dagster, self.settings
        if not dagster.runs():
            return  # the first act is played elsewhere: nothing was delivered here yet
        dagster.wait_for(lambda: all(run.status in OVER for run in dagster.runs()), "all runs have ended")
        differences = self.undisturbed.differences(settings)
        assert not differences, "; ".join(differences)

    def tells(self, messages: Sequence[str]) -> None:
        """What people were told since the act began is exactly these: a pattern for each message."""
        now = time.time()
        self.dagster.wait_for(lambda: self.dagster.ticked_since("alerts", now), "the alerts are up to date")
        said = self.channel.said[self.heard :]
        fits = len(said) == len(messages) and all(map(re.search, messages, said))
        assert fits, f"people were told {len(said)} times, not {len(messages)}: {said}"

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


class NotPlayed(RuntimeError):
    """This machine lacks what an act needs; says what."""


@dataclass(frozen=True)
class Act:
    """`play` is done on a stage; after it all is undisturbed, and people were told `messages`, a pattern for each."""

    play: Callable[[Stage], None]
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Played:
    """One line of the table; `result` is ok, failed or not played."""

    act: str
    result: str
    seconds: float
    messages: int
    told: str


@contextlib.contextmanager
def set_stage(root: Path) -> Iterator[Stage]:
    """Start everything under `root`; all of it is killed on the way out."""
    (root / "briefs").mkdir(parents=True)
    (root / "briefs" / "evening.yaml").write_text(BRIEF)
    (root / "media").mkdir()
    with contextlib.ExitStack() as stack:
        disk = _store(root / "store", stack)
        milvus = stack.enter_context(running_server(root / "milvus"))
        network, channel = SlowProxy(milvus.port), Channel()
        stack.callback(network.close)
        stack.callback(channel.close)
        environment = {
            "MMRAG_STORE": str(root / "store"),
            "MMRAG_MEDIA": str(root / "media"),
            "MMRAG_CAMPAIGNS": str(root / "briefs"),
            "MMRAG_MILVUS_URI": f"http://127.0.0.1:{network.port}",
            "MMRAG_MILVUS_TOKEN": milvus.token,
            "MMRAG_QUIET_S": "3",
            "MMRAG_VANISHED_GRACE_H": "0.002",
            "MMRAG_SENSOR_INTERVAL_S": "5",
            "MMRAG_NIGHTLY_CRON": NIGHTLY_CRON,
            "MMRAG_TIMEZONE": TIMEZONE,
            "MMRAG_ALERT_WEBHOOK": channel.address,
        }
        for name in list(os.environ):
            if name.startswith("MMRAG_") and name != "MMRAG_SHARED_DATA":
                del os.environ[name]
        os.environ |= environment
        dagster = stack.enter_context(live_dagster(root / "dagster", environment, SHORT_INTERVALS))
        for sensor in ("alerts", "lost_runs"):
            dagster.switch_on_sensor(sensor)
        yield Stage(root, milvus, network, channel, disk, dagster, Undisturbed(root / "undisturbed"))


def _store(folder: Path, stack: contextlib.ExitStack) -> SmallDisk | NoMount:
    try:
        return stack.enter_context(small_disk(folder, megabytes=STORE_MB))
    except NoMount as why:
        folder.mkdir(exist_ok=True)
        return why


def play(name: str, act: Act, stage: Stage) -> Played:
    """Play one act; a failure is a line of the table, and the next act is played."""
    started, stage.told, stage.heard = time.monotonic(), [], len(stage.channel.said)

    def played(result: str, told: str) -> Played:
        seconds = time.monotonic() - started
        return Played(name, result, seconds, len(stage.channel.said) - stage.heard, told)

    try:
        act.play(stage)
        stage.ends_undisturbed()
        stage.tells(act.messages)
    except NotPlayed as why:
        return played("not played", str(why))
    except Exception as error:  # every act shall have its line
        return played("failed", f"{type(error).__name__}: {error}")
    return played("ok", "; ".join(stage.told))
