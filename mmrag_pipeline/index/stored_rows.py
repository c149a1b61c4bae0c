"""The rows of collections, written and read alike on Lite and on a server.

What differs between them and is handled here: `delete`'s answers, merged upserts, released collections, visibility
after a write, message sizes, lost connections, vectors of float16.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np

from mmrag_pipeline.ahead import ahead
from mmrag_pipeline.index import columns, lite_rows
from mmrag_pipeline.index.columns import Pairs, Row
from mmrag_pipeline.index.config import MilvusConfig
from mmrag_pipeline.index.connection import LOAD_S, Connection
from mmrag_pipeline.index.failures import is_too_large
from mmrag_pipeline.index.layout import FLOAT16, INDEXES, Layout
from mmrag_pipeline.index.lite import OpenFile
from mmrag_pipeline.index.schema import DYNAMIC, FIELDS, METRIC, CollectionInfo

_PAGE_ROWS = 8000
_RANGE_ROWS = 50_000
_RANGES_AT_ONCE = 2
_ID_RANGES = 16**8  # ids are cut into as many by their first eight digits
_IDS_A_CALL = 1000
_COMPARED_ROWS = 8000
_ID = re.compile(r"[0-9a-f]{1,64}")


class StoredRows(Connection):
    """A connection that reads and writes rows; `file` is given where it is one to a Lite file."""

    def __init__(self, config: MilvusConfig, address: str, *, file: OpenFile | None):
        super().__init__(config, address)
        self.alias = config.alias
        self._file = file
        self._writing = file.writing if file else nullcontext()
        self._infos: dict[str, CollectionInfo] = {}

    def info(self, name: str) -> CollectionInfo | None:
        """What the collection says about itself; None when it isn't one of ours."""
        properties = self._call("read", "describe_collection", name)["properties"]
        info = CollectionInfo.from_properties(name, properties)
        if info is not None and name != self.alias:  # the alias moves
            self._infos[name] = info
        return info

    def _layout(self, name: str) -> Layout:
        info = self._infos.get(name) or self.info(name)
        if info is None:
            raise ValueError(f"collection {name} was not made by this pipeline")
        return info.layout

    def ensure_loaded(self, name: str) -> None:
        """Load a collection unless it is; Lite has released them all when a file is opened.

        The alias is left alone: what it points to was loaded under its own name.
        """
        if name in self._loaded or name == self.alias:
            return
        if self.is_lite or str(self._call("read", "get_load_state", name)["state"]) != "Loaded":
            self._call("load a collection", "load_collection", name, timeout=max(LOAD_S, self.config.timeout_s))
        self._loaded.add(name)

    # writing rows

    def upsert(
        self,
        name: str,
        rows: Iterable[Row],
        *,
        new: bool = False,
        guard: Callable[[], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Write whole rows in messages of at most 16 MB; returns their number, `progress` gets it on the way.

        `new`: the collection was made by this process, is empty, and `rows` has each id once; that is faster, and two
        messages may travel at a time. `guard` may raise before a message is sent. Meanwhile the next is packed.
        """
        written = 0
        on_the_way: deque[tuple[Future[None], int]] = deque()

        def arrive() -> None:
            nonlocal written
            sent, count = on_the_way.popleft()
            sent.result()
            written += count
            if progress:
                progress(written)

        at_once = 2 if new else 1  # of two messages with the same id the later one must come last
        with ThreadPoolExecutor(at_once, thread_name_prefix="milvus-upsert") as sender:
            for fields, count in columns.messages(rows, vectors=self._layout(name).vectors):
                if guard:
                    guard()  # asks the server, while messages travel
                while len(on_the_way) >= at_once:
                    arrive()
                on_the_way.append((sender.submit(self._send, name, fields, count, new=new), count))
            while on_the_way:
                arrive()
        return written

    def _send(self, name: str, fields: Sequence[Any], count: int, *, new: bool) -> None:
        with self._writing:
            self._call("write rows", "insert" if new else "upsert", name, fields, count)

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
                self._call("flush", "flush", name, timeout=max(LOAD_S, self.config.timeout_s))
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
            yield self._numbers(name, page, wanted)
            last = page[-1]["id"]

    def pairs(self, name: str, field: str, filter: str = "", *, about: int | None = None) -> Iterator[Pairs]:
        """Ids of every row and a field of each (of `MAX_BYTES` or `INT_FIELDS`), finished writes included, in no order;
        many times faster than `rows`.

        A server looks at every row for each page of an iterator, so here it is asked for large ranges of ids, two at a
        time. Ids are digests: equal ranges hold equally many, of `about` so many in all (else it counts them). The
        first requests are on their way when this returns. Lite's rows are read by then, when a write that is going on
        has ended.
        """
        self.ensure_loaded(name)
        if file := self._file:

            def read_file() -> Pairs:
                with self._writing:  # a flush amid it would move rows from memory, not yet read, to files, read before
                    return lite_rows.pairs(file.database, name, field, filter=filter)

            return iter([self._patiently("read rows", read_file)])
        if about is None:
            about = self.count(name)
        parts = max(_RANGES_AT_ONCE, round(about / _RANGE_ROWS))
        edges = [part * _ID_RANGES // parts for part in range(parts + 1)]

        def read(low: int, high: int) -> Pairs:
            bounds = [f'id >= "{low:08x}"' if low else 'id >= ""'] + [f'id < "{high:08x}"'] * (high < _ID_RANGES)
            wanted = " and ".join([f"({filter})"] * bool(filter) + bounds)
            middle = (low + high) // 2

            def ask(client: Any) -> Pairs | None:
                try:
                    return columns.pairs(client, name, field, filter=wanted, timeout=self._call_s)
                except BaseException as error:
                    if middle > low and is_too_large(error):
                        return None
                    raise

            found = self.patiently("read rows", ask)
            if found is not None:
                return found
            (ids, values), (further_ids, further_values) = read(low, middle), read(middle, high)
            return ids + further_ids, values + further_values

        return ahead(read, list(pairwise(edges)), at_once=_RANGES_AT_ONCE)

    def get(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Row]:
        """Rows by id, every finished write included; absent ids are left out."""
        self.ensure_loaded(name)
        found: dict[str, Row] = {}
        for chunk in _chunks(ids):
            rows = self._call(
                "read rows", "get", name, chunk, output_fields=["id", *fields], consistency_level="Strong"
            )
            read = self._numbers(name, [dict(row) for row in rows], fields)
            found.update({row["id"]: row for row in read})
        return found

    def lingering_columns(self, name: str, ids: Sequence[str]) -> dict[str, Row]:
        """By id, a null for each catalogue column of a row: Lite merges an upsert into the row that was there, so what
        went away must be overwritten. A server replaces the row: nothing.
        """
        if not self.is_lite:
            return {}
        rows = self.get(name, ids, (DYNAMIC,))
        return {media_id: dict.fromkeys(row.keys() - set(FIELDS)) for media_id, row in rows.items()}

    def _numbers(self, name: str, rows: list[Row], fields: Sequence[str]) -> list[Row]:
        """Vectors of float16 are read as bytes: as numbers, like those of float32."""
        if {"embedding", "*"} & set(fields) and self._layout(name).vectors == FLOAT16:
            for row in rows:
                row["embedding"] = as_float16(row["embedding"])
        return rows

    def search(
        self, name: str, vector: np.ndarray, *, limit: int, fields: Sequence[str], filter: str = ""
    ) -> list[tuple[str, float, Row]]:
        """(id, cosine, fields) of the nearest rows, best first."""
        self.ensure_loaded(name)
        layout = self._layout(name)
        number = np.float16 if layout.vectors == FLOAT16 else np.float32
        found = self._call(
            "search",
            "search",
            name,
            data=[np.asarray(vector, dtype=number)],
            anns_field="embedding",
            limit=limit,
            filter=filter,
            output_fields=list(fields) or ["id"],  # of none, Lite makes all of them, the vector too
            search_params={"metric_type": METRIC, "params": INDEXES[layout.index].search(limit)},
            consistency_level="Bounded",
        )
        hits = [(hit["id"], float(hit["distance"]), dict(hit["entity"])) for hit in found[0]]
        if self.is_lite and filter and len(hits) < limit and not INDEXES[layout.index].exact:
            # Lite's graph stops early where most of what it walks is filtered away; a server then compares every row.
            if len(hits) < self.count(name, filter) <= _COMPARED_ROWS:
                return self._compared(name, vector, limit=limit, fields=fields, filter=filter)
        return hits

    def _compared(
        self, name: str, vector: np.ndarray, *, limit: int, fields: Sequence[str], filter: str
    ) -> list[tuple[str, float, Row]]:
        """As `search`, by comparing every row that matches."""
        rows = [row for page in self.rows(name, [*fields, "embedding"], filter) for row in page]
        scores = np.array([row["embedding"] for row in rows], dtype=np.float32) @ np.asarray(vector, dtype=np.float32)
        best = np.argsort(-scores, kind="stable")[:limit].tolist()
        return [(rows[at]["id"], float(scores[at]), {key: rows[at][key] for key in fields or ["id"]}) for at in best]


def as_float16(value: Any) -> np.ndarray:
    """What pymilvus reads of a float16 vector (bytes, alone or in a list) as float32 [dim]."""
    data = value[0] if isinstance(value, list) and value and isinstance(value[0], bytes) else value
    return (np.frombuffer(data, dtype="<f2") if isinstance(data, bytes) else np.asarray(data)).astype(np.float32)


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    """Ids in pieces; pymilvus pastes them into an expression unescaped, so they must be hex."""
    for value in ids:
        if not _ID.fullmatch(value):
            raise ValueError(f"{value!r} can't be a media id: ids are lower-case hex")
    for start in range(0, len(ids), _IDS_A_CALL):
        yield list(ids[start : start + _IDS_A_CALL])
