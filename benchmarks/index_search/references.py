"""What no index is needed for, and what another tool has by default: beside ours, in the time they take and in recall.

All rows in memory and numpy (BLAS on all cores): exact, without a word about what was found. FiftyOne's index on the
server: HNSW, M 8, efConstruction 64, the ids of all samples that may be found in every search; and the same index asked
without them, with the ef of 10 that its source means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import fiftyone
from benchmarks.index_library import PRODUCT_LINES, Library
from benchmarks.index_place import Place
from benchmarks.index_proof import TIE, K, Nearest
from benchmarks.report import Result, taking_turns, times_as_much

OURS = "ours"
NUMPY = "numpy, all rows in memory, exact"
FIFTYONE, PLAIN_HNSW = "FiftyOne, HNSW M 8, all ids in the filter", "FiftyOne's index without ids, ef 10"
FEW = 20
"""Queries with a list of ids a round: 100,000 are 3.5 MB."""

Ask = Callable[[int], Nearest]
"""Ask query number n."""


@dataclass(frozen=True)
class Exact:
    """The library in memory."""

    ids: list[str]
    lines: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, library: Library) -> Exact:
        ids, lines, vectors = library.matrix()
        return cls(ids, np.array(lines), vectors)

    def nearest(self, vector: np.ndarray, line: str | None = None) -> Nearest:
        """The `K` with the largest inner product, all or of one product line."""
        rows = None if line is None else np.flatnonzero(self.lines == line)
        scores = (self.vectors if rows is None else self.vectors[rows]) @ vector
        best = np.argpartition(scores, -K)[-K:]
        best = best[np.argsort(-scores[best])]
        return [(self.ids[at if rows is None else rows[at]], float(scores[at])) for at in best]

    def of_line(self, line: str) -> list[str]:
        return [self.ids[at] for at in np.flatnonzero(self.lines == line)]


def line_of(number: int) -> str:
    """The product line that query number n asks for."""
    return PRODUCT_LINES[number % len(PRODUCT_LINES)]


def measure(
    result: Result,
    case: str,
    exact: Exact,
    vectors: np.ndarray,
    *,
    ours: tuple[Ask, Ask],
    fiftyone_at: tuple[Library, Place] | None,
    rounds: int,
) -> None:
    """All rows, then one product line a query; `ours` is asked in both ways.

    Args:
        fiftyone_at: the library, and the server to fill FiftyOne's collection on.
    """
    everything: dict[str, Ask] = {OURS: ours[0], NUMPY: lambda number: exact.nearest(vectors[number])}
    of_a_line: dict[str, Ask] = {
        OURS: ours[1],
        NUMPY: lambda number: exact.nearest(vectors[number], line_of(number)),
    }
    if fiftyone_at is None:
        _compare(result, f"{case}, no filter", exact, vectors, everything, rounds, filtered=False)
        _compare(result, f"{case}, a line", exact, vectors, of_a_line, rounds, filtered=True)
        return
    library, place = fiftyone_at
    with fiftyone.filled(library, place, f"fiftyone_{library.rows}", fiftyone.INDEX) as handle:
        fiftyone.wait_for_index(handle)
        every = fiftyone.only(exact.ids)
        some = {line: fiftyone.only(exact.of_line(line)) for line in PRODUCT_LINES}
        everything[FIFTYONE] = lambda number: fiftyone.nearest(handle, vectors[number], every, fiftyone.SEARCH)
        everything[PLAIN_HNSW] = lambda number: fiftyone.nearest(handle, vectors[number], "", fiftyone.SEARCH["HNSW"])
        of_a_line[FIFTYONE] = lambda number: fiftyone.nearest(
            handle, vectors[number], some[line_of(number)], fiftyone.SEARCH
        )
        _compare(result, f"{case}, no filter", exact, vectors, everything, rounds, filtered=False)
        _compare(result, f"{case}, a line", exact, vectors, of_a_line, rounds, filtered=True)


def _compare(
    result: Result,
    case: str,
    exact: Exact,
    vectors: np.ndarray,
    sides: dict[str, Ask],
    rounds: int,
    *,
    filtered: bool,
) -> None:
    """Percentiles and recall of each round; a side answers its queries of a round one after the other."""
    truth = [exact.nearest(vector, line_of(number) if filtered else None) for number, vector in enumerate(vectors)]
    counts = {side: min(len(vectors), FEW) if side == FIFTYONE else len(vectors) for side in sides}
    runs = taking_turns({side: _asking(ask, counts[side]) for side, ask in sides.items()}, rounds)
    times = {
        share: result.add(
            case,
            f"ms, p{share}",
            {
                side: [1000 * float(np.percentile([taken for taken, _ in asked], share)) for asked in of]
                for side, of in runs.items()
            },
        )
        for share in (50, 95)
    }
    for other in [side for side in sides if side != OURS]:
        result.figures.append(times_as_much(times[50][OURS], times[50][other], what=f"p50 over that of {other}"))
    found = {side: [recall(truth, [answer for _, answer in asked]) for asked in of] for side, of in runs.items()}
    result.add(case, f"recall@{K}", found)
    if min(found[NUMPY]) < 1:
        raise AssertionError(f"numpy does not find again what numpy found: recall {min(found[NUMPY])}")


def _asking(ask: Ask, count: int) -> Callable[[], list[tuple[float, Nearest]]]:
    def run() -> list[tuple[float, Nearest]]:
        ask(0)
        asked = []
        for number in range(count):
            started = time.perf_counter()
            answer = ask(number)
            asked.append((time.perf_counter() - started, answer))
        return asked

    return run


def recall(truth: Sequence[Nearest], found: Sequence[Nearest]) -> float:
    """Mean share of the exact `K` that were found; one that is as near as the last of them counts as one of them."""
    shares = [
        min(K, sum(score >= exact[-1][1] - TIE for _, score in answer)) / len(exact)
        for exact, answer in zip(truth, found, strict=False)
    ]
    return float(np.mean(shares))
