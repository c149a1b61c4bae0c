"""`mmrag backfill`: many drops in a few runs, of which each takes several; then the index is published once."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.drift import find_drift
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store

BESIDE = ["drop_manifest", "clip_embeddings"]
"""What can be done for a drop while the live collection is of another model: nothing is written to that."""


@dataclass(frozen=True)
class Backfill:
    """What was done: drops by what became of them, the number of runs, and the collection that is live now."""

    current: list[str]
    """Had nothing to be done."""
    done: list[str]
    failed: dict[str, str]
    """Why, by drop."""
    runs: int
    live: str
    rows: int
    failed_later: dict[str, str] = field(default_factory=dict)
    """Why steps failed that come after publishing, by step."""


def backfill(settings: Settings, pattern: str, *, progress: Callable[[int, int], None] | None = None) -> Backfill:
    """Ingest what is missing of the drops of a product line, or of those whose keys match a pattern (`lunar__2026-*`).

    Dagster learns of drops that are new to it. A drop that fails keeps no other from being done and published; a
    second call does what the first did not. Where the live collection is of another model, drops are embedded beside
    it, and go live together when the index is published.

    Raises:
        UserError: the library can't be read, no drop matches, or nothing could be published (and why drops failed).
    """
    store, library = Store(settings.store), wiring.library(settings)
    chosen = _choose(library.drops().drops, pattern)
    drifted = find_drift(
        chosen,
        library=library,
        store=store,
        fingerprint=wiring.encoder(settings, store).noted_fingerprint(),
        limits=wiring.limits(settings),
    )
    with DagsterRuns(settings) as runs:
        missing = {drift.drop.key for drift in drifted} | {drop.key for drop in chosen} - runs.indexed()
        runs.add_drops(drop.key for drop in chosen)
        portions, failed, tried = runs.portions(missing), {}, 0
        only = BESIDE if missing and _is_of_another_model(settings, store) else None
        for portion in portions:
            failed |= runs.ingest(portion, only=only)
            tried += len(portion)
            if progress is not None:
                progress(tried, len(missing))
        night = runs.attempt("nightly_reindex")
        published = night.metadata.get("media_index")
        if published is None:
            error = night.error or RuntimeError("nightly_reindex ended without publishing")
            if not failed:
                raise error
            raise type(error)(f"{listed(failed)}. Nothing was published: {error}") from error
    return Backfill(
        current=[drop.key for drop in chosen if drop.key not in missing],
        done=sorted(missing - failed.keys()),
        failed=failed,
        runs=len(portions),
        live=published["collection"],
        rows=published["rows"],
        failed_later=night.failed,
    )


def listed(failed: Mapping[str, str]) -> str:
    """The drops that failed and why, as the beginning of a message."""
    return f"{len(failed)} drops failed: " + "; ".join(f"{key}: {why}" for key, why in sorted(failed.items()))


def _is_of_another_model(settings: Settings, store: Store) -> bool:
    with connect(wiring.milvus(settings)) as milvus:
        live = milvus.live()
    if live is None:
        return False
    encoder = wiring.encoder(settings, store)
    return not live.fits(fingerprint=encoder.fingerprint, dim=encoder.dim)


def _choose(drops: list[Drop], pattern: str) -> list[Drop]:
    chosen = [drop for drop in drops if drop.product_line == pattern or fnmatch.fnmatchcase(drop.key, pattern)]
    if not chosen:
        lines = ", ".join(sorted({drop.product_line for drop in drops})[:10])
        raise UserError(
            f"no drop is of product line {pattern} or has a key like it (<product_line>__<drop>): the library has the "
            f"product lines {lines}."
        )
    return chosen
