"""Which processes of this machine run."""

from __future__ import annotations

import psutil

RUN_WORKER = "spawn_main"
"""In the command line of a process that a code server starts for a run."""
_CLOCK_S = 2.0
"""The time of boot, and so of a process's beginning, is told in whole seconds."""


def still_runs(pid: int, *, seen_at: float, command: str) -> bool:
    """Whether the process that had this number at a time (seconds since the epoch) still runs.

    Numbers are given again, soon in a container that was restarted. So one that began later counts as another, unless
    its command line holds `command`: a clock that was set must not make a process that lives look like another.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= seen_at + _CLOCK_S or command in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # or it went just now
        return False
    except psutil.AccessDenied:  # somebody else's
        return True


def run_workers(pid: int) -> set[psutil.Process]:
    """The processes of the runs that a code server has, by the number of its own."""
    try:
        return {each for each in psutil.Process(pid).children(recursive=True) if is_run_worker(each)}
    except psutil.NoSuchProcess:
        return set()


def is_run_worker(process: psutil.Process) -> bool:
    """Whether it runs, and is one that a code server started for a run."""
    try:
        return process.is_running() and RUN_WORKER in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended, or is somebody else's
        return False
