"""Opening and leaving Milvus: who may hold the file, and what is said when it can't be opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES

REPOSITORY = Path(__file__).resolve().parents[2]


def python(code: str, *, env: dict[str, str] | None = None, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | (env or {}),
        **options,
    )


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


def holder(path: str, seconds: float) -> subprocess.Popen:
    """Another process that has the Lite file open, and says so."""
    process = python(
        f"""
        import time
        from mmrag_pipeline.index.milvus import MilvusConfig, connect
        with connect(MilvusConfig({path!r})):
            print("open", flush=True)
            time.sleep({seconds})
        """
    )
    assert process.stdout.readline() == "open\n", process.stderr.read()
    return process


def test_what_was_written_is_there_after_reopening(milvus_config):
    with connect(milvus_config) as milvus:
        ingest(milvus, WATCHES)
    with connect(milvus_config) as milvus:
        assert live_ids(milvus) == WATCHES.ids
        assert ingest(milvus, WATCHES).unchanged == 4


def test_the_file_is_free_for_another_process_after_the_block(lite_config):
    with connect(lite_config) as milvus:
        ingest(milvus, WATCHES)
    other = holder(lite_config.uri, 0)
    assert other.wait(30) == 0, other.stderr.read()


def test_nested_and_threaded_users_share_the_file(lite_config):
    errors = []

    def use(drop):
        try:
            with connect(lite_config) as outer, connect(lite_config) as inner:
                ingest(inner, drop)
                assert drop.ids <= live_ids(outer)
        except BaseException as error:
            errors.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=use, args=(drop,)) for drop in (WATCHES, BAGS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    with connect(lite_config) as milvus:
        assert live_ids(milvus) == WATCHES.ids | BAGS.ids
        assert len(milvus.collections()) == 1
    holder(lite_config.uri, 0).wait(30)


def test_a_file_held_elsewhere_is_waited_for(lite_config):
    other = holder(lite_config.uri, 1.5)
    with connect(replace(lite_config, wait_s=30)) as milvus:
        assert milvus.live() is None
    other.wait(30)


def test_a_file_held_for_too_long_is_named_with_its_holder(lite_config):
    other = holder(lite_config.uri, 60)
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable) as refused, connect(replace(lite_config, wait_s=0.5)):
            pass
        assert time.monotonic() - started < 5
        message = str(refused.value)
        assert lite_config.uri in message and "held by another process" in message and "\n" not in message
        if sys.platform == "linux":
            assert f"process {other.pid}" in message
    finally:
        other.kill()
        other.wait()
    with connect(lite_config) as milvus:
        assert milvus.live() is None


def test_links_to_one_file_are_one_file(lite_config, tmp_path):
    with connect(lite_config) as milvus:
        ingest(milvus, WATCHES)
        link = tmp_path / "link.db"
        link.symlink_to(lite_config.uri)
        with connect(replace(lite_config, uri=str(link))) as other:
            assert live_ids(other) == WATCHES.ids


def test_a_file_of_an_old_milvus_lite_is_named(tmp_path):
    old = tmp_path / "milvus.db"
    old.write_bytes(b"SQLite format 3\0")
    with (
        pytest.raises(UserError, match=r"milvus\.db is not a Milvus Lite database"),
        connect(MilvusConfig(str(old))),
    ):
        pass
    assert old.read_bytes() == b"SQLite format 3\0"


@pytest.mark.parametrize("uri", ["milvus", "s3://bucket/milvus.db", "tcp://x:1", "http://", "http:///x", ""])
def test_addresses_that_can_not_be_one(uri):
    with pytest.raises(UserError, match="MMRAG_MILVUS_URI"), connect(MilvusConfig(uri)):
        pass


@pytest.mark.parametrize("alias", ["", "1st", "has-hyphen", "a b", "x" * 300])
def test_aliases_that_can_not_be_one(tmp_path, alias):
    with (
        pytest.raises(UserError, match="MMRAG_MILVUS_ALIAS"),
        connect(MilvusConfig(str(tmp_path / "m.db"), alias=alias)),
    ):
        pass


def test_a_server_that_is_down_is_named_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with (
        pytest.raises(Unavailable, match=address),
        connect(MilvusConfig(address, "u:secret-word", timeout_s=3)),
    ):
        pass
    assert time.monotonic() - started < 3


def test_a_server_that_says_nothing_is_given_up_within_the_timeout():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable, match=address), connect(MilvusConfig(address, timeout_s=1)):
            pass
        assert time.monotonic() - started < 4


@pytest.mark.milvus_server
@pytest.mark.slow
@pytest.mark.parametrize("token", ["root:secret-word", "nobody:secret-word", "", None])
def test_a_wrong_token_is_told_from_a_server_that_is_down(milvus_server, token):
    with (
        pytest.raises(UserError, match="MMRAG_MILVUS_TOKEN") as refused,
        connect(MilvusConfig(milvus_server.uri, token)),
    ):
        pass
    assert not isinstance(refused.value, Unavailable)
    assert milvus_server.uri in str(refused.value) and "secret-word" not in str(refused.value)


def test_the_token_is_in_no_repr(tmp_path):
    assert "secret-word" not in repr(MilvusConfig("http://host:19530", "root:secret-word"))
    with connect(MilvusConfig(str(tmp_path / "m.db"), "root:secret-word")) as milvus:
        assert "secret-word" not in repr(milvus)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with (
        pytest.raises(UserError, match="MMRAG_MILVUS_TOKEN") as refused,
        connect(MilvusConfig("https://u:secret-word@h")),
    ):
        pass
    assert "secret-word" not in str(refused.value)


def test_failures_print_no_traceback_and_the_environment_is_left_alone(tmp_path):
    """pymilvus logs tracebacks, reads .env, and can't be imported when MILVUS_URI is a path."""
    (tmp_path / ".env").write_text("FROM_DOTENV=1\n")
    process = python(
        """
        import os
        from mmrag_pipeline.errors import Unavailable
        from mmrag_pipeline.index.milvus import MilvusConfig, connect
        try:
            with connect(MilvusConfig("http://127.0.0.1:9", timeout_s=2)):
                pass
        except Unavailable as error:
            print(error)
        assert os.environ["MILVUS_URI"] == "./x.db" and "PYTHON_DOTENV_DISABLED" not in os.environ
        assert "FROM_DOTENV" not in os.environ
        """,
        env={"MILVUS_URI": "./x.db"},
        cwd=tmp_path,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("Milvus at http://127.0.0.1:9 does not answer") and err == ""


def test_ids_that_are_not_hex_never_reach_an_expression(lite_config):
    with connect(lite_config) as milvus:
        ingest(milvus, WATCHES)
        live = milvus.live().name
        for bad in ('x"] or id != ["', "ABC", ""):
            with pytest.raises(ValueError, match="hex"):
                milvus.delete(live, [bad])
            with pytest.raises(ValueError, match="hex"):
                milvus.get(live, [bad], ["path"])
        assert live_ids(milvus) == WATCHES.ids


def test_importing_the_room_loads_no_pymilvus():
    process = python(
        """
        import sys
        import mmrag_pipeline.index.rebuild, mmrag_pipeline.index.search, mmrag_pipeline.index.status
        heavy = {"pymilvus", "milvus_lite", "grpc", "torch"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    assert process.wait(60) == 0, process.stderr.read()


def test_a_finished_write_is_read_by_another_connection_at_once(milvus_config):
    """pymilvus's iterators ignore the consistency level they are given; ours must not miss rows."""
    with connect(milvus_config) as writer, connect(milvus_config) as reader:
        live = ingest(writer, WATCHES).collection
        rows = writer.get(live, [WATCHES.id_of("gold.jpg")], ["*"])
        gold = rows[WATCHES.id_of("gold.jpg")]
        for number in range(3):
            copy = gold | {"id": f"{number:032x}", "path": f"copy-{number}.jpg"}
            writer.upsert(live, [copy | {"embedding": np.asarray(gold["embedding"], np.float32)}])
            assert copy["id"] in live_ids(reader)
            assert reader.count(live) == 5 + number


def test_an_alias_that_starts_like_another_one_owns_only_its_collections(lite_config):
    with connect(lite_config) as longer:
        ingest(longer, WATCHES)
        with connect(replace(lite_config, alias="media")) as milvus:
            assert milvus.live() is None and milvus.collections() == []
            with pytest.raises(ValueError, match="not made by this pipeline"):
                milvus.drop(longer.live().name)
