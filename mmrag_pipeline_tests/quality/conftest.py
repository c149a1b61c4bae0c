"""A Milvus Lite file of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Milvus]:
    with connect(MilvusConfig(str(tmp_path / "store" / "milvus.db"), timeout_s=20, wait_s=5)) as milvus:
        yield milvus
