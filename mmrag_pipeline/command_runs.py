"""Runs that a command executes itself (`mmrag demo`, `mmrag backfill`), and what is left of those that were killed.

Nobody watches such a run: one whose command was killed would be "started" for ever and keep its place in a pool, and
the next command would wait for that place without an end. So a command holds a lock file while it has runs, and each of
its runs names that file; a run whose file is there and held by nobody has lost its process. One without a file here is
another machine's, which may share the database and is none of ours. (Runs that Dagster starts: `lost_runs`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import dagster as dg
import filelock

TAG = "mmrag/command"
GONE = "the command that executed this run was killed. Nothing is doubled when it is run again."
_UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@contextmanager
def as_command(instance: dg.DagsterInstance, home: Path) -> Iterator[dict[str, str]]:
    """End what killed commands left, then hold a lock; yields the tags that each run of this command must have."""
    locks = home / "commands"
    locks.mkdir(exist_ok=True)
    _end_orphans(instance, locks)
    name = uuid4().hex
    lock = filelock.FileLock(locks / name)
    with lock:
        yield {TAG: name}
    (locks / name).unlink(missing_ok=True)


def _end_orphans(instance: dg.DagsterInstance, locks: Path) -> None:
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        name = run.tags.get(TAG)
        if name is None or not (locks / name).exists() or _is_held(locks / name):
            continue
        instance.report_run_failed(run, GONE)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        (locks / name).unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
