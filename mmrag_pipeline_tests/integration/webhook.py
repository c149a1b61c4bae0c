"""A webhook as Slack's are: what alerts are sent to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Channel:
    """A webhook that keeps what it is sent and answers with `status`."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.status, self.fails_at = 200, 0
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json" and list(body) == ["text"]
                channel.said.append(body["text"])
                self.send_response(500 if len(channel.said) == channel.fails_at else channel.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/services/T0/B0/very-secret"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
