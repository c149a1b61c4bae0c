"""What runs inside a decoder process. It starts often, so it imports little.

A worker may hang or die at any file: the process that asked (`prober`) notices and starts another.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence

from mmrag_pipeline.media.probe import Known, Probe
from mmrag_pipeline.media.rules import Limits

_PR_SET_PDEATHSIG = 1

Ask = tuple[str, Collection[str]]
"""A local file and the contents (sha256) that need not be decoded again."""
ProbeFunction = Callable[[str, Limits, Collection[str]], Probe | Known]


class NotYet(BaseException):
    """A picture so large that only one may be decoded at a time; it has to be asked for again, `alone`.

    No `Exception`: decoders turn those into "can't be decoded".
    """


class _LargePictures:
    """Stands in for `decode`'s lock. Waiting for another process here would use up the file's time limit."""

    alone = False

    def __enter__(self) -> None:
        if not self.alone:
            raise NotYet

    def __exit__(self, *_: object) -> None:
        pass


_large_pictures = _LargePictures()


def start() -> None:
    """Prepare this process: it dies when told to or left alone, leaves no core file, and has the decoders loaded."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the C code that hangs
    _die_with_parent()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its threads would spin beside other workers
    from mmrag_pipeline.media import decode

    decode._one_large_picture = _large_pictures
    try:
        import resource
    except ImportError:  # not on Windows, which writes no core files either
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _die_with_parent() -> None:
    """Also when the parent is killed and can't tell. Linux only; `probe_files` has a slower way for the others."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = multiprocessing.parent_process().pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


def ready() -> int:
    """Answer, so that whoever started this process knows that it works; its process id."""
    return os.getpid()


def probe_files(
    files: Sequence[Ask], limits: Limits, probe: ProbeFunction, *, alone: bool = False
) -> list[Probe | Known | None]:
    """Probe files one after another; None for one that has to be asked for again, `alone`."""
    _large_pictures.alone = alone
    found: list[Probe | Known | None] = []
    with open(os.devnull, "w") as nowhere:
        for file, known in files:
            # A thread in C that ends this process even if a decoder holds the interpreter and nobody is left to
            # end it: whoever asked may have been killed.
            faulthandler.dump_traceback_later(2 * limits.max_seconds + 10, exit=True, file=nowhere)
            try:
                found.append(probe(file, limits, known))
            except NotYet:
                found.append(None)
            finally:
                faulthandler.cancel_dump_traceback_later()
    return found
