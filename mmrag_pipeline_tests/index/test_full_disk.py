"""A Milvus Lite file on a disk that is full: one sentence, and with room again the same rows as ever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline_tests.index.library import WATCHES
from mmrag_pipeline_tests.index.test_crash import MANY, REPOSITORY, ingest
from mmrag_pipeline_tests.integration.small_disk import SmallDisk

VICTIM = """
    import sys
    from mmrag_pipeline.errors import UserError
    from mmrag_pipeline.index.milvus import MilvusConfig, connect
    from mmrag_pipeline_tests.index.test_crash import MANY, ingest

    try:
        with connect(MilvusConfig(sys.argv[1])) as milvus:
            ingest(milvus, MANY)
    except UserError as error:
        sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("room", "action"), [(8192, "write rows"), (300_000, "flush")])
def test_full_while_a_drop_is_ingested(disk: SmallDisk, room: int, action: str) -> None:
    config = MilvusConfig(str(disk.folder / "milvus.db"))
    with connect(config) as milvus:
        ingest(milvus, WATCHES)
    disk.fill(leave=room)
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(VICTIM), config.uri],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    sentence = f"Milvus at {config.uri} has no space left on its disk to {action}: make room there"
    assert ended.returncode == 1 and sentence in ended.stderr
    with connect(config) as milvus:
        assert WATCHES.ids <= live_ids(milvus)  # what was live is found on a full disk too
    disk.make_room()
    with connect(config) as milvus:
        ingest(milvus, MANY)
        assert live_ids(milvus) == MANY.ids and milvus.count(milvus.live().name) == len(MANY.ids)
