from __future__ import annotations

import threading
import time

import pytest

from mmrag_pipeline.ahead import ahead


def test_results_come_in_order_and_few_calls_are_ahead():
    started, running, most = [], 0, 0
    lock = threading.Lock()

    def call(number):
        nonlocal running, most
        with lock:
            started.append(number)
            running += 1
            most = max(most, running)
        time.sleep(0.01 * (number % 3))
        with lock:
            running -= 1
        return number

    results = ahead(call, [(number,) for number in range(20)], at_once=3)
    assert next(results) == 0
    assert len(started) <= 4  # three ahead of the one that was taken
    assert list(results) == list(range(1, 20)) and most <= 3


def test_an_error_reaches_who_takes_the_result_and_nothing_more_is_started():
    started = []

    def call(number):
        started.append(number)
        if number == 1:
            raise ValueError("no")
        return number

    results = ahead(call, [(number,) for number in range(20)], at_once=2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="no"):
        next(results)
    time.sleep(0.05)
    assert len(started) <= 4 and not [each for each in threading.enumerate() if each.name.startswith("ahead")]


def test_nothing_to_call():
    assert list(ahead(print, [], at_once=2)) == []
