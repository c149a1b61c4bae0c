"""Decoders in processes of their own: one that hangs or crashes costs one row, and nothing more.

Each worker process belongs to a pool of its own, so that there is never a doubt which file it was. Processes are
spawned, never forked: Dagster's process has threads. They do not import the caller's `__main__`, which may be a
script without a guard, or take seconds to import.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import spawn
from queue import LifoQueue

from pebble import ProcessExpired, ProcessPool

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media import worker
from mmrag_pipeline.media.probe import Known, Probe, probe_file, refuse_file, refused
from mmrag_pipeline.media.rules import Limits, Reason

_START_S = 120  # seconds that a worker may take to start on a machine that is busy


class Prober:
    """Asks worker processes about files; up to `workers` threads may call `probe` at once. A context manager.

    No process is started before the first file, and none is left behind.
    """

    def __init__(self, limits: Limits, *, workers: int, probe: worker.ProbeFunction = probe_file):
        self._limits = limits
        self._probe = probe
        self._one_large_picture = threading.Lock()
        self._lock = threading.Lock()
        self._closed = False
        self._asked: set[Future] = set()
        self._pools: list[ProcessPool | None] = [None] * workers
        self._idle: LifoQueue[int] = LifoQueue()  # last in, first out: few files wake few workers
        for number in range(workers):
            self._idle.put(number)

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes, also those that hang; whoever waits for an answer gets a `CancelledError`."""
        with self._lock:
            self._closed = True
            asked = tuple(self._asked)
        for future in asked:
            future.cancel()
        started = [pool for pool in self._pools if pool is not None]
        for pool in started:
            pool.stop()
        for pool in started:
            pool.join()

    def probe(self, files: Sequence[worker.Ask]) -> list[Probe | Known]:
        """Probe local files in one go; together they should take far less than `Limits.max_seconds`.

        Raises:
            UserError: no worker process can be started.
            CancelledError: the prober was closed meanwhile.
        """
        with self._worker() as number:
            try:
                found = self._ask(number, files)
            except (TimeoutError, ProcessExpired, BrokenProcessPool) as failure:
                if len(files) == 1:
                    return [self._failed(number, files[0], failure)]
                found = None
        if found is None:  # one of them did it: which?
            return [probe for file in files for probe in self.probe([file])]
        return [self._alone(file) if probe is None else probe for file, probe in zip(files, found, strict=True)]

    def _alone(self, file: worker.Ask) -> Probe | Known:
        """Probe a very large picture; one at a time, because each takes hundreds of megabytes."""
        with self._one_large_picture, self._worker() as number:
            try:
                return self._ask(number, [file], alone=True)[0]
            except (TimeoutError, ProcessExpired, BrokenProcessPool) as failure:
                return self._failed(number, file, failure)

    def _failed(self, number: int, file: worker.Ask, failure: Exception) -> Probe | Known:
        """The verdict on a file at which the worker hung or died."""
        limit = self._limits.max_seconds
        if isinstance(failure, TimeoutError):
            return self._refuse(number, file, Reason.TOO_SLOW, f"took more than {limit:g} s to read and decode")
        try:
            return self._ask(number, [file], alone=True)[0]  # the kernel may have killed it for another's memory
        except TimeoutError:
            return self._refuse(number, file, Reason.TOO_SLOW, f"took more than {limit:g} s to read and decode")
        except (ProcessExpired, BrokenProcessPool) as again:
            return self._refuse(number, file, Reason.CRASHED, f"its decoder died twice{_how(again)}")

    def _refuse(self, number: int, file: worker.Ask, reason: Reason, detail: str) -> Probe:
        """Quarantine a file; hashed, so that it is not tried again every night. The disk itself may be what hangs."""
        try:
            return self._schedule(number, refuse_file, file[0], reason, detail).result()
        except (TimeoutError, ProcessExpired, BrokenProcessPool):
            return refused(reason, detail)

    def _ask(self, number: int, files: Sequence[worker.Ask], *, alone: bool = False) -> list[Probe | Known | None]:
        return self._schedule(number, worker.probe_files, files, self._limits, self._probe, alone=alone).result()

    def _schedule(self, number: int, function, *args, **options) -> Future:
        pool = self._pools[number]
        if pool is None or not pool.active:
            pool = self._start(number)
        return self._submit(pool, self._limits.max_seconds, function, *args, **options)

    def _submit(self, pool: ProcessPool, seconds: float, function, *args, **options) -> Future:
        with self._lock:  # either this future is cancelled by `__exit__`, or it is never made
            if self._closed:
                raise CancelledError
            future = pool.schedule(function, args=args, kwargs=options, timeout=seconds)
            self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future

    def _start(self, number: int) -> ProcessPool:
        """A pool of one worker that has answered."""
        pool = ProcessPool(max_workers=1, initializer=worker.start, context=_Context())
        with self._lock:
            broken, self._pools[number] = self._pools[number], pool
        if broken is not None:
            broken.stop()
            broken.join()
        try:
            self._submit(pool, _START_S, worker.ready).result()
        except CancelledError:
            raise
        except Exception as error:
            raise UserError(
                f"no process for decoding can be started ({type(error).__name__}: {error}): is there memory left, and "
                f"may this user start processes?"
            ) from error
        return pool

    @contextmanager
    def _worker(self) -> Iterator[int]:
        number = self._idle.get()
        try:
            yield number
        finally:
            self._idle.put(number)


def worker_count(files: int) -> int:
    """Workers worth starting for so many files: starting one takes as long as a dozen small pictures."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 1 + files // 16)


def _how(failure: Exception) -> str:
    code = getattr(failure, "exitcode", None) or 0
    try:
        return f" ({signal.Signals(-code).name})" if code < 0 else ""
    except ValueError:
        return f" (signal {-code})"


_bare = threading.local()
_preparation_data = spawn.get_preparation_data


def _without_main(name: str) -> dict:
    data = _preparation_data(name)
    if getattr(_bare, "starting", False):
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


spawn.get_preparation_data = _without_main  # there is no other way to say so; others' processes get what they did


class _Process(multiprocessing.context.SpawnProcess):
    """A spawned process that does not run the caller's `__main__` again."""

    @staticmethod
    def _Popen(process):
        _bare.starting = True
        try:
            return multiprocessing.context.SpawnProcess._Popen(process)
        finally:
            _bare.starting = False


class _Context(multiprocessing.context.SpawnContext):
    Process = _Process
