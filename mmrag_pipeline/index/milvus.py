"""The one place that talks to Milvus: connecting, and an adapter that makes Lite and a server behave alike.

Every difference between them is handled here, once: released collections, `delete`'s answers, default fields,
aliases that destroy what they point to, visibility after a write, message sizes, lost connections.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import numpy as np

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index import lite
from mmrag_pipeline.index.failures import as_user_error, is_not_loaded, is_refused_token, is_too_large, is_transient
from mmrag_pipeline.index.pymilvus_import import import_pymilvus
from mmrag_pipeline.index.schema import (
    BUILDING,
    INDEX_PARAMS,
    LEAST_EF,
    METRIC,
    SCHEMA_VERSION,
    CollectionInfo,
    build_schema,
    collection_name,
    is_our_name,
)

_MESSAGE_BYTES = 16 * 1024 * 1024  # a quarter of what a server accepts at most
_BATCH_ROWS = 2000
_PAGE_ROWS = 8000
_IDS_A_CALL = 1000
_LOAD_S = 600.0  # loading builds missing indexes
_LITE_CALL_S = 300.0  # in this process: nothing to wait for but its own work
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_ID = re.compile(r"[0-9a-f]{1,64}")

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class MilvusConfig:
    """Where Milvus is. `uri`: http(s)://host:port of a server, or a local path ending in .db for Milvus Lite.

    `timeout_s` bounds one request to a server; `wait_s` bounds the wait for a Lite file that another process
    holds.
    """

    uri: str
    token: str | None = field(default=None, repr=False)
    alias: str = "media_live"
    timeout_s: float = 30.0
    wait_s: float = 60.0

    @property
    def is_lite(self) -> bool:
        return self.uri.endswith(".db") and "://" not in self.uri


@contextmanager
def connect(config: MilvusConfig) -> Iterator[Milvus]:
    """A connection for the length of one `with` block; on leaving, a Lite file is free for other processes.

    Blocks may be nested or run in several threads: one process shares one Lite file.

    Raises:
        Unavailable: no answer within `timeout_s`, or the Lite file is held by another process for `wait_s`.
        UserError: wrong token, or a uri or alias that can't be one.
    """
    _check(config)
    import_pymilvus()
    if not config.is_lite:
        milvus = Milvus(config, config.uri, writing=nullcontext())
        try:
            yield milvus
        finally:
            milvus.close()
        return
    with lite.opened(config.uri, wait_s=config.wait_s) as file:
        milvus = Milvus(config, file.address, writing=file.writing)
        try:
            yield milvus
        finally:
            milvus.close()


def _check(config: MilvusConfig) -> None:
    parts = urlsplit(config.uri)
    if not config.is_lite and not (parts.scheme in ("http", "https") and parts.hostname):
        raise UserError(
            f"MMRAG_MILVUS_URI={_without_password(config.uri)!r} is not an address of Milvus: give "
            f"http(s)://host:port of a server, or a local path ending in .db for Milvus Lite."
        )
    if not config.is_lite and parts.username is not None:
        raise UserError(
            f"MMRAG_MILVUS_URI={_without_password(config.uri)} holds a user or password, which logs would "
            f"show: move it to MMRAG_MILVUS_TOKEN as user:password."
        )
    if not _ALIAS.fullmatch(config.alias):
        raise UserError(
            f"MMRAG_MILVUS_ALIAS={config.alias!r} can't be an alias: use letters, digits and underscores, "
            f"not starting with a digit."
        )


def _without_password(uri: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", uri)


class Milvus:
    """One open connection. Names given to it are collections, never aliases; `live()` resolves the alias."""

    def __init__(self, config: MilvusConfig, address: str, *, writing: Any):
        self.config = config
        self.alias = config.alias
        self.is_lite = config.is_lite
        self.address = config.uri
        self._target = address
        self._writing = writing
        self._loaded: set[str] = set()
        self._index: dict[str, str] = {}
        self._reconnecting = threading.Lock()
        self._client = self._patiently("connect", self._new_client)

    def __repr__(self) -> str:
        return f"Milvus({self.address!r}, alias={self.alias!r})"

    def close(self) -> None:
        self._client.close()

    # collections and the alias

    def live(self) -> CollectionInfo | None:
        """The collection that the alias points to, or None before the first one.

        Raises:
            UserError: the alias, or a collection of that name, was made by someone else.
        """
        name = self.alias_target()
        if name is None:
            if self._call("read", "has_collection", self.alias):
                raise self._foreign(f"a collection is named {self.alias}, which should be an alias")
            return None
        if not self._call("read", "has_collection", name):
            return None  # dropped by hand under a Milvus that kept the alias
        info = self.info(name)
        if info is None:
            raise self._foreign(f"alias {self.alias} points to {name}, which this pipeline did not make")
        return info

    def _foreign(self, what: str) -> UserError:
        return UserError(
            f"{what}, in Milvus at {self.address}: set MMRAG_MILVUS_ALIAS to another name, or drop it yourself."
        )

    def alias_target(self) -> str | None:
        """Name of the collection that the alias points to, or None."""
        from pymilvus import MilvusException

        try:
            return self._call("read", "describe_alias", self.alias)["collection_name"] or None
        except MilvusException:
            if self.alias in self._aliases():
                raise
            return None

    def point_alias(self, name: str) -> None:
        """Make the alias point to `name`, in one step."""
        with self._writing:
            action = "alter_alias" if self.alias in self._aliases() else "create_alias"
            self._call("move the alias", action, name, self.alias)

    def claim_alias(self, name: str) -> bool:
        """Create the alias for `name`; False when somebody else was quicker."""
        from pymilvus import MilvusException

        with self._writing:
            try:
                self._call("create the alias", "create_alias", name, self.alias)
            except MilvusException:
                if self.alias_target() is None:
                    raise
        return self.alias_target() == name

    def info(self, name: str) -> CollectionInfo | None:
        """What the collection says about itself; None when it isn't one of ours."""
        properties = self._call("read", "describe_collection", name)["properties"]
        info = CollectionInfo.from_properties(name, properties)
        if info is not None:
            self._index[name] = info.index
        return info

    def collections(self) -> list[CollectionInfo]:
        """Every collection made for this alias, oldest first."""
        names = [name for name in self._call("read", "list_collections") if is_our_name(self.alias, name)]
        infos = [info for info in map(self.info, sorted(names)) if info and info.alias == self.alias]
        return sorted(infos, key=lambda info: (info.created_at, info.name))

    def create(self, *, fingerprint: str, dim: int, index: str, now: datetime, state: str = BUILDING) -> CollectionInfo:
        """A new, empty, loaded collection under a name of its own."""
        with self._writing:
            taken = set(self._call("read", "list_collections"))
            base = name = collection_name(self.alias, fingerprint, now)
            for number in range(2, 1000):
                if name not in taken:
                    break
                name = f"{base}_{number}"
            info = CollectionInfo(
                name=name, alias=self.alias, fingerprint=fingerprint, dim=dim, schema_version=SCHEMA_VERSION,
                index=index, state=state, created_at=now.isoformat(), published_at="",
            )  # fmt: skip
            params = self._client.prepare_index_params()
            params.add_index("embedding", index_type=index, metric_type=METRIC, params=INDEX_PARAMS[index])
            self._call(
                "create a collection",
                "create_collection",
                name,
                schema=build_schema(dim),
                properties=info.to_properties(),
                consistency_level="Strong",  # iterators read at this level, whatever they are told
            )
            self._call("create an index", "create_index", name, params, sync=False)
        self.ensure_loaded(name)
        return info

    def mark(self, info: CollectionInfo) -> None:
        """Write the properties of a collection again, after `dataclasses.replace`."""
        with self._writing:
            self._call("write properties", "alter_collection_properties", info.name, info.to_properties())

    def drop(self, name: str) -> None:
        """Drop one of our collections.

        Raises:
            ValueError: it is not ours, or an alias points to it (Lite would destroy what is live).
        """
        with self._writing:
            known = self._call("read", "list_collections")  # no aliases, whatever they are named
            if not is_our_name(self.alias, name) or name not in known or self.info(name) is None:
                raise ValueError(f"collection {name} was not made by this pipeline: not dropped")
            aliases = self._call("read", "list_aliases", name).get("aliases") or []
            if aliases or name == self.alias_target():
                raise ValueError(f"collection {name} is the target of alias {', '.join(aliases)}: not dropped")
            self._call("drop a collection", "drop_collection", name)
            self._loaded.discard(name)

    def _aliases(self) -> list[str]:
        return list(self._call("read", "list_aliases").get("aliases") or [])

    def ensure_loaded(self, name: str) -> None:
        """Load a collection unless it is; Lite has released them all when a file is opened.

        The alias is left alone: what it points to was loaded under its own name.
        """
        if name in self._loaded or name == self.alias:
            return
        if self.is_lite or str(self._call("read", "get_load_state", name)["state"]) != "Loaded":
            self._call("load a collection", "load_collection", name, timeout=max(_LOAD_S, self.config.timeout_s))
        self._loaded.add(name)

    # writing rows

    def upsert(self, name: str, rows: Iterator[Row] | Sequence[Row]) -> int:
        """Write whole rows in messages of at most 16 MB, each id once; returns their number."""
        written = 0
        for batch in _batches(rows):
            with self._writing:
                self._call("write rows", "upsert", name, batch)
            written += len(batch)
        return written

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete rows by id."""
        for chunk in _chunks(ids):
            with self._writing:
                self._call("delete rows", "delete", name, ids=chunk)

    def finish_writing(self, name: str, *, built: bool = False) -> None:
        """Return when everything written is searchable at full speed; call once at the end of a write.

        Lite searches unflushed rows 20 to 50 times slower, so there it flushes. A server needs a flush only
        after a whole collection was `built`; else a strongly consistent read waits until its nodes have seen
        the writes.
        """
        if self.is_lite or built:
            with self._writing:
                self._call("flush", "flush", name, timeout=max(_LOAD_S, self.config.timeout_s))
        self.count(name)

    # reading rows

    def count(self, name: str, filter: str = "") -> int:
        """Rows that match, every finished write included."""
        self.ensure_loaded(name)
        options = {"filter": filter} if filter else {}
        found = self._call(
            "count rows", "query", name, output_fields=["count(*)"], consistency_level="Strong", **options
        )
        return int(found[0]["count(*)"])

    def rows(self, name: str, fields: Sequence[str], filter: str = "") -> Iterator[list[Row]]:
        """Pages of rows in order of id, every finished write included; resumes after a lost connection."""
        self.ensure_loaded(name)
        wanted = list(dict.fromkeys(["id", *fields]))
        last, pages, size = "", None, _PAGE_ROWS

        def next_page() -> list[Row]:
            nonlocal pages, size
            while True:
                if pages is None:
                    parts = [f"({filter})"] * bool(filter) + [f'id > "{last}"'] * bool(last)
                    pages = self._client.query_iterator(
                        name,
                        batch_size=size,
                        filter=" and ".join(parts),
                        output_fields=wanted,
                        consistency_level="Strong",
                        timeout=self._call_s,
                    )
                try:
                    return [dict(row) for row in pages.next()]
                except BaseException as error:
                    pages = None  # the next try starts a new iterator after the last row
                    if size == 1 or not is_too_large(error):
                        raise
                    size = max(1, size // 4)

        while page := self._patiently("read rows", next_page):
            yield page
            last = page[-1]["id"]

    def get(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Row]:
        """Rows by id, every finished write included; absent ids are left out."""
        self.ensure_loaded(name)
        found: dict[str, Row] = {}
        for chunk in _chunks(ids):
            rows = self._call(
                "read rows", "get", name, chunk, output_fields=["id", *fields], consistency_level="Strong"
            )
            found.update({row["id"]: dict(row) for row in rows})
        return found

    def search(
        self, name: str, vector: np.ndarray, *, limit: int, fields: Sequence[str], filter: str = ""
    ) -> list[tuple[str, float, Row]]:
        """(id, cosine, fields) of the nearest rows, best first."""
        self.ensure_loaded(name)
        if name not in self._index:
            self.info(name)
        breadth = {"ef": max(LEAST_EF, limit)} if self._index.get(name) == "HNSW" else {}
        found = self._call(
            "search",
            "search",
            name,
            data=[np.asarray(vector, dtype=np.float32)],
            anns_field="embedding",
            limit=limit,
            filter=filter,
            output_fields=list(fields) or ["id"],  # of none, Lite makes all of them, the vector too
            search_params={"metric_type": METRIC, "params": breadth},
            consistency_level="Bounded",
        )
        return [(hit["id"], float(hit["distance"]), dict(hit["entity"])) for hit in found[0]]

    # calls

    @property
    def _call_s(self) -> float:
        return max(_LITE_CALL_S, self.config.timeout_s) if self.is_lite else self.config.timeout_s

    def _call(self, action: str, method: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        return self._patiently(
            action, lambda: getattr(self._client, method)(*args, timeout=timeout or self._call_s, **options)
        )

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
                self._client.load_collection(name, timeout=max(_LOAD_S, self.config.timeout_s))
            except (MilvusException, grpc.RpcError):
                continue  # the call that is repeated next reports it


def _batches(rows: Iterator[Row] | Sequence[Row]) -> Iterator[list[Row]]:
    """Each id once in a batch, the last of them: a server would keep it twice, or refuse the message."""
    batch: dict[str, Row] = {}
    size = 0
    for row in rows:
        cost = _cost(row)
        if batch and (len(batch) >= _BATCH_ROWS or size + cost > _MESSAGE_BYTES):
            yield list(batch.values())
            batch, size = {}, 0
        batch[row["id"]] = row
        size += cost
    if batch:
        yield list(batch.values())


def _cost(value: Any) -> int:
    """Bytes of a value in a message, never less than it takes (JSON may escape a character to 6 bytes)."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 8
    if isinstance(value, str):
        return (len(value) if value.isascii() else 4 * len(value)) + 8
    if isinstance(value, Mapping):
        return sum(_cost(key) + _cost(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 8 + sum(map(_cost, value))
    return 24


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    """Ids in pieces; pymilvus pastes them into an expression unescaped, so they must be hex."""
    for value in ids:
        if not _ID.fullmatch(value):
            raise ValueError(f"{value!r} can't be a media id: ids are lower-case hex")
    for start in range(0, len(ids), _IDS_A_CALL):
        yield list(ids[start : start + _IDS_A_CALL])
