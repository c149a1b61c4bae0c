"""Connecting to Milvus, and its collections and alias: with stored_rows.py, lite_rows.py and connection.py the one
place that talks to it, an adapter that makes Lite and a server behave alike.

What differs between them and is handled here: aliases that destroy what they point to or outlive it, indexes and types
that one of them lacks, answers about collections that aren't there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index import lite
from mmrag_pipeline.index.config import MilvusConfig
from mmrag_pipeline.index.connection import LOAD_S
from mmrag_pipeline.index.failures import is_transient
from mmrag_pipeline.index.layout import INDEXES, PARTITIONS, Layout, choose_layout
from mmrag_pipeline.index.pymilvus_import import import_pymilvus
from mmrag_pipeline.index.schema import (
    BUILDING,
    METRIC,
    SCHEMA_VERSION,
    CollectionInfo,
    build_schema,
    collection_name,
    is_our_name,
)
from mmrag_pipeline.index.stored_rows import StoredRows

_LATELY_S = 1.0


@contextmanager
def connect(config: MilvusConfig) -> Iterator[Milvus]:
    """A connection for the length of one `with` block; on leaving, a Lite file is free for other processes.

    Blocks may be nested or run in several threads: one process shares one Lite file.

    Raises:
        Unavailable: no answer within `timeout_s`, or the Lite file is held by another process for `wait_s`.
        UserError: wrong token, or a uri or alias that can't be one.
    """
    config.check()
    import_pymilvus()
    if not config.is_lite:
        milvus = Milvus(config, config.uri)
        try:
            yield milvus
        finally:
            milvus.close()
        return
    with lite.opened(config.uri, wait_s=config.wait_s) as file:
        milvus = Milvus(config, file.address, file=file)
        try:
            yield milvus
        finally:
            milvus.close()


class Milvus(StoredRows):
    """One open connection. Names given to it are collections, never aliases; `live()` resolves the alias."""

    def __init__(self, config: MilvusConfig, address: str, *, file: lite.OpenFile | None = None):
        super().__init__(config, address, file=file)
        self._lately: tuple[float, CollectionInfo] | None = None
        self._version: str | None = None

    def __repr__(self) -> str:
        return f"Milvus({self.address!r}, alias={self.alias!r})"

    # collections and the alias

    def live(self) -> CollectionInfo | None:
        """The collection that the alias points to, or None before the first one.

        Raises:
            UserError: the alias, or a collection of that name, was made by someone else.
        """
        self._lately = None
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
        self._lately = time.monotonic(), info
        return info

    def lately_live(self) -> CollectionInfo | None:
        """`live()` as it was within the last second: not every search of a connection shall ask three times.

        After that it is asked where the alias points; a collection of the same name is the one that was looked at.
        """
        known = self._lately
        if known is None:
            return self.live()
        at, info = known
        if time.monotonic() - at > _LATELY_S:
            if self.alias_target() != info.name:
                return self.live()
            self._lately = time.monotonic(), info
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
        self._lately = None
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

    def find(self, name: str) -> CollectionInfo | None:
        """As `info`; None also when there is no such collection."""
        return self.info(name) if self._call("read", "has_collection", name) else None

    def collections(self) -> list[CollectionInfo]:
        """Every collection made for this alias, oldest first."""
        names = [name for name in self._call("read", "list_collections") if is_our_name(self.alias, name)]
        infos = [info for info in map(self.info, sorted(names)) if info and info.alias == self.alias]
        return sorted(infos, key=lambda info: (info.created_at, info.name))

    def layout_for(self, rows: int) -> Layout:
        """How a collection of so many rows should be laid out here."""
        if not self.is_lite and self._version is None:
            self._version = str(self._call("read", "get_server_version"))
        return choose_layout(rows, index=self.config.index, vectors=self.config.vectors, server=self._version)

    def create(
        self,
        *,
        fingerprint: str,
        dim: int,
        layout: Layout,
        now: datetime,
        state: str = BUILDING,
        builder: str = "",
        imported: str = "",
    ) -> CollectionInfo:
        """A new, empty collection under a name of its own, which is being loaded.

        Raises:
            UserError: this Milvus has no such index or vector type; nothing is left behind.
        """
        with self._writing:
            taken = set(self._call("read", "list_collections"))
            base = name = collection_name(self.alias, fingerprint, now)
            for number in range(2, 1000):
                if name not in taken:
                    break
                name = f"{base}_{number}"
            info = CollectionInfo(
                name=name, alias=self.alias, fingerprint=fingerprint, dim=dim, schema_version=SCHEMA_VERSION,
                index=layout.index, state=state, created_at=now.isoformat(), published_at="", vectors=layout.vectors,
                partition_key=layout.partition_key, builder=builder, imported=imported,
            )  # fmt: skip
            params = self._client.prepare_index_params()
            build = dict(INDEXES[layout.index].build)
            params.add_index("embedding", index_type=layout.index, metric_type=METRIC, params=build)
            with self._refusals(layout, name):
                self._call(
                    "create a collection",
                    "create_collection",
                    name,
                    schema=build_schema(dim, layout),
                    properties=info.to_properties(),
                    consistency_level="Strong",  # iterators read at this level, whatever they are told
                    **({"num_partitions": PARTITIONS} if layout.partition_key else {}),
                )
                self._call("create an index", "create_index", name, params, sync=False)
            # a server loads it while the first rows travel; `ensure_loaded` waits for that
            self._call("load a collection", "load_collection", name, timeout=LOAD_S, _async=True)
        return info

    @contextmanager
    def _refusals(self, layout: Layout, name: str) -> Iterator[None]:
        """What this Milvus does not make as a sentence; the collection that was begun for it goes."""
        from pymilvus import MilvusException

        try:
            yield
        except MilvusException as error:
            if is_transient(error):
                raise
            if self._call("read", "has_collection", name):
                self._call("drop a collection", "drop_collection", name)
            reason = " ".join(str(error.message or error).split())[:200]
            about_layout = any(word in reason.lower() for word in ("index", "data type", "datatype", "float16"))
            advice = (
                "set MMRAG_MILVUS_INDEX and MMRAG_MILVUS_VECTORS to what it has" if about_layout else "make room for it"
            )
            raise UserError(
                f"Milvus at {self.address} makes no collection with index {layout.index} of {layout.vectors} vectors "
                f"({reason}): {advice}; what is live stays as it is."
            ) from error

    def has_index(self, name: str) -> bool:
        """False where whoever made the collection was killed before it was complete."""
        return bool(self._call("read", "list_indexes", name))

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
