"""Where Milvus is and how collections are laid out there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.layout import AUTO, FLOAT32, INDEXES

_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


@dataclass(frozen=True)
class MilvusConfig:
    """Where Milvus is. `uri`: http(s)://host:port of a server, or a local path ending in .db for Milvus Lite.

    `timeout_s` bounds one request to a server; `wait_s` bounds the wait for a Lite file that another process holds.
    `index` is `auto` or a key of `INDEXES`, `vectors` float32 or float16; a change of either is made by the next
    reindex. `import_folder` (a path or fsspec URI) is where a server reads its bulk imports from; None: rows are
    streamed to it.
    """

    uri: str
    token: str | None = field(default=None, repr=False)
    alias: str = "media_live"
    timeout_s: float = 30.0
    wait_s: float = 60.0
    index: str = AUTO
    vectors: str = FLOAT32
    import_folder: str | None = None

    @property
    def is_lite(self) -> bool:
        return self.uri.endswith(".db") and "://" not in self.uri

    def check(self) -> None:
        """Raises UserError: something in it can't be."""
        parts = urlsplit(self.uri)
        if not self.is_lite and not (parts.scheme in ("http", "https") and parts.hostname):
            raise UserError(
                f"MMRAG_MILVUS_URI={_without_password(self.uri)!r} is not an address of Milvus: give "
                f"http(s)://host:port of a server, or a local path ending in .db for Milvus Lite."
            )
        if not self.is_lite and parts.username is not None:
            raise UserError(
                f"MMRAG_MILVUS_URI={_without_password(self.uri)} holds a user or password, which logs would "
                f"show: move it to MMRAG_MILVUS_TOKEN as user:password."
            )
        if not _ALIAS.fullmatch(self.alias):
            raise UserError(
                f"MMRAG_MILVUS_ALIAS={self.alias!r} can't be an alias: use letters, digits and underscores, "
                f"not starting with a digit."
            )
        if self.is_lite and self.vectors != FLOAT32:
            raise UserError(
                f"MMRAG_MILVUS_VECTORS={self.vectors} needs a Milvus server, Milvus Lite keeps float32 only: unset it, "
                f"or set MMRAG_MILVUS_URI to a server."
            )
        if self.import_folder and (self.is_lite or self.vectors != FLOAT32):
            raise UserError(
                f"MMRAG_MILVUS_IMPORT={_without_password(self.import_folder)} needs a Milvus server and float32 "
                f"vectors: unset it, and rows are streamed."
            )
        if self.index != AUTO and self.index not in INDEXES:
            raise UserError(f"MMRAG_MILVUS_INDEX={self.index} is no index: choose auto, {', '.join(INDEXES)}.")
        if self.is_lite and self.index != AUTO and not INDEXES[self.index].on_lite:
            raise UserError(
                f"MMRAG_MILVUS_INDEX={self.index} needs a Milvus server: unset it, or set MMRAG_MILVUS_URI to a server."
            )


def _without_password(uri: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", uri)
