"""An answer that drips has an end too: HTTP timeouts are for one read each, and a byte in time renews them for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2


class BoundedStream(httpx2.SyncByteStream):
    """The body of a response, given up with httpx2.ReadTimeout by the first byte after `until` (`time.monotonic`)."""

    def __init__(self, body: Any, *, until: float, request: httpx2.Request):
        self._body = body
        self._until = until
        self._request = request

    @property
    def elapsed(self) -> Any:
        """What httpx2 measured; it looks for it here."""
        return self._body.elapsed

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            if time.monotonic() > self._until:
                raise httpx2.ReadTimeout("the whole answer took too long", request=self._request)
            yield chunk

    def close(self) -> None:
        self._body.close()
