"""The drop sensor: one run for each new or changed drop, none for what it has seen, never a crash by a folder name."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mmrag_pipeline.defs.ingest import sensors
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media import library
from mmrag_pipeline.resources import MediaLibraryResource


class Ticker:
    """Ticks the sensor on a real instance and keeps its cursor, as the daemon does."""

    def __init__(self, root: Path, instance: dg.DagsterInstance):
        self.root, self.instance, self.cursor, self.said = root, instance, None, ""
        self.settings: dict[str, float] = {"quiet_s": 0.0}  # what the tests deliver is younger than any quiet time
        self.skipped = ""

    def tick(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            warnings: list[str] = []
            context.log.warning = lambda text, *values: warnings.append(text % values)
            notes: list[str] = []
            context.log.info = lambda text, *values: notes.append(text % values)
            result = sensors.find_drops(
                context, media_library=MediaLibraryResource(root=str(self.root), **self.settings)
            )
            self.said, self.informed = "\n".join(warnings), "\n".join(notes)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        self.cursor, self.skipped = result.cursor, getattr(result.skip_reason, "skip_message", "")
        return list(result.run_requests or [])

    def keys(self) -> list[str]:
        return [request.partition_key for request in self.tick()]


@pytest.fixture
def ticker(tmp_path: Path):
    with dg.instance_for_test() as instance:
        yield Ticker(tmp_path / "media", instance)


def deliver(root: Path, line: str, drop: str, name: str = "a.jpg", data: bytes = b"x") -> Path:
    file = root / line / drop / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def test_a_new_drop_is_requested_once_and_gets_its_partition(ticker: Ticker) -> None:
    deliver(ticker.root, "lunar", "2026-09")
    assert ticker.keys() == ["lunar__2026-09"]
    assert ticker.instance.get_dynamic_partitions(media_drops.name) == ["lunar__2026-09"]
    assert ticker.keys() == []


def test_a_redelivered_drop_runs_again_even_when_it_returns_to_an_earlier_state(ticker: Ticker) -> None:
    file = deliver(ticker.root, "lunar", "2026-09")
    os.utime(file, ns=(1, 1))
    run_keys = [request.run_key for request in ticker.tick()]
    file.write_bytes(b"longer")
    run_keys += [request.run_key for request in ticker.tick()]
    file.write_bytes(b"x")
    os.utime(file, ns=(1, 1))
    run_keys += [request.run_key for request in ticker.tick()]
    assert len(run_keys) == len(set(run_keys)) == 3


def test_many_drops_come_in_portions_and_none_is_forgotten(ticker: Ticker) -> None:
    for number in range(60):
        deliver(ticker.root, "lunar", f"drop-{number:02d}")
    portions = [ticker.keys() for _ in range(4)]
    assert [len(portion) for portion in portions] == [25, 25, 10, 0]
    assert len({key for portion in portions for key in portion}) == 60


def test_a_long_cursor_is_packed_and_forgets_nothing(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        deliver(ticker.root, "lunar", f"drop-{number:02d}")
    monkeypatch.setattr(sensors, "PLAIN_CURSOR", 100)
    assert len(ticker.keys()) == 25
    assert str(ticker.cursor).startswith("zlib:") and len(str(ticker.cursor)) < 25 * 25
    deliver(ticker.root, "lunar", "drop-07", "b.jpg")
    assert ticker.keys() == ["lunar__drop-07"] and ticker.keys() == []


def test_a_slow_library_is_looked_at_in_turns(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        deliver(ticker.root, "lunar", f"d{number}")
    monkeypatch.setattr(sensors, "MAX_TICK_S", 0.0)
    assert [ticker.keys() for _ in range(3)] == [["lunar__d0"], ["lunar__d1"], ["lunar__d2"]]
    deliver(ticker.root, "lunar", "d1", data=b"xx")
    assert [ticker.keys() for _ in range(3)] == [[], ["lunar__d1"], []]  # d0, d1, d2: every drop has its turn


def test_a_malformed_folder_name_is_a_warning(ticker: Ticker) -> None:
    deliver(ticker.root, "lunar", "2026-09")
    deliver(ticker.root, "Lunar Line", "Sept 26")
    assert ticker.keys() == ["lunar__2026-09"]
    assert "Lunar Line/Sept 26 is no drop" in ticker.said


def test_a_vanished_drop_is_kept_said_once_and_runs_again_when_it_comes_back(ticker: Ticker) -> None:
    deliver(ticker.root, "lunar", "2026-09")
    file = deliver(ticker.root, "bags", "2026-09")
    os.utime(file, ns=(1, 1))
    first = {request.partition_key: request.run_key for request in ticker.tick()}
    shutil.rmtree(ticker.root / "bags")
    assert ticker.keys() == []
    assert "drop bags__2026-09 has vanished" in ticker.said
    assert "bags__2026-09" in ticker.instance.get_dynamic_partitions(media_drops.name)
    assert ticker.keys() == []
    assert "vanished" not in ticker.said
    os.utime(deliver(ticker.root, "bags", "2026-09"), ns=(1, 1))
    (again,) = ticker.tick()
    assert again.partition_key == "bags__2026-09"
    assert again.run_key != first["bags__2026-09"]


def test_a_vanished_drop_is_removed_after_its_grace_period(ticker: Ticker) -> None:
    deliver(ticker.root, "lunar", "2026-09")
    deliver(ticker.root, "bags", "2026-09")
    ticker.tick()
    shutil.rmtree(ticker.root / "bags")
    assert ticker.tick() == []
    ticker.settings["vanished_grace_h"] = 0.0
    (removal,) = ticker.tick()
    assert (removal.job_name, removal.partition_key) == ("remove_drop", "bags__2026-09")
    assert [again.run_key for again in ticker.tick()] == [removal.run_key]  # one a day, until it is removed
    ticker.instance.delete_dynamic_partition(media_drops.name, "bags__2026-09")
    assert ticker.tick() == []
    deliver(ticker.root, "bags", "2026-09")
    assert [(run.job_name, run.run_key[:15]) for run in ticker.tick()] == [("ingest_drop", "bags__2026-09@2")]


def test_many_vanished_drops_wait_for_a_person(ticker: Ticker) -> None:
    for number in range(20):
        deliver(ticker.root, "lunar", f"d{number:02d}")
    ticker.tick()
    ticker.settings["vanished_grace_h"] = 0.0
    for number in range(5):
        shutil.rmtree(ticker.root / "lunar" / f"d{number:02d}")
    assert ticker.tick() == []
    assert "5 drops have vanished" in ticker.skipped and "run the job remove_drop" in ticker.skipped
    deliver(ticker.root, "lunar", "d00")
    assert [run.job_name for run in ticker.tick()] == ["remove_drop"] * 4 + ["ingest_drop"]  # a fifth of all may


def test_a_drop_that_can_not_be_listed_keeps_no_other_waiting(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(ticker.root, "bags", "2026-09")
    deliver(ticker.root, "lunar", "2026-09")
    honest = library.list_entries

    def broken(folder):
        if "bags" in str(folder):
            raise OSError(116, "Stale file handle", str(folder))
        return honest(folder)

    monkeypatch.setattr(library, "list_entries", broken)
    assert ticker.keys() == ["lunar__2026-09"]
    assert "Stale file handle" in ticker.said
    monkeypatch.setattr(library, "list_entries", honest)
    assert ticker.keys() == ["bags__2026-09"]


def test_a_drop_waits_until_it_is_quiet_and_is_not_forgotten(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    ticker.settings = {"quiet_s": 60.0}
    deliver(ticker.root, "lunar", "2026-09")
    assert ticker.keys() == []
    assert "lunar__2026-09 waits until nothing changes for 60 s: a.jpg changed" in ticker.skipped
    later(monkeypatch, seconds=61)
    assert ticker.keys() == ["lunar__2026-09"]
    deliver(ticker.root, "lunar", "2026-09", "b.jpg")  # again a change, which waits again
    later(monkeypatch, seconds=0)
    assert ticker.keys() == [] and "b.jpg" in ticker.skipped
    later(monkeypatch, seconds=61)
    assert ticker.keys() == ["lunar__2026-09"]
    assert ticker.keys() == []
    assert ticker.skipped == "1 drops, none new or changed"


def test_a_drop_that_is_not_ready_keeps_no_other_waiting(ticker: Ticker) -> None:
    ticker.settings = {"quiet_s": 60.0}
    deliver(ticker.root, "bags", "2026-09")
    deliver(ticker.root, "lunar", "2026-09")
    deliver(ticker.root, "lunar", "2026-09", "_READY")
    assert ticker.keys() == ["lunar__2026-09"]
    assert "bags__2026-09 waits" in ticker.informed
    deliver(ticker.root, "bags", "2026-09", "_READY")
    assert ticker.keys() == ["bags__2026-09"]


def test_a_library_with_markers_waits_for_one_however_quiet(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    ticker.settings = {"quiet_s": 60.0, "ready_marker": True}
    deliver(ticker.root, "lunar", "2026-09")
    later(monkeypatch, seconds=10_000)
    assert ticker.keys() == []
    assert "lunar__2026-09 waits for a _READY file" in ticker.skipped
    deliver(ticker.root, "lunar", "2026-09", "_READY", b"")
    assert ticker.keys() == ["lunar__2026-09"]


def later(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    """Let the sensor believe that so much time has passed."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(sensors, "datetime", Clock)


@pytest.mark.parametrize("left", ["nothing", "empty folder"])
def test_a_library_that_looks_unmounted_fails_the_tick(ticker: Ticker, left: str) -> None:
    deliver(ticker.root, "lunar", "2026-09")
    ticker.tick()
    shutil.rmtree(ticker.root)
    if left == "empty folder":
        ticker.root.mkdir()
    with pytest.raises(UserError, match="media library"):
        ticker.tick()
