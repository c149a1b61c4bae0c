"""Calls in threads, a few ahead of whoever takes their results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(call: Callable[..., T], arguments: Sequence[tuple[Any, ...]], *, at_once: int) -> Iterator[T]:
    """Results in order; no more than `at_once` calls run or wait to be taken, and the first start now."""
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead")
    started = deque(pool.submit(call, *each) for each in arguments[:at_once])
    return _results(pool, started, call, arguments[at_once:])


def _results(pool: ThreadPoolExecutor, started: deque, call: Callable[..., T], further: Sequence[tuple]) -> Iterator[T]:
    try:
        for each in further:
            yield started.popleft().result()
            started.append(pool.submit(call, *each))
        while started:
            yield started.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
