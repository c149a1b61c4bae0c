"""Half a minute of searches while collections are swapped and a drop is ingested: no error, and no mixture."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, stage
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.library import DIM, FINGERPRINT, NOW, FakeDrop, FakeEncoder, Item

SECONDS = 30.0
EACH_S = 6.0  # a swap, or the drop, begins no sooner after the last
PAUSE_S = 0.01  # between two searches of one searcher: the swaps share its cores
PICTURES = 200
SEEN = 40  # of them in an answer
ENCODER = FakeEncoder()
Answer = frozenset[tuple[str, str]]
"""(path, title) of what was found; the title says the generation."""


def pictures(generation: int) -> FakeDrop:
    """The same paths and pictures in each generation, but for one that only this one has; the titles differ."""
    names = [f"{number:03}" for number in range(PICTURES - 1)] + [f"only-{generation}"]
    title = f"generation {generation}"
    return FakeDrop("bags__many", {f"{name}.jpg": Item(f"bag {name}", title=title) for name in names})


def extra(generation: int) -> FakeDrop:
    title = f"generation {generation}"
    return FakeDrop("capes__more", {f"{number}.jpg": Item(f"bag cape {number}", title=title) for number in range(20)})


@dataclass
class Watched:
    """What one searcher saw: its times, its distinct answers, its generations in order, its errors.

    Generations by search and through the alias: a search may go to what was live up to a second ago.
    """

    seconds: list[float] = field(default_factory=list)
    answers: set[Answer] = field(default_factory=set)
    generations: list[str] = field(default_factory=list)
    through_alias: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def keep_searching(config: MilvusConfig, stop: Path) -> Watched:
    """Search until there is a file `stop`, on a connection of one's own."""
    watched = Watched()
    requests = [
        SearchRequest(text="bag", k=SEEN),
        SearchRequest(text="bag cape", k=SEEN, where=Filter(product_line="bags")),
        SearchRequest(text="bag", k=SEEN, offset=7, diversity=0.3),
    ]
    vector = ENCODER.encode_texts(["bag"])[0]
    with connect(config) as milvus:
        number = 0
        while not stop.exists():
            started = time.monotonic()
            try:
                found = ask(milvus, requests, vector, number)
                watched.seconds.append(time.monotonic() - started)
            except Exception as error:
                watched.errors.append(f"{type(error).__name__}: {error}")
                continue
            finally:
                number += 1
            watched.answers.add(found)
            generation = min((title for _, title in found), default="nothing")
            seen = watched.through_alias if number % (len(requests) + 1) == 0 else watched.generations
            if [generation] != seen[-1:]:
                seen.append(generation)
            time.sleep(PAUSE_S)
    return watched


def ask(milvus: Milvus, requests: list[SearchRequest], vector: np.ndarray, number: int) -> Answer:
    """One after the other each request, and one straight through the alias."""
    which = number % (len(requests) + 1)
    if which < len(requests):
        return frozenset((hit.path, hit.title) for hit in search(milvus, ENCODER, requests[which]))
    rows = milvus.search(milvus.alias, vector, limit=SEEN, fields=("path", "title"))
    return frozenset((row["path"], row["title"]) for _, _, row in rows)


@pytest.mark.slow
def test_half_a_minute_of_searches_through_three_swaps_and_a_drop(milvus_config, milvus, tmp_path, record_property):
    model = {"fingerprint": FINGERPRINT, "dim": DIM}

    def ingest(drop: FakeDrop) -> None:
        sync_drop(milvus, drop=drop.drop, manifest=drop.manifest, vectors=drop.batches(50), now=NOW, **model)

    def swap(generation: int, *drops: FakeDrop) -> None:
        now = NOW + timedelta(days=generation)
        sources = [drop.rows for drop in drops]
        staged = stage(milvus, drops=sources, now=now, mode="rebuild", **model)
        assert all(check.passed for check in check_staged(milvus, staged, sources, encode=ENCODER.encode_texts))
        published = publish(milvus, staged, now=now, keep=1, grace=timedelta(0))
        assert published.swapped and len(published.dropped) == (generation > 1)

    ingest(pictures(0))
    steps = [
        lambda: swap(1, pictures(1)),
        lambda: swap(2, pictures(2)),
        lambda: ingest(extra(2)),
        lambda: swap(3, pictures(3), extra(3)),
    ]
    stop = tmp_path / "stop"
    with ExitStack() as pools:
        threads = pools.enter_context(ThreadPoolExecutor(4))
        submit = [threads.submit] * 4
        if not milvus_config.is_lite:  # its file belongs to one process
            processes = pools.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            processes.submit(keep_searching, milvus_config, tmp_path).result()  # now it has imported what it needs
            submit.append(processes.submit)
        start = time.monotonic()
        searching = [each(keep_searching, milvus_config, stop) for each in submit]
        pools.callback(stop.touch)  # also where a step fails: the pools wait for their searchers
        for number, step in enumerate(steps):
            time.sleep(max(0.0, start + 1 + number * EACH_S - time.monotonic()))
            step()
        time.sleep(max(1.0, start + SECONDS - time.monotonic()))
        stop.touch()
        watched = [each.result() for each in searching]

    assert live_ids(milvus) == pictures(3).ids | extra(3).ids
    assert [error for each in watched for error in each.errors] == []
    allowed = [of_generation(pictures(number), *([extra(number)] * (number >= 2))) for number in range(4)]
    for each in watched:
        assert all(len(answer) == SEEN and any(answer <= these for these in allowed) for answer in each.answers)
        assert each.generations == sorted(each.generations) and len(each.generations) == 4
        assert each.through_alias == sorted(each.through_alias) and each.through_alias
    seconds = np.concatenate([each.seconds for each in watched])
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    told = f"{len(seconds)} searches by {len(watched)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {seconds.max():.2f} s"
    record_property("searches", told)
    print(told)


def of_generation(*drops: FakeDrop) -> Answer:
    return frozenset((path, item.title) for drop in drops for path, item in drop.items.items())
