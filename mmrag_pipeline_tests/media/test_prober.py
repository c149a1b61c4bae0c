"""A decoder that hangs or dies costs one row; whatever happens, no process is left behind."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media import prober as prober_module
from mmrag_pipeline.media.probe import Known, Probe, probe_file
from mmrag_pipeline.media.prober import Prober, worker_count
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import ScanReport
from mmrag_pipeline_tests.media.conftest import overwrite_unseen, rows, save

Scan = Callable[..., ScanReport]
SHORT = Limits(max_seconds=2)


def hostile_probe(file: str, limits: Limits, known: Collection[str]) -> Probe | Known:
    """A decoder that hangs, crashes or fails by the file's name."""
    name = os.path.basename(file)
    if name.startswith("hang"):
        ctypes.PyDLL(None).sleep(600)  # in C, holding the interpreter: no signal handler in Python would run
    if name.startswith("abort"):
        os.abort()
    if name.startswith("killed-once") and not os.path.exists(file + ".seen"):
        Path(file + ".seen").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("bug"):
        raise ZeroDivisionError(file)
    return probe_file(file, limits, known)


def test_a_hang_and_a_crash_cost_one_row_each(folder: Path, scan: Scan) -> None:
    for number in range(40):
        save(folder / f"{number:02d}.png", size=(40 + number, 40))
    for name in ("abort.png", "hang.png"):
        save(folder / "deep" / name, "blue", (90, 91 + len(name)))
    first = scan(limits=SHORT, probe=hostile_probe)
    found = rows(first)
    bad = {path: (row["status"], row["reason"]) for path, row in found.items() if row["status"] != "ok"}
    assert bad == {
        "deep/abort.png": ("quarantined", "crashed"),
        "deep/hang.png": ("quarantined", "too_slow"),
    }
    assert first.counts["ok"] == 40
    assert found["deep/abort.png"]["detail"] == "its decoder died twice (SIGABRT)"
    assert found["deep/hang.png"]["format"] == "png" and len(found["deep/hang.png"]["content_id"]) == 64
    assert multiprocessing.active_children() == []

    for path in folder.rglob("*.png"):
        overwrite_unseen(path)
    again = scan(limits=SHORT, probe=hostile_probe, previous=first.table)
    assert (again.hashed, again.changed) == (0, False)  # no verdict costs its time again every night
    longer = scan(limits=Limits(max_seconds=3), previous=first.table)
    assert longer.hashed == 42  # but another limit is another question


def test_who_was_killed_once_gets_a_second_chance(folder: Path, scan: Scan) -> None:
    save(folder / "killed-once.png")
    assert rows(scan(probe=hostile_probe))["killed-once.png"]["status"] == "ok"


@pytest.mark.slow
def test_only_one_large_picture_is_decoded_at_a_time_and_all_are(folder: Path, scan: Scan) -> None:
    for number in range(4):
        save(folder / f"{number}.png", f"#0000{number:02x}", (5000, 4000))
    save(folder / "small.png")
    assert scan().counts["ok"] == 5
    with Prober(Limits(), workers=1) as prober:
        prober.probe([(str(folder / "small.png"), ())])
        assert prober._ask(0, [(str(folder / "0.png"), ())]) == [None]
        (small, large) = prober.probe([(str(folder / name), ()) for name in ("small.png", "0.png")])
        assert (small.width, large.width) == (64, 5000)


def test_known_bytes_are_hashed_and_not_decoded(folder: Path) -> None:
    file = str(save(folder / "a.png"))
    with Prober(Limits(), workers=1) as prober:
        (probe,) = prober.probe([(file, ())])
        assert prober.probe([(file, (probe.content,))]) == [Known(probe.content)]


def test_nothing_to_read_starts_no_process(folder: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "a.png")
    first = scan()
    monkeypatch.setattr(prober_module.Prober, "__init__", lambda *a, **k: pytest.fail("a prober was made"))
    assert scan(previous=first.table).hashed == 0
    (folder / "a.png").rename(folder / "a.part")  # judged by its name
    assert scan(previous=first.table, allow_mass_deletion=True).hashed == 0


def test_few_files_start_few_processes() -> None:
    assert [worker_count(files) for files in (1, 15)] == [1, 1]
    assert worker_count(10**6) == len(os.sched_getaffinity(0))


