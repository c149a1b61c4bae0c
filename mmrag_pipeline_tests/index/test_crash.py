"""kill -9 and lost connections: the next run ends where an undisturbed one would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, stage
from mmrag_pipeline.index.schema import PUBLISHED
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.library import DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item
from mmrag_pipeline_tests.integration.milvus_server import running_server

REPOSITORY = Path(__file__).resolve().parents[2]
MANY = WATCHES.add({f"{number:04}.jpg": Item(f"thing {number}") for number in range(600)})

VICTIM = """
    import os, signal, sys
    from datetime import timedelta
    import mmrag_pipeline.index.columns as adapter
    from mmrag_pipeline.index.milvus import MilvusConfig, connect
    from mmrag_pipeline.index.rebuild import publish, stage
    from mmrag_pipeline.index.sync import sync_drop
    from mmrag_pipeline_tests.index.library import DIM, FINGERPRINT, NOW
    from mmrag_pipeline_tests.index.test_crash import MANY

    uri, token, alias, verb, method, number = sys.argv[1:]
    adapter._BATCH_ROWS = 100
    left = int(number)
    with connect(MilvusConfig(uri, token or None, alias=alias)) as milvus:
        call = milvus._call

        def dying(action, name, *args, **options):
            global left
            if name == method:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(action, name, *args, **options)

        milvus._call = dying
        model = {"fingerprint": FINGERPRINT, "dim": DIM, "now": NOW + timedelta(days=1)}
        if verb == "sync":
            sync_drop(milvus, drop=MANY.drop, manifest=MANY.manifest, vectors=MANY.batches(), **model)
        else:
            staged = stage(milvus, drops=[MANY.rows], **model)
            publish(milvus, staged, now=model["now"], keep=0, grace=timedelta(0))
"""


def die(config: MilvusConfig, verb: str, method: str, number: int) -> None:
    """Run the verb in another process and kill it before its `number`-th (from 0) call of `method`."""
    arguments = [config.uri, config.token or "", config.alias, verb, method, str(number)]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(VICTIM), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def ingest(milvus, drop):
    return sync_drop(
        milvus,
        drop=drop.drop,
        manifest=drop.manifest,
        vectors=drop.batches(),
        fingerprint=FINGERPRINT,
        dim=DIM,
        now=NOW,
    )


STEPS = [
    ("create_index", 0), ("load_collection", 0), ("insert", 3), ("flush", 0),
    ("alter_collection_properties", 0), ("alter_collection_properties", 1), ("alter_alias", 0),
    ("drop_collection", 0),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("method", "number"), STEPS)
def test_killed_while_reindexing(milvus_config, method, number):
    with connect(milvus_config) as milvus:
        ingest(milvus, WATCHES)
    die(milvus_config, "reindex", method, number)
    with connect(milvus_config) as milvus:
        swapped = method == "drop_collection"  # the last step
        assert live_ids(milvus) == (MANY.ids if swapped else WATCHES.ids)
        staged = stage(milvus, drops=[MANY.rows], fingerprint=FINGERPRINT, dim=DIM, now=NOW + timedelta(days=2))
        assert all(
            check.passed for check in check_staged(milvus, staged, [MANY.rows], encode=FakeEncoder().encode_texts)
        )
        publish(milvus, staged, keep=0, grace=timedelta(0), now=NOW + timedelta(days=2))
        assert live_ids(milvus) == MANY.ids
        assert [info.name for info in milvus.collections()] == [staged.collection]


@pytest.mark.parametrize(
    ("method", "number"),
    [
        ("upsert", 3),
        pytest.param("create_alias", 0, marks=pytest.mark.slow),
        pytest.param("alter_collection_properties", 0, marks=pytest.mark.slow),
    ],
)
def test_killed_while_ingesting_the_first_drop(milvus_config, method, number):
    die(milvus_config, "sync", method, number)
    with connect(milvus_config) as milvus:
        report = ingest(milvus, MANY)
        assert report.upserted == (304 if method == "upsert" else 604)
        assert live_ids(milvus) == MANY.ids and milvus.count(milvus.live().name) == 604
        assert milvus.live().state == PUBLISHED
        assert ingest(milvus, MANY).unchanged == 604


@pytest.mark.milvus_server
@pytest.mark.slow
def test_a_server_restarted_in_the_middle_of_a_sync(tmp_path, monkeypatch):
    """Short: the sync bridges it. Long: it ends in one sentence, and the next run completes."""
    monkeypatch.setattr("mmrag_pipeline.index.columns._BATCH_ROWS", 20)
    with running_server(tmp_path) as server:
        with connect(MilvusConfig(server.uri, server.token, timeout_s=120)) as milvus:
            ingest(milvus, WATCHES)
            call, calls, stopped = milvus._call, [], threading.Event()

            def interrupted(action, method, *args, **options):
                calls.append(method)
                if method == "upsert" and calls.count("upsert") == 3:
                    server.stop()
                    stopped.set()
                return call(action, method, *args, **options)

            monkeypatch.setattr(milvus, "_call", interrupted)
            with ThreadPoolExecutor(1) as pool:  # the server must start in this thread: it dies with its starter
                syncing = pool.submit(ingest, milvus, MANY)
                assert stopped.wait(60)
                server.start()
                assert syncing.result(180).upserted == 600
            monkeypatch.undo()
            assert live_ids(milvus) == MANY.ids and milvus.count(milvus.live().name) == 604

        more = MANY.add({f"more-{number}.jpg": Item(f"more {number}") for number in range(10)})
        with connect(MilvusConfig(server.uri, server.token, timeout_s=3)) as milvus:
            server.stop()
            started = time.monotonic()
            with pytest.raises(Unavailable, match=server.uri):
                ingest(milvus, more)
            assert time.monotonic() - started < 15
        server.start()
        with connect(MilvusConfig(server.uri, server.token, timeout_s=120)) as milvus:
            assert ingest(milvus, more).upserted == 10
            assert live_ids(milvus) == more.ids
