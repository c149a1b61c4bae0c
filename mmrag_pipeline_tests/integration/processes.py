"""What servers that tests start have in common."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def die_with_parent() -> None:
    """Linux: the kernel kills a process when the thread that started it ends, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
