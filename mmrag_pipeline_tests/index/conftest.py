"""Every test of this room that takes `milvus_config` runs on Milvus Lite and on the packaged server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect
from mmrag_pipeline.index.sync import SyncReport, sync_drop
from mmrag_pipeline_tests.index.library import DIM, FINGERPRINT, NOW, FakeDrop
from mmrag_pipeline_tests.integration.milvus_server import milvus_server  # noqa: F401 - a fixture

SERVER = pytest.param("server", marks=[pytest.mark.milvus_server, pytest.mark.slow])


@pytest.fixture
def lite_config(tmp_path: Path) -> MilvusConfig:
    return MilvusConfig(str(tmp_path / "store" / "milvus.db"), timeout_s=20, wait_s=5)


@pytest.fixture(params=["lite", SERVER])
def milvus_config(request: pytest.FixtureRequest) -> Iterator[MilvusConfig]:
    if request.param == "lite":
        yield request.getfixturevalue("lite_config")
        return
    server = request.getfixturevalue("milvus_server")
    config = MilvusConfig(server.uri, server.token, alias=f"t_{uuid.uuid4().hex[:12]}", timeout_s=60)
    yield config
    with connect(config) as milvus:
        if milvus.alias_target():
            milvus._client.drop_alias(milvus.alias)
        for info in milvus.collections():
            milvus.drop(info.name)


@pytest.fixture
def milvus(milvus_config: MilvusConfig) -> Iterator[Milvus]:
    with connect(milvus_config) as milvus:
        yield milvus


@pytest.fixture
def sync(milvus: Milvus) -> Callable[..., SyncReport]:
    """`sync(drop)`: bring a fake drop live."""

    def run(drop: FakeDrop, *, now=NOW, **changes) -> SyncReport:
        arguments = {
            "drop": drop.drop,
            "manifest": drop.manifest,
            "vectors": drop.batches(),
            "fingerprint": FINGERPRINT,
            "dim": DIM,
            "now": now,
        }
        return sync_drop(milvus, **(arguments | changes))

    return run


class Writes:
    """Names of the pymilvus calls that change something, as they were made."""

    METHODS = frozenset(
        "upsert insert delete flush create_collection drop_collection create_index "
        "alter_collection_properties create_alias alter_alias drop_alias".split()
    )

    def __init__(self) -> None:
        self.calls: list[str] = []


@pytest.fixture
def writes(milvus: Milvus, monkeypatch: pytest.MonkeyPatch) -> Writes:
    """Listens to the adapter; the calls still go through."""
    seen = Writes()
    call = milvus._call

    def listening(action: str, method: str, *args, **options):
        if method in Writes.METHODS:
            seen.calls.append(method)
        return call(action, method, *args, **options)

    monkeypatch.setattr(milvus, "_call", listening)
    return seen
