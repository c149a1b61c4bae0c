"""Groups of pictures that show the same thing in the same way, over the whole library.

Two pictures are one group where their looks agree (`media.likeness`: encoded again, resized, mirrored), or where their
perceptual hashes and colours are near (`media.phash`: the prefilter) and the model gives them nearly the same vector.
Groups are the connected components of these pairs. Nothing is removed: search and references use one of each.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
import pyarrow as pa

from mmrag_pipeline.index.copies import NO_COPIES, Copies
from mmrag_pipeline.media.likeness import near_duplicates
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.media.phash import like_pairs
from mmrag_pipeline.store import Damaged, Store, whole_table, write_table

LEAST_COSINE = 0.95
"""Of two copies: encoded again they have 0.96 and more, cropped by 2% at each side 0.97; two views of a vase had 0.96
and are told apart by the prefilter.
"""
SCHEMA = pa.schema(
    [
        pa.field("group", pa.string(), nullable=False),
        pa.field("keeper", pa.bool_(), nullable=False),
        pa.field("drop", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("media_id", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("cosine", pa.float32(), nullable=False),
    ]
)
"""One row a picture that has near-duplicates; `cosine` is to its group's keeper. Sorted by group, keepers first."""
_COLUMNS = ["path", "media_id", "content_id", "media_type", "frame_ms", "status", "look", "width", "height", "bytes"]
_MADE_OF = b"mmrag.made_of"
_VERSION = 1  # raise it when the same library would now give other groups

Vectors = Callable[[Sequence[str]], np.ndarray]
"""float32 [n, dim] of sorted content ids; NaN where one is not embedded."""


def find_near_duplicates(
    manifests: Mapping[str, pa.Table], vectors: Vectors, *, before: pa.Table | None = None, made_of: str = ""
) -> pa.Table:
    """The groups of a library, as a table of `SCHEMA`.

    Of a group the picture with the most pixels is the keeper, of equals the one with the most bytes, then the first by
    place. A group keeps its id from `before` for as long as it keeps most of its pictures. A table for
    which a vector was missing is `made_of` nothing that will be asked for.
    """
    items: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in _stills(manifests):
        items[item["content_id"]].append(item)
    contents = sorted(items)
    looks = [items[content_id][0]["look"] or b"" for content_id in contents]
    sizes = [_pixels(items[content_id][0]) for content_id in contents]
    certain = near_duplicates(looks, sizes)
    asked = sorted({index for pair in chain(certain.items(), like_pairs(looks)) for index in pair})
    position = {contents[index]: at for at, index in enumerate(asked)}
    known = vectors(list(position)) if asked else np.empty((0, 1), dtype=np.float32)
    if np.isnan(known).any():
        made_of = f"{_VERSION} incomplete"  # a drop lacks vectors: looked for again next time
    same = [(position[contents[copy]], position[contents[keeper]]) for copy, keeper in certain.items()]
    components = _components(same, like_pairs([looks[index] for index in asked]), known)
    groups = [{contents[asked[at]] for at in component} for component in components]
    grouped = set().union(*groups)
    groups += [{content_id} for content_id in contents if len(items[content_id]) > 1 and content_id not in grouped]

    rows = []
    for group_id, group in zip(_stable_ids(groups, before), groups, strict=True):
        members = [item for content_id in group for item in items[content_id]]
        members.sort(key=lambda item: (-_pixels(item), -item["bytes"], item["drop"], item["path"]))
        keeper = members[0]["content_id"]
        for item in members:
            same = item["content_id"] == keeper
            cosine = 1.0 if same else float(known[position[item["content_id"]]] @ known[position[keeper]])
            columns = {name: item[name] for name in SCHEMA.names if name in item}
            rows.append(columns | {"group": group_id, "keeper": same, "cosine": cosine})
    rows.sort(key=lambda item: (item["group"], not item["keeper"], item["drop"], item["path"]))
    schema = SCHEMA.with_metadata({_MADE_OF: made_of.encode()})
    return pa.Table.from_pylist(rows, schema)


class NearDuplicateStore:
    """`quality/near_duplicates.parquet` in the store."""

    def __init__(self, store: Store):
        self.path = store.root / "quality" / "near_duplicates.parquet"

    def read(self) -> pa.Table | None:
        """The groups; None when they were never looked for, by another version of this program, or are damaged."""
        try:
            table = whole_table(self.path)
        except (FileNotFoundError, Damaged):
            return None
        return table if table.schema.equals(SCHEMA) else None

    def write(self, table: pa.Table) -> None:
        write_table(self.path, table)

    def copies(self) -> Copies:
        """What a search leaves out; nothing before groups were first looked for."""
        table = self.read()
        if table is None:
            return NO_COPIES
        contents = table["content_id"].to_pylist()
        keepers = table.filter(table["keeper"])["content_id"].to_pylist()
        return Copies(dict(zip(contents, table["group"].to_pylist(), strict=True)), frozenset(keepers))


def made_of(library: str, fingerprint: str) -> str:
    """What groups depend on: a hash of the manifests, the model, and this program's rules."""
    return f"{_VERSION} {library} {fingerprint}"


def is_made_of(table: pa.Table | None, what: str) -> bool:
    return table is not None and (table.schema.metadata or {}).get(_MADE_OF) == what.encode()


def _stills(manifests: Mapping[str, pa.Table]) -> Iterator[dict[str, Any]]:
    for drop in sorted(manifests):
        if generated_in(manifests[drop]) is None:
            for row in manifests[drop].select([*_COLUMNS, "title"]).to_pylist():
                if row["status"] == "ok" and row["media_type"] == "image" and row["frame_ms"] is None:
                    yield row | {"drop": drop}


def _pixels(item: Mapping[str, Any]) -> int:
    return item["width"] * item["height"]


def _components(
    same: Iterable[tuple[int, int]], candidates: Iterable[tuple[int, int]], known: np.ndarray
) -> list[list[int]]:
    """Rows of `known` that belong together: those of `same`, and candidates of nearly the same vector.

    A family of look-alikes has as many pairs as the square of its size: none is kept.
    """
    from networkx.utils import UnionFind  # a fifth of a second that a night without changes does without

    found = UnionFind(range(len(known)))
    for one, other in same:
        found.union(one, other)
    for one, other in candidates:
        if found[one] != found[other] and float(known[one] @ known[other]) >= LEAST_COSINE:
            found.union(one, other)
    return sorted(sorted(group) for group in found.to_sets() if len(group) > 1)


def _stable_ids(groups: Sequence[set[str]], before: pa.Table | None) -> list[str]:
    """An id for each group: that of the group before which it shares most with, if no other shares more."""
    earlier: dict[str, str] = {}
    if before is not None:
        earlier = dict(zip(before["content_id"].to_pylist(), before["group"].to_pylist(), strict=True))
    shared = [
        (-shares, group_id, at)
        for at, group in enumerate(groups)
        for group_id, shares in Counter(earlier[each] for each in group if each in earlier).items()
    ]
    ids: dict[int, str] = {}
    taken: set[str] = set()
    for _, group_id, at in sorted(shared):
        if at not in ids and group_id not in taken:
            ids[at] = group_id
            taken.add(group_id)
    for at, group in enumerate(groups):
        if at not in ids:
            names = (hashlib.sha256(f"{min(group)}{number or ''}".encode()).hexdigest()[:12] for number in count())
            ids[at] = next(name for name in names if name not in taken)
            taken.add(ids[at])
    return [ids[at] for at in range(len(groups))]
