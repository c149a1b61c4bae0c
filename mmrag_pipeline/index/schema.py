"""What a collection looks like: fields, limits, index, names, and the properties that say what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mmrag_pipeline.index.layout import FLOAT16, FLOAT32, Layout

if TYPE_CHECKING:
    from pymilvus import CollectionSchema

SCHEMA_VERSION = 2
METRIC = "COSINE"
STILL = -1  # `frame_ms` of a picture that isn't a video frame
LIBRARY = "library"
GENERATED = "generated"

MAX_BYTES = {
    "id": 64,
    "content_id": 96,
    "product_line": 128,
    "drop": 256,
    "path": 4096,
    "filename": 1024,
    "media_type": 16,
    "origin": 16,
    "sku": 256,
    "title": 1024,
}
"""VARCHAR fields and their bounds in UTF-8 bytes, as Milvus counts them."""
MAX_TAGS = 64
MAX_TAG_BYTES = 256
MAX_EXTRA_BYTES = 32_768
INT_FIELDS = ("frame_ms", "width", "height", "ingested_at", "row_digest")
WIDE_INT_FIELDS = ("frame_ms", "ingested_at", "row_digest")
"""Those of 64 bits; the others have 32."""

SCALAR_FIELDS = (*MAX_BYTES, *INT_FIELDS, "tags")
FIELDS = ("embedding", *SCALAR_FIELDS)
DIGEST = "row_digest"
"""The field that says what the others hold (see `digest.py`): comparing two rows needs no more."""
DYNAMIC = "$meta"

BUILDING, STAGED, PUBLISHED, WITHDRAWN = "building", "staged", "published", "withdrawn"
_PREFIX = "mmrag."


def build_schema(dim: int, layout: Layout) -> CollectionSchema:
    """`FIELDS`, with a vector of `dim` numbers, and a dynamic field for further catalogue columns."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_BYTES["id"])
    vector = DataType.FLOAT16_VECTOR if layout.vectors == FLOAT16 else DataType.FLOAT_VECTOR
    schema.add_field("embedding", vector, dim=dim)
    for name, limit in MAX_BYTES.items():
        if name != "id":
            parted = {"is_partition_key": True} if name == layout.partition_key else {}
            schema.add_field(name, DataType.VARCHAR, max_length=limit, **parted)
    for name in INT_FIELDS:
        schema.add_field(name, DataType.INT64 if name in WIDE_INT_FIELDS else DataType.INT32)
    schema.add_field(
        "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=MAX_TAGS, max_length=MAX_TAG_BYTES
    )
    return schema


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection says about itself in its properties.

    `state` is building, staged (built, not yet published), published, or withdrawn (rolled back from, or it did not
    answer); the next run removes all but published ones. Times are ISO 8601, `published_at` is "" until then.
    `builder` is a token of the run that fills it: who takes it over writes its own. `imported` is "yes" where bulk
    import was begun.
    """

    name: str
    alias: str
    fingerprint: str
    dim: int
    schema_version: int
    index: str
    state: str
    created_at: str
    published_at: str
    vectors: str = FLOAT32
    partition_key: str = ""
    builder: str = ""
    imported: str = ""

    @property
    def layout(self) -> Layout:
        return Layout(self.index, self.vectors, self.partition_key)

    def fits(self, *, fingerprint: str, dim: int) -> bool:
        """Whether rows of this model may be written to it or searched in it."""
        return (self.fingerprint, self.dim, self.schema_version) == (fingerprint, dim, SCHEMA_VERSION)

    def to_properties(self) -> dict[str, str]:
        values = {name: str(value) for name, value in vars(self).items() if name != "name"}
        return {_PREFIX + name: value for name, value in values.items()}

    @classmethod
    def from_properties(cls, name: str, properties: Mapping[str, Any]) -> CollectionInfo | None:
        """None when the collection isn't one of ours."""
        # Collections of earlier versions say nothing of what was added since: the defaults were the only choice.
        known = {field.name: field.default for field in fields(cls) if field.name != "name"}
        try:
            values: dict[str, Any] = {
                name: str(properties[_PREFIX + name] if default is MISSING else properties.get(_PREFIX + name, default))
                for name, default in known.items()
            }
            values |= {"dim": int(values["dim"]), "schema_version": int(values["schema_version"])}
        except (KeyError, ValueError):
            return None
        return cls(name=name, **values)


def collection_name(alias: str, fingerprint: str, now: datetime) -> str:
    """`<alias>_<8 hex of the fingerprint's hash>_<UTC stamp>`."""
    digest = hashlib.sha256(fingerprint.encode()).hexdigest()[:8]
    return f"{alias}_{digest}_{stamp(now)}"


def is_our_name(alias: str, name: str) -> bool:
    """Whether `collection_name` can have made this name for this alias (and not for a longer alias)."""
    return re.fullmatch(re.escape(alias) + r"_[0-9a-f]{8}_\d{8}T\d{6}(_\d+)?", name) is not None


def stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def cut(text: str, limit: int) -> str:
    """At most `limit` UTF-8 bytes of `text`, never half a character; NUL, which no filter can name, goes."""
    if text.isascii() and len(text) <= limit and "\0" not in text:
        return text
    data = text.replace("\0", "").encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore")
