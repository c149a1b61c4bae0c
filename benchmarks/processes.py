"""A fresh process and what it cost: wall time, processor time and peak memory of it and all its children."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PERIOD_S = 0.05
_OUTPUT = 4_000_000


@dataclass(frozen=True)
class Cost:
    """What one process tree took."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and of all children that it waited for."""
    memory_mb: list[tuple[float, float]]
    """(time.time(), sum of the peak resident sizes of the processes alive then), sampled."""
    report: dict[str, Any] = field(default_factory=dict)
    """What a process of ours wrote to its `--report` file."""
    returncode: int = 0
    output: str = ""
    """What it printed, the last `_OUTPUT` bytes of it."""

    def peak_mb(self, *, since: float = 0.0) -> float:
        """Largest sum after that moment; pages shared by several processes count several times."""
        return max((mb for at, mb in self.memory_mb if at >= since), default=0.0)


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout_s: float | None = None,
) -> Cost:
    """Run a command to its end; `timeout_s`: it and its children are killed then, which is a failure.

    Raises:
        RuntimeError: it failed, and `check` is on; with the end of what it printed.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            env={**os.environ, **(env or {})},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=timeout_s is not None,
        )
        memory: list[tuple[float, float]] = []
        ended = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, memory, ended), daemon=True)
        sampler.start()
        with _killing(process.pid, timeout_s):
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        ended.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT))
        printed = output.read().decode(errors="replace")
    if process.returncode and check:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{printed[-3000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, memory, returncode=process.returncode, output=printed)


def run_ours(module: str, *options: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Cost:
    """Run `python -m module options --report FILE` and read the report."""
    return run_module(Path(sys.executable), module, *options, env=env)


def run_module(
    python: Path,
    module: str,
    *options: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout_s: float | None = None,
) -> Cost:
    """As `run_ours` with the python of some environment; without `check` a process that failed has no report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [python, "-m", module, *options, "--report", report]
        cost = run(command, env=env, check=check, timeout_s=timeout_s)
        return replace(cost, report=json.loads(report.read_text()) if report.exists() else {})


def reset_peak_memory() -> float:
    """Let this process's peak resident size start again from its present one, which is returned in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb(os.getpid(), b"VmRSS:")


@contextlib.contextmanager
def _killing(group: int, timeout_s: float | None) -> Iterator[None]:
    """Kill the process group after so long, or when this process is told to stop; it is its own group then."""
    if timeout_s is None:
        yield
        return
    timer = threading.Timer(timeout_s, os.killpg, (group, signal.SIGKILL))
    timer.start()
    try:
        yield
    except BaseException:
        os.killpg(group, signal.SIGKILL)
        raise
    finally:
        timer.cancel()


def _sample(pid: int, memory: list[tuple[float, float]], ended: threading.Event) -> None:
    while not ended.wait(_PERIOD_S):
        memory.append((time.time(), sum(_status_mb(member, b"VmHWM:") for member in _tree(pid))))


def _tree(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:  # it has just ended
            continue
        for task in tasks:
            try:
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_bytes().split())
            except OSError:
                continue
    return found


def _status_mb(pid: int, line: bytes) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0.0
    _, found, rest = text.partition(line)
    return int(rest.split(None, 1)[0]) / 1024 if found else 0.0
