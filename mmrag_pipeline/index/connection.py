"""Calls to Milvus that outlast a restart of it, and whose failures are sentences."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NoReturn, TypeVar

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.index import columns
from mmrag_pipeline.index.config import MilvusConfig
from mmrag_pipeline.index.failures import as_user_error, is_not_loaded, is_refused_token, is_transient

LOAD_S = 600.0  # loading builds missing indexes
_LITE_CALL_S = 300.0  # in this process: nothing to wait for but its own work

_WRITES = {"insert": columns.insert, "upsert": columns.upsert}
_AGAIN = {"insert": "upsert"}  # an insert whose answer was lost may have been made

T = TypeVar("T")


class Connection:
    """A pymilvus client that is made anew where it has to be. `address` is shown to people."""

    def __init__(self, config: MilvusConfig, target: str):
        self.config = config
        self.is_lite = config.is_lite
        self.address = config.uri
        self._target = target
        self._loaded: set[str] = set()
        self._reconnecting = threading.Lock()
        self._client = self._patiently("connect", self._new_client)

    def close(self) -> None:
        self._client.close()

    @property
    def _call_s(self) -> float:
        return max(_LITE_CALL_S, self.config.timeout_s) if self.is_lite else self.config.timeout_s

    def patiently(self, action: str, call: Callable[[Any], T]) -> T:
        """`call` with the pymilvus client of this moment, as often as it takes to bridge a restart."""
        return self._patiently(action, lambda: call(self._client))

    def _call(self, action: str, method: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        attempts = count()

        def call() -> Any:
            client = self._client  # another one after a reconnection
            name = _AGAIN.get(method, method) if next(attempts) else method
            bound = partial(_WRITES[name], client) if name in _WRITES else getattr(client, name)
            return bound(*args, timeout=timeout or self._call_s, **options)

        return self._patiently(action, call)

    def _patiently(self, action: str, call: Callable[[], T]) -> T:
        """Make a call that may be made twice (all of ours may); bridges a restart for up to `timeout_s`."""
        import grpc
        from pymilvus import MilvusException

        deadline, pause = time.monotonic() + self.config.timeout_s, 0.1
        while True:
            try:
                return call()
            except (MilvusException, grpc.RpcError) as error:
                # A starting server also refuses good tokens; one that connected before is known to be good.
                again = is_transient(error) or is_refused_token(error)
                if action == "connect" or not again or time.monotonic() + pause > deadline:
                    self._raise(error, action)
                if is_not_loaded(error):
                    self._reload()
                time.sleep(pause)
                pause = min(2 * pause, 2.0)
                if not self.is_lite:
                    self._reconnect()

    def _raise(self, error: Exception, action: str) -> NoReturn:
        known = as_user_error(error, address=self.address, action=action, timeout_s=self.config.timeout_s)
        if known is None and action == "connect":
            known = Unavailable(
                f"{self.address} does not answer as Milvus: start the server, or correct MMRAG_MILVUS_URI "
                f"(http or https, the gRPC port, 19530 by default)."
            )
        if known is None:
            raise error
        raise known from None

    def _new_client(self) -> Any:
        from pymilvus import MilvusClient

        # A proxy from the environment must not come between this process and its own Lite server.
        options = {"grpc_options": {"grpc.enable_http_proxy": 0}} if self.is_lite else {}
        return MilvusClient(
            self._target,
            token=self.config.token or "",
            timeout=self.config.timeout_s,
            dedicated=True,
            **options,
        )

    def _reconnect(self) -> None:
        """Open a new channel; where that fails, the next call on the old one says so again."""
        from pymilvus import MilvusException

        with self._reconnecting:
            try:
                client = self._new_client()
            except MilvusException:
                return
            old, self._client = self._client, client
            old.close()

    def _reload(self) -> None:
        """Somebody else released a collection, or the server restarted: load those in use again."""
        import grpc
        from pymilvus import MilvusException

        for name in list(self._loaded):
            try:
                self._client.load_collection(name, timeout=max(LOAD_S, self.config.timeout_s))
            except (MilvusException, grpc.RpcError):
                continue  # the call that is repeated next reports it
