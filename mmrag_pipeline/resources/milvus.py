"""Milvus as a Dagster resource: connections are short-lived, because a Milvus Lite file has one owner at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager

import dagster as dg
from pydantic import Field

from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect


class MilvusResource(dg.ConfigurableResource):
    """Milvus Lite (a path ending in .db) or a Milvus server (http[s]://host:port)."""

    uri: str = Field(description="Path of a Milvus Lite file, or address of a server.")
    token: str | None = Field(None, repr=False, description="user:password or API key; from MMRAG_MILVUS_TOKEN only.")
    alias: str = Field("media_live", description="Alias of the live collection.")
    timeout_s: float = Field(30.0, description="Seconds one request may take.")
    wait_s: float = Field(60.0, description="Seconds to wait for a Milvus Lite file held by another process.")
    index: str = Field("auto", description="Index of new collections, or auto.")
    vectors: str = Field("float32", description="float32, or on a server float16.")
    import_folder: str | None = Field(None, description="Where a server reads bulk imports from.")

    def connect(self) -> AbstractContextManager[Milvus]:
        """A connection for the length of one `with` block.

        Raises:
            UserError: no answer, wrong token, or the file is held by another process.
        """
        return connect(
            MilvusConfig(
                uri=self.uri,
                token=self.token,
                alias=self.alias,
                timeout_s=self.timeout_s,
                wait_s=self.wait_s,
                index=self.index,
                vectors=self.vectors,
                import_folder=self.import_folder,
            )
        )