def test_a_process_that_does_not_start_stops_the_scan_with_a_sentence(
    folder: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it were a row's fault, a full machine would quarantine the whole library."""
    save(folder / "a.png")
    monkeypatch.setattr(prober_module.worker, "start", sys.exit)  # by reference: fails in the worker
    with pytest.raises(UserError, match="no process for decoding can be started"):
        scan()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_scan_leaves_no_process(folder: Path, scan: Scan, error: type[BaseException]) -> None:
    for number in range(40):
        save(folder / f"{number:02d}.png", size=(40 + number, 40))
    save(folder / "zz" / "hang.png", "blue", (90, 91))
    started = time.monotonic()

    def interrupt(done: int, total: int) -> None:
        if done == total - 1:
            raise error

    with pytest.raises(error):
        scan(probe=hostile_probe, progress=interrupt)
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 50  # not the 60 s of the file that hangs


def test_a_bug_in_a_probe_is_no_row(folder: Path, scan: Scan) -> None:
    save(folder / "bug.png")
    with pytest.raises(ZeroDivisionError):
        scan(probe=hostile_probe)
    assert multiprocessing.active_children() == []


def test_whatever_a_decoder_raises_is_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes, limits: Limits) -> None:
        raise ZeroDivisionError("frames per nothing")

    monkeypatch.setattr("mmrag_pipeline.media.decode.probe_picture", broken)
    probe = probe_file(str(save(folder / "a.png")), Limits(), ())
    assert (probe.reason, probe.detail) == ("decode_error", "unexpected ZeroDivisionError: frames per nothing")
    assert probe.content and probe.format == "png"


SCRIPT = """
import sys
from datetime import UTC, datetime
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline_tests.media.test_prober import hostile_probe

print("started", flush=True)
report = scan_drop(MediaLibrary(sys.argv[1]), Drop("lunar", "2026-09"), previous=None,
                   limits=Limits(max_seconds=float(sys.argv[2])), now=datetime.now(UTC), probe=hostile_probe)
print(report.counts)
"""


ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A scan as people write it the first time: without `if __name__ == "__main__"`."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_without_a_guard_scans_once(folder: Path, script: Path) -> None:
    save(folder / "a.png")
    command = [sys.executable, script, folder.parents[1], "60"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "started\n{'ok': 1, 'duplicate': 0, 'quarantined': 0, 'ignored': 0}\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_killed_scan_leaves_no_process(folder: Path, script: Path, name: str) -> None:
    """Even kill -9, even with a worker that hangs in C and would have another minute."""
    save(folder / "hang.png")
    marker = f"MMRAG_TEST_RUN={os.getpid()}-{name}-{time.monotonic_ns()}"
    environment = ENVIRONMENT | dict([marker.split("=")])
    process = subprocess.Popen(
        [sys.executable, script, folder.parents[1], "60"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: len(processes_with(marker)) >= 2 and "sleep" in stacks(marker), "the worker to hang")
        process.send_signal(getattr(signal, name))
        process.wait(timeout=60)
        wait_for(lambda: not processes_with(marker), "all processes to end")
    finally:
        for pid in processes_with(marker):
            os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_scanning_hostile_files_stays_small(shared_data: Path, script: Path, tmp_path: Path) -> None:
    """Peak memory of the scan and all its processes: the sum of their own peaks, so it can only be less."""
    library = tmp_path / "hostile-library"
    (library / "lunar").mkdir(parents=True)
    (library / "lunar" / "2026-09").symlink_to(shared_data / "hostile")
    marker = f"MMRAG_TEST_RUN={os.getpid()}-{time.monotonic_ns()}"
    environment = ENVIRONMENT | dict([marker.split("=")])
    process = subprocess.Popen([sys.executable, script, library, "60"], env=environment, stdout=subprocess.PIPE)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        peaks |= {pid: peak_megabytes(pid) or peaks.get(pid, 0) for pid in processes_with(marker)}
        time.sleep(0.02)
    assert b"'quarantined': 5" in process.stdout.read()
    assert process.returncode == 0 and len(peaks) > 1
    assert sum(peaks.values()) < 700


def peak_megabytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # ended meanwhile
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def processes_with(marker: str) -> list[int]:
    """Processes that have `marker` in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or not ours to read
    return found


def stacks(marker: str) -> str:
    """What the kernel says that these processes wait for."""
    found = ""
    for pid in processes_with(marker):
        try:
            found += Path(f"/proc/{pid}/wchan").read_text() + " "
        except OSError:
            continue
    return found


def wait_for(done: Callable[[], bool], what: str, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def test_large_pictures_stay_large_to_the_decoder() -> None:
    """The bound of what is large is the decoder's; this only says that the test above tests it."""
    from mmrag_pipeline.media import decode

    assert 5000 * 4000 > decode._LARGE_PIXELS
    assert Image.MAX_IMAGE_PIXELS is None or Image.MAX_IMAGE_PIXELS > decode._LARGE_PIXELS
