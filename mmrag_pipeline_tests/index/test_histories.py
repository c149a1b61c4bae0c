"""Any history of drops, models, nights, failures and kills: what is live is the library, or what it was before."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect
from mmrag_pipeline.index.publish import publish, rollback
from mmrag_pipeline.index.rebuild import check_staged, stage
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.conftest import Writes
from mmrag_pipeline_tests.index.library import NOW, FakeDrop, FakeEncoder, Item

DROPS = ("bags__one", "lunar__two")
MODELS = (FakeEncoder(), FakeEncoder("other-0002", dim=32))
paths = st.sampled_from([f"{letter}.jpg" for letter in "abc"])
items = st.builds(Item, words=st.sampled_from(["red bag", "blue bag", "cape"]), sku=st.sampled_from(["", "S-1", "S-2"]))
edits = st.lists(st.tuples(paths, st.none() | items), max_size=3)
kills = st.sampled_from([None, None, None, *range(9)])
late_kills = st.sampled_from([None, None, None, *range(14)])  # a night that also catches up writes more often


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs."""


class Histories(RuleBasedStateMachine):
    """`drops` is the library, `live` the ids that must be live now."""

    config: MilvusConfig

    def __init__(self) -> None:
        super().__init__()
        self.drops = {key: FakeDrop(key, {}) for key in DROPS}
        self.encoder = MODELS[0]
        self.hour = 0
        self.live: set[str] = set()
        self.possible: tuple[set[str], set[str]] | None = None  # after a kill: at least these are live, at most those
        self.earlier: list[tuple[str, set[str]]] | None = []  # what was live before, newest last; None: not known

    def now(self):
        self.hour += 1
        return NOW + timedelta(hours=self.hour)

    def change(self, key, edits):
        """Add or replace items, delete those that are None; a rename is one of each."""
        for path, item in edits:
            self.drops[key] = self.drops[key].without(path)
            if item is not None:
                self.drops[key] = self.drops[key].add({path: item})

    @initialize()
    def two_drops_are_live(self):
        for key in DROPS:
            self.ingest(key, [(path, Item(f"red {path}")) for path in ("a.jpg", "b.jpg")], None)

    # what happens; `kill` is before which write the pipeline dies, if it comes so far

    @rule(key=st.sampled_from(DROPS), edits=edits)
    def change_without_ingesting(self, key, edits):
        self.change(key, edits)

    @rule(seldom=st.integers(0, 4))
    def another_model(self, seldom):
        if not seldom:
            self.encoder = MODELS[1 - MODELS.index(self.encoder)]

    @rule(key=st.sampled_from(DROPS), edits=edits, kill=kills)
    def ingest(self, key, edits, kill):
        self.change(key, edits)
        drop = self.drops[key]
        with connect(self.config) as milvus:
            fits = self.fits(milvus)
            live_ids_before = live_ids(milvus, key)
            others = live_ids(milvus) - live_ids_before

            def run():
                self.sync(milvus, key)

            if not fits:
                with pytest.raises(UserError, match="MMRAG_CLIP_MODEL"):
                    run()
            elif self.dies(milvus, run, kill):
                self.killed(others | (live_ids_before & drop.ids), others | live_ids_before | drop.ids)
            else:
                assert live_ids(milvus, key) == drop.ids
                self.is_live(others | drop.ids)

    @rule(key=st.sampled_from(DROPS), old=paths, new=paths, kill=kills)
    def rename(self, key, old, new, kill):
        item = self.drops[key].items.get(old)
        if item is not None and old != new:
            self.ingest(key, [(old, None), (new, item)], kill)

    @rule(key=st.sampled_from(DROPS))
    def deliver_again(self, key):
        self.ingest(key, [], None)
        with connect(self.config) as milvus:
            if self.fits(milvus):
                before_any_write = 0
                assert not self.dies(milvus, lambda: self.sync(milvus, key), before_any_write)

    @rule(mode=st.sampled_from(["auto", "rebuild", "reconcile"]), kill=kills, spoil=st.booleans())
    def night(self, mode, kill, spoil):
        self.reindex(mode, kill, spoil=spoil)

    @rule(mode=st.sampled_from(["auto", "rebuild"]), key=st.sampled_from(DROPS), edits=edits, kill=late_kills)
    def night_with_a_late_drop(self, mode, key, edits, kill):
        """The drop changes, and is ingested where its model is the live one, after staging and before publishing."""
        self.reindex(mode, kill, late=(key, edits))

    def reindex(self, mode, kill, *, spoil=False, late=None):
        sources = [drop.embedded_by(self.encoder).rows for drop in self.drops.values()]
        wanted = self.wanted()
        with connect(self.config) as milvus:
            before = at_last = live_ids(milvus)
            live, steps = milvus.live(), []

            def run():
                nonlocal live, at_last
                now = self.now()
                staged = stage(
                    milvus,
                    drops=sources,
                    fingerprint=self.encoder.fingerprint,
                    dim=self.encoder.dim,
                    now=now,
                    mode=mode,
                    allow_mass_deletion=True,
                )
                if spoil and not staged.is_live:
                    milvus.delete(staged.collection, [min(wanted)])
                    milvus.finish_writing(staged.collection)
                checks = check_staged(milvus, staged, sources, encode=self.encoder.encode_texts)
                if not all(check.passed for check in checks):
                    return
                steps.append("passed")
                changed = []
                if late is not None:
                    key, _ = late
                    self.change(*late)
                    steps.append("changed")
                    if self.fits(milvus):
                        self.sync(milvus, key)
                    changed = [self.drops[key].embedded_by(self.encoder).rows]
                live, at_last = milvus.live(), live_ids(milvus)
                publish(milvus, staged, late=lambda: changed, now=now, grace=timedelta(hours=2))

            try:
                killed = self.dies(milvus, run, kill)
            except UserError as error:  # said, and what is live is as it was
                if "changed" in steps:  # most of what was staged would go again
                    assert "after it was staged" in str(error) and 2 * len(wanted - self.wanted()) > len(wanted)
                else:  # nothing to index, or a collection that can't be reconciled
                    assert not wanted or mode == "reconcile"
                assert live_ids(milvus) == at_last
                self.is_live(at_last)
                return
            if killed:
                self.killed(before & wanted & self.wanted(), before | wanted | self.wanted())
                assert late or mode != "rebuild" or live_ids(milvus) in (before, wanted)
            elif steps:
                if live is not None and milvus.live().name != live.name and self.earlier is not None:
                    self.earlier.append((live.name, at_last))
                self.is_live(self.wanted())
            else:
                assert spoil and live_ids(milvus) == before

    @rule()
    def roll_back(self):
        with connect(self.config) as milvus:
            before, kept = live_ids(milvus), {info.name for info in milvus.collections()}
            try:
                rollback(milvus)
            except UserError as error:
                assert "no earlier collection" in str(error) and live_ids(milvus) == before
                assert not self.earlier or self.earlier[-1][0] not in kept
                return
            if self.earlier:
                name, ids = self.earlier.pop()
                assert (milvus.live().name, live_ids(milvus)) == (name, ids)
            else:
                assert self.earlier is None
            self.is_live(live_ids(milvus))

    def sync(self, milvus, key):
        drop = self.drops[key].embedded_by(self.encoder)
        sync_drop(
            milvus,
            drop=drop.drop,
            manifest=drop.manifest,
            vectors=drop.batches(),
            fingerprint=self.encoder.fingerprint,
            dim=self.encoder.dim,
            now=self.now(),
        )

    def fits(self, milvus):
        live = milvus.live()
        return live is None or live.fits(fingerprint=self.encoder.fingerprint, dim=self.encoder.dim)

    def wanted(self):
        return set().union(*(drop.ids for drop in self.drops.values()))

    def is_live(self, ids):
        self.live, self.possible = ids, None

    def killed(self, least, most):
        """What is live now is between these; which collections a rollback may find is not known any more."""
        self.possible, self.earlier = (least, most), None

    def dies(self, milvus: Milvus, run: Callable[[], None], kill: int | None) -> bool:
        """Run it; True if it was killed before its `kill`-th write."""
        call, left = milvus._call, kill

        def counting(action, method, *args, **options):
            nonlocal left
            if left is not None and method in Writes.METHODS:
                left -= 1
                if left < 0:
                    raise Killed(method)
            return call(action, method, *args, **options)

        milvus._call = counting
        try:
            run()
        except Killed:
            return True
        finally:
            del milvus._call
        return False

    @invariant()
    def what_is_live_is_known(self):
        with connect(self.config) as milvus:
            found = live_ids(milvus)
            assert len(milvus.collections()) <= 5  # what is spare goes
            if self.possible is None:
                assert found == self.live
            else:
                least, most = self.possible
                assert least <= found <= most

    def teardown(self) -> None:
        # after all that: a night without accidents puts everything right
        self.drops[DROPS[0]] = self.drops[DROPS[0]].add({"last.jpg": Item("last")})
        self.night(mode="auto", kill=None, spoil=False)
        with connect(self.config) as milvus:
            assert live_ids(milvus) == self.wanted()


@pytest.mark.slow
def test_what_is_live_is_the_library_or_what_it_was_before(milvus_config: MilvusConfig) -> None:
    folders = []

    def machine() -> Histories:
        history = Histories()
        if milvus_config.is_lite:
            folders.append(tempfile.mkdtemp())
            history.config = replace(milvus_config, uri=str(Path(folders[-1], "milvus.db")))
        else:
            history.config = replace(milvus_config, alias=f"t_{uuid.uuid4().hex[:12]}")
        return history

    few = {"max_examples": 40 if milvus_config.is_lite else 4, "stateful_step_count": 20}
    try:
        run_state_machine_as_test(
            machine, settings=settings(**few, deadline=None, suppress_health_check=list(HealthCheck))
        )
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
