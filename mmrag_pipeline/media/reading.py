"""The files of a drop that have to be read: brought near, probed in worker processes, and looked at again.

Remote files are fetched to a local temporary file first, a few at a time: a video can then be sought in, and a
worker needs no credentials.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.probe import Known, Probe, probe_file, refused
from mmrag_pipeline.media.rules import Limits, Reason
from mmrag_pipeline.media.verdicts import Seen
from mmrag_pipeline.media.worker import ProbeFunction
from mmrag_pipeline.store import StoreError, is_local, no_answer, store_errors

_SMALL = 1 << 20  # bytes; a file up to this size shares its way to a worker with others
_TOGETHER = 16
_FETCHES = 6  # more files on their way than there are workers: a store answers late, but to many at once
_LARGE_FETCH = 256 << 20  # bytes; of larger files only one lies on the disk at a time

KnownProbes = Mapping[int, Mapping[str, Probe]]
"""What is known of contents: by their size in bytes, then by sha256."""


def read_files(
    files: Sequence[Seen], folder: UPath, *, limits: Limits, known: KnownProbes, probe: ProbeFunction = probe_file
) -> Iterator[Probe]:
    """Probe files of the drop in `folder`, in their order; close the iterator to stop early.

    Raises:
        UserError: no worker process can be started, or the disk for temporary files is full.
        Unavailable: the store does not answer.
    """
    if not files:
        return  # and no process was started, and pebble not imported
    from mmrag_pipeline.media.prober import Prober, worker_count

    with ExitStack() as stack:
        workers, local = worker_count(len(files)), is_local(folder)
        threads = workers if local else min(len(files), workers + _FETCHES)
        scratch = "" if local else stack.enter_context(tempfile.TemporaryDirectory(prefix="mmrag-scan-"))
        executor = ThreadPoolExecutor(threads, thread_name_prefix="probe")
        stack.callback(executor.shutdown, cancel_futures=True)
        prober = stack.enter_context(Prober(limits, workers=workers, probe=probe))  # left first: that ends all waiting
        if local:
            read, batches = _Local(folder, prober.probe, known), _batches(files, workers)
        else:
            read, batches = _Remote(folder, prober.probe, known, scratch), [[seen] for seen in files]
        for probes in executor.map(read, batches):
            yield from probes


def _batches(files: Sequence[Seen], workers: int) -> list[list[Seen]]:
    """Neighbours go together where they are small, but no worker is left without work for it."""
    most = max(1, min(_TOGETHER, len(files) // (4 * workers)))
    batches: list[list[Seen]] = []
    for seen in files:
        last = batches[-1] if batches else []
        if last and len(last) < most and max(last[0].bytes, seen.bytes) <= _SMALL:
            last.append(seen)
        else:
            batches.append([seen])
    return batches


class _Local:
    """Probes files where they lie."""

    def __init__(self, folder: UPath, ask: Callable, known: KnownProbes):
        self._folder, self._ask, self._known = os.fspath(folder), ask, known

    def __call__(self, batch: Sequence[Seen]) -> list[Probe]:
        paths = [os.path.join(self._folder, seen.entry.path) for seen in batch]
        found = _probe(self._ask, paths, batch, self._known)
        return [self._settled(*each) for each in zip(paths, batch, found, strict=True)]

    @staticmethod
    def _settled(path: str, seen: Seen, probe: Probe) -> Probe:
        """The probe, if the file is still what was listed."""
        try:
            status = os.stat(path)
        except OSError:
            return probe if probe.content is None else refused(Reason.UNREADABLE, "gone while it was read")
        if (status.st_size, status.st_mtime_ns) == (seen.bytes, seen.mtime_ns):
            return probe
        return _unfinished(f"{status.st_size} bytes, {seen.bytes} when it was listed")


class _Remote:
    """Fetches each file to a temporary one and probes that."""

    def __init__(self, folder: UPath, ask: Callable, known: KnownProbes, scratch: str):
        self._fs, self._ask, self._known = folder.fs, ask, known
        self._root = self._fs._strip_protocol(str(folder)).rstrip("/")
        self._scratch = scratch
        self._one_large_file = threading.Lock()

    def __call__(self, batch: Sequence[Seen]) -> list[Probe]:
        (seen,) = batch
        with ExitStack() as stack:
            if seen.bytes > _LARGE_FETCH:
                stack.enter_context(self._one_large_file)
            handle, path = tempfile.mkstemp(dir=self._scratch)
            os.close(handle)
            stack.callback(os.unlink, path)
            refusal = self._fetch(seen, path)
            return [refusal] if refusal else _probe(self._ask, [path], batch, self._known)

    def _fetch(self, seen: Seen, path: str) -> Probe | None:
        """Why the file could not be had, or None."""
        try:
            with store_errors():
                self._fs.get_file(f"{self._root}/{seen.entry.path}", path)
        except FileNotFoundError:
            return refused(Reason.UNREADABLE, "gone before it could be read")
        except StoreError as error:
            raise no_answer(seen.path, error) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise UserError(
                    f"no space left in {tempfile.gettempdir()} for a copy of {seen.path} ({seen.bytes >> 20} MB): "
                    f"make room, or set TMPDIR to a larger disk."
                ) from error
            return refused(Reason.UNREADABLE, str(error.strerror or error or type(error).__name__))
        size = os.path.getsize(path)
        return None if size == seen.bytes else _unfinished(f"{size} bytes came, {seen.bytes} were listed")


def _probe(ask: Callable, paths: Sequence[str], batch: Sequence[Seen], known: KnownProbes) -> list[Probe]:
    # Only a file of the same size can hold the same bytes, so a worker is told of few contents or none.
    same_size = [known.get(seen.bytes, {}) for seen in batch]
    found = ask([(path, tuple(probes)) for path, probes in zip(paths, same_size, strict=True)])
    return [
        probes[probe.content] if isinstance(probe, Known) else probe
        for probe, probes in zip(found, same_size, strict=True)
    ]


def _unfinished(detail: str) -> Probe:
    return refused(Reason.UNFINISHED, f"it changed while it was read, so it is read again next time ({detail})")
