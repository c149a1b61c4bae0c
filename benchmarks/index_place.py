"""Where the index room is measured: the packaged Milvus server (`milvus==2.3.5`), or a Milvus Lite file."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag_pipeline.index.layout import AUTO, FLOAT32, Layout, choose_layout
from mmrag_pipeline.index.milvus import Milvus, MilvusConfig

if TYPE_CHECKING:
    from pymilvus import MilvusClient

TIMEOUT_S = 120.0
"""For one request: a busy machine must not turn a slow answer into a retry."""


class NoServer(Exception):
    """Why there is no server to measure, in words that follow `Not measured:`."""


@dataclass(frozen=True)
class Place:
    """An address of Milvus, and who may use it."""

    uri: str
    token: str = field(default="", repr=False)

    def config(self, alias: str, *, import_folder: Path | None = None) -> MilvusConfig:
        """For our side."""
        return MilvusConfig(
            uri=self.uri,
            token=self.token or None,
            alias=alias,
            timeout_s=TIMEOUT_S,
            import_folder=str(import_folder) if import_folder else None,
        )

    def client(self) -> MilvusClient:
        """For a peer: pymilvus' own client, which also knows Lite files."""
        from pymilvus import MilvusClient

        return MilvusClient(self.uri, token=self.token, timeout=TIMEOUT_S)


def layout(rows: int) -> Layout:
    """What our code chooses for so many rows, for the other sides too."""
    return choose_layout(rows, index=AUTO, vectors=FLOAT32, server=None)


@contextlib.contextmanager
def server(data: Path) -> Iterator[Place]:
    """A fresh server in a temporary folder, on a free port and with a password of its own.

    Raises:
        NoServer: the package is not installed.
    """
    if importlib.util.find_spec("milvus") is None:
        raise NoServer("no Milvus server: the package milvus is not installed (pip install milvus==2.3.5)")
    from mmrag_pipeline_tests.integration.milvus_server import running_server

    with tempfile.TemporaryDirectory(dir=data, prefix="server-") as folder, running_server(Path(folder)) as running:
        yield Place(running.uri, running.token)


@contextlib.contextmanager
def lite(data: Path) -> Iterator[Place]:
    """A Lite file that does not exist yet, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=data, prefix="lite-") as folder:
        yield Place(str(Path(folder) / "milvus.db"))


def client_of(milvus: Milvus) -> MilvusClient:
    """The pymilvus client that our side uses, so that a raw call goes through the same channel."""
    return milvus._client
