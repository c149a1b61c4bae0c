"""What a user of a server may do: nothing, only search, or all that the pipeline does; and what is said otherwise."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, rollback, stage
from mmrag_pipeline.index.schema import FIELDS
from mmrag_pipeline.index.search import SearchRequest, items, search
from mmrag_pipeline.index.status import live_ids, live_status
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.conftest import SERVER
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder
from mmrag_pipeline_tests.integration.milvus_server import running_server

on_the_server = pytest.mark.parametrize("milvus_config", [SERVER], indirect=True)

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "milvus.md"
READS = {"Global": ["DescribeAlias", "ListAliases"], "Collection": ["Load", "Query", "Search"]}
ALL = {
    "Global": ["DescribeAlias", "ListAliases", "CreateAlias", "CreateCollection", "DropCollection"],
    "Collection": ["CreateIndex", "Load", "Insert", "Upsert", "Delete", "Flush", "GetFlushState", "Query", "Search"],
}
IMPORTS = {"Collection": ["Import"]}
"""By kind of object: found by asking a 2.3.5 server again and again, which names what it refused. Everyone also has the
role `public`, which may describe and list collections."""
SOON_S = 90  # grants reach the proxies after a while


@pytest.fixture(scope="module")
def milvus_server(tmp_path_factory):
    """A server that has dropped nothing yet: 2.3.5 hands grants on in the queue of its dropped collections. After 40 of
    them a grant took 34 s, after the other tests of a session minutes.
    """
    with running_server(tmp_path_factory.mktemp("rights")) as server:
        yield server


@pytest.fixture
def root(milvus_server):
    from pymilvus import MilvusClient

    client = MilvusClient(milvus_server.uri, token=milvus_server.token, timeout=30, dedicated=True)
    yield client
    client.close()


@pytest.fixture
def user(milvus_server, root):
    """`user(rights, alias=...)`: a new user with just these rights, as the configuration of a pipeline."""
    made = []

    def make(rights, alias=None):
        name = f"u_{uuid.uuid4().hex[:8]}"
        password = f"secret-word-{secrets.token_hex(6)}"
        root.create_user(name, password)
        root.create_role(f"{name}_role")
        root.grant_role(name, f"{name}_role")
        grants = [(kind, right) for kind, names in rights.items() for right in names]
        for kind, right in grants:
            root.grant_privilege(f"{name}_role", kind, right, "*")
        made.append((name, grants))
        return MilvusConfig(milvus_server.uri, f"{name}:{password}", alias=alias or f"t_{name}", timeout_s=20)

    yield make
    for name, grants in made:
        for kind, right in grants:
            root.revoke_privilege(f"{name}_role", kind, right, "*")
        root.revoke_role(name, f"{name}_role")
        root.drop_role(f"{name}_role")
        root.drop_user(name)


def ingest(milvus, drop):
    options = {"fingerprint": FINGERPRINT, "dim": DIM, "now": NOW}
    return sync_drop(milvus, drop=drop.drop, manifest=drop.manifest, vectors=drop.batches(), **options)


def reindex(milvus, *drops, day=1):
    now = NOW + timedelta(days=day)
    sources = [drop.rows for drop in drops]
    staged = stage(milvus, drops=sources, fingerprint=FINGERPRINT, dim=DIM, now=now, mode="rebuild")
    checks = check_staged(milvus, staged, sources, encode=FakeEncoder().encode_texts)
    assert all(check.passed for check in checks)
    return publish(milvus, staged, keep=1, grace=timedelta(0), now=now)


def eventually(attempt, *, missing=None):
    """What `attempt` returns, tried again while a right has not arrived yet; that `missing` is missing is final."""
    started = time.monotonic()
    while True:
        try:
            return attempt()
        except UserError as error:
            final = missing and f"the privilege {missing} " in str(error)
            if final or "has no right" not in str(error) or time.monotonic() - started > SOON_S:
                raise
            time.sleep(0.5)


@contextmanager
def lacking(config, privilege):
    """The block is refused in one sentence that names the privilege, and no message has the password."""
    with pytest.raises(UserError) as refused:
        yield
    message = str(refused.value)
    assert not isinstance(refused.value, Unavailable) and "\n" not in message and message.endswith(".")
    assert "has no right to" in message and f"the privilege {privilege} " in message and config.uri in message
    _, password = config.token.split(":")
    chain = [refused.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    assert not any(password in f"{error} {error!r}" for error in chain)
    assert password not in repr(config)


@on_the_server
def test_a_user_without_rights_can_connect_but_neither_read_nor_write(user, milvus):
    nobody = user({}, alias=milvus.alias)
    ingest(milvus, WATCHES)
    live = milvus.live()
    (gold,) = milvus.get(live.name, [WATCHES.id_of("gold.jpg")], FIELDS).values()
    with connect(nobody) as theirs:
        assert nobody.token.split(":")[1] not in repr(theirs)
        with lacking(nobody, "DescribeAlias"):
            search(theirs, FakeEncoder(), SearchRequest(text="watch"))
        with lacking(nobody, "DescribeAlias"):
            ingest(theirs, BAGS)
        with lacking(nobody, "DescribeAlias"):
            reindex(theirs, WATCHES, BAGS)
        with lacking(nobody, "Query"):
            theirs._loaded.add(live.name)  # or it would have to load it first
            theirs.count(live.name)
        with lacking(nobody, "Upsert"):
            theirs.upsert(live.name, [gold | {"tags": [], "embedding": np.asarray(gold["embedding"], np.float32)}])
        with lacking(nobody, "Delete"):
            theirs.delete(live.name, [WATCHES.id_of("gold.jpg")])
        with lacking(nobody, "DropCollection"):
            theirs._call("drop a collection", "drop_collection", live.name)
    assert milvus.live() == live and live_ids(milvus) == WATCHES.ids


@on_the_server
def test_a_user_who_may_read_searches_and_changes_nothing(user, milvus):
    reader = user(READS, alias=milvus.alias)
    ingest(milvus, WATCHES)
    live = milvus.live()
    with connect(reader) as theirs:
        hits = eventually(lambda: search(theirs, FakeEncoder(), SearchRequest(text="golden watch")))
        assert hits[0].path == "gold.jpg"
        assert eventually(lambda: live_status(theirs)).rows == 4
        assert len(eventually(lambda: items(theirs, sku="L-1", limit=5))) == 2
        with lacking(reader, "Upsert"):
            ingest(theirs, WATCHES.add(BAGS.items))
        with lacking(reader, "Delete"):
            ingest(theirs, WATCHES.without("gold.jpg"))
        with lacking(reader, "CreateCollection"):
            reindex(theirs, WATCHES, BAGS)
    assert milvus.live() == live and live_ids(milvus) == WATCHES.ids


@on_the_server
def test_a_user_with_the_documented_rights_ingests_reindexes_and_searches(user, milvus):
    worker = user(ALL, alias=milvus.alias)
    with connect(worker) as theirs:
        eventually(lambda: ingest(theirs, WATCHES))
        eventually(lambda: ingest(theirs, BAGS))
        made = [eventually(lambda day=day: reindex(theirs, WATCHES, BAGS, day=day)) for day in (1, 2)]
        assert all(each.swapped for each in made) and made[-1].dropped
        assert ingest(theirs, WATCHES.without("gold.jpg")).deleted == 1
        assert rollback(theirs).swapped
        assert search(theirs, FakeEncoder(), SearchRequest(text="golden watch", k=1))[0].path == "gold.jpg"
        assert live_ids(theirs) == WATCHES.ids | BAGS.ids


@on_the_server
def test_bulk_import_needs_one_right_more(user, milvus, tmp_path):
    worker = replace(user(ALL, alias=milvus.alias), import_folder=str(tmp_path / "import"))
    with connect(worker) as theirs, lacking(worker, "Import"):
        eventually(lambda: reindex(theirs, WATCHES), missing="Import")
    rights = {"Global": ALL["Global"], "Collection": ALL["Collection"] + IMPORTS["Collection"]}
    worker = replace(user(rights, alias=milvus.alias), import_folder=str(tmp_path / "import"))
    with connect(worker) as theirs:
        assert eventually(lambda: reindex(theirs, WATCHES, BAGS)).swapped
        assert live_ids(theirs) == WATCHES.ids | BAGS.ids


def test_the_rights_are_documented():
    (listed,) = re.findall(r"^\| \*bulk import\*, besides \|(.*)\|$", DOCUMENTED.read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", listed)) == {right for names in IMPORTS.values() for right in names}
    (listed,) = re.findall(r"^\| \*all\* \|(.*)\|$", DOCUMENTED.read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", listed)) == {right for names in ALL.values() for right in names}
    (listed,) = re.findall(r"^\| \*search\* \|(.*)\|$", DOCUMENTED.read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", listed)) == {right for names in READS.values() for right in names}
