"""A network between a client and a server that takes its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_BLOCK = 1 << 16


class SlowProxy:
    """Passes TCP on to a port of this machine; each block waits `delay_s` on its way, there and back."""

    def __init__(self, port: int):
        self.delay_s = 0.0
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return self._listening.getsockname()[1]

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # nobody there: the client is told as a server would tell it
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                time.sleep(self.delay_s)
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
