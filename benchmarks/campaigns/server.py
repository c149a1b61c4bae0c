"""The Gemini server of the tests, as slow as the real one and wrong now and then, the same for every side."""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import Any

from mmrag_pipeline_tests.integration.gemini_faults import BillingServer
from mmrag_pipeline_tests.integration.gemini_server import Fault, Received, error, picture_body, throttled, transport

EVERY = 20
"""One request in so many meets a fault: 5%."""
WHAT = "429 with a retryDelay of 1 s, 503, a connection that is reset after the picture was made (and billed), in turn"
_REQUESTS = 5000


def slow_server(latency_s: float, *, every: int = EVERY) -> BillingServer:
    """A picture takes `latency_s`; request number `every`, 2 x `every`, ... fails in one of three ways, in turn."""

    def answer(received: Received) -> dict[str, Any]:
        time.sleep(latency_s)
        return picture_body(received, 928, 1152)

    faults = cycle((throttled("1s"), error(503, "UNAVAILABLE", "The model is overloaded."), transport("reset")))
    script: list[Fault | None] = []
    while len(script) < _REQUESTS:
        script += [None] * (every - 1) + list(islice(faults, 1))
    return BillingServer(faults=script, answer=answer)
