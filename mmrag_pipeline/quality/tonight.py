"""Measure what is live: golden queries, recall of the index, copies among the answers, drift of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from PIL import Image
from upath import UPath

from mmrag_pipeline.embedding.drift import Drift, SourceDrop, measure_drift
from mmrag_pipeline.embedding.store import DamagedVectors, EmbeddingStore, LostVectors
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.status import held_by
from mmrag_pipeline.index.sync import require_fit
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.quality.asking import Remembering, ask
from mmrag_pipeline.quality.figures import Figures, FiguresStore
from mmrag_pipeline.quality.golden import ASKED_FOR, GoldenSet
from mmrag_pipeline.quality.library import LibraryItem, grade, library_items
from mmrag_pipeline.quality.measurement import (
    Measurement,
    MeasurementStore,
    copies_share,
    made_of,
    recalls_of,
    worst_of,
)
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.quality.summary import summarise
from mmrag_pipeline.quality.weak import weak_labels
from mmrag_pipeline.quality.worst import worst_sheet
from mmrag_pipeline.store import Store

if TYPE_CHECKING:
    from mmrag_pipeline.embedding.clip import ClipEncoder
    from mmrag_pipeline.index.milvus import Milvus
    from mmrag_pipeline.index.schema import CollectionInfo

Connect = Callable[[], AbstractContextManager["Milvus"]]


@dataclass(frozen=True)
class Library:
    """What the live collection was made of: manifests by drop, the folder of a drop, and a hash of the manifests."""

    manifests: Mapping[str, pa.Table]
    folder: Callable[[Drop], UPath]
    limits: Limits
    digest: str


@dataclass(frozen=True)
class Tonight:
    """A measurement, and what it was made with; `figures` is None where an earlier one still holds."""

    measurement: Measurement
    queries: GoldenSet | None
    figures: Figures | None


def measure_tonight(
    connect: Connect, encoder: ClipEncoder, store: Store, library: Library, golden: GoldenSet | None, *, now: datetime
) -> Tonight:
    """Measure the live collection, unless it was measured and nothing changed since: then no model is loaded.

    Without a golden set, titles of the catalogue are asked for. What the `golden` check of tonight measured of this
    collection is not asked again.

    Raises:
        UserError: nothing is live, or it was made with another model or schema.
    """
    queries = golden or weak_labels(library.manifests)
    copies = NearDuplicateStore(store).copies()
    with connect() as milvus:
        live = _live(milvus)
        require_fit(live, fingerprint=encoder.fingerprint, dim=encoder.dim)
        held = held_by(milvus, live.name)  # before it is measured: what comes in meanwhile is measured the next time
    what = made_of(
        collection=live.name,
        held=held,
        fingerprint=encoder.fingerprint,
        library=library.digest,
        golden=queries.digest if queries else "",
        copies=copies.digest,
    )
    kept = MeasurementStore(store)
    known = kept.read()
    if known is not None and known.made_of == what:
        return Tonight(known, queries, None)

    encoder.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
    with connect() as milvus:
        remembering = Remembering(encoder)
        figures = _figures(milvus, remembering, FiguresStore(store), live, library, queries, now)
        asked = queries.queries if queries else ()
        recalls = recalls_of(milvus, remembering, live.name, _rows(store, encoder.fingerprint, library), asked)
    answers = _answers(library, figures)
    measurement = Measurement(
        made_of=what,
        collection=live.name,
        fingerprint=encoder.fingerprint,
        labels=queries.path if queries else "",
        measured_at=now.isoformat(),
        strata=tuple(summarise(figures.queries, asked)),
        recalls=recalls,
        copies=copies_share(figures.queries, {key: item.content_id for key, item in answers.items()}, copies),
        worst=worst_of(figures.queries),
        drift=_drift(library, encoder, store, seed=int(what[:8], 16)),
    )
    if measurement.drift is None or not measurement.drift.unread:
        kept.keep(measurement)  # otherwise those drops are looked at again next time
    return Tonight(measurement, queries, figures)


def sheet_of_worst(tonight: Tonight, library: Library) -> Image.Image | None:
    """What the worst queries find, as a picture; None where nothing was asked."""
    if tonight.figures is None or tonight.queries is None:
        return None
    worst = dict(tonight.measurement.worst)
    asked = [query for query in tonight.queries.queries if query.query in worst]
    shown = {query: tonight.figures.queries[query] for query in worst}
    answers = _answers(library, replace(tonight.figures, queries=shown))
    grades = grade(library_items(library.manifests) if worst else (), asked)
    first = {}
    for query in worst:
        first[query] = next((content for content, given in grades[query].items() if given == ASKED_FOR), "")
    found = {item.content_id: item for item in library_items(library.manifests, content_ids=set(first.values()))}
    right = {query: found[content] for query, content in first.items() if content in found}
    return worst_sheet(
        tonight.measurement.worst,
        answers={query: [answers[key] for key in each.top if key in answers] for query, each in shown.items()},
        grades=grades,
        right=right,
        load=lambda item: load_picture(library.folder(Drop.parse(item.drop)), item.path, item.frame_ms, library.limits),
    )


def _live(milvus: Milvus) -> CollectionInfo:
    live = milvus.live()
    if live is None:
        raise UserError(f"nothing is live in {milvus.address}: run the nightly_reindex job first.")
    return live


def _figures(
    milvus: Milvus,
    encoder: Remembering,
    kept: FiguresStore,
    live: CollectionInfo,
    library: Library,
    queries: GoldenSet | None,
    now: datetime,
) -> Figures:
    """What the `golden` check kept of this very collection, or asked now."""
    digest = queries.digest if queries else ""
    known = kept.read(live.name, golden=digest, fingerprint=live.fingerprint)
    if known is not None and known.library == library.digest:
        return known
    found = ask(milvus, encoder, queries.queries, collection=live) if queries else {}
    return Figures(live.name, live.fingerprint, digest, library.digest, now.isoformat(), found)


def _rows(store: Store, fingerprint: str, library: Library) -> dict[str, DropRows]:
    embeddings = EmbeddingStore(store)

    def vectors(key: str) -> Iterator[pa.RecordBatch]:
        with suppress(LostVectors, DamagedVectors):  # a part is lost: the index is measured against the others
            yield from embeddings.batches(fingerprint, key)

    return {key: DropRows(Drop.parse(key), table, partial(vectors, key)) for key, table in library.manifests.items()}


def _answers(library: Library, figures: Figures) -> dict[str, LibraryItem]:
    """The first answers of all queries, by media id."""
    wanted = {media_id for each in figures.queries.values() for media_id in each.top}
    return {item.media_id: item for item in library_items(library.manifests, media_ids=wanted)}


def _drift(library: Library, encoder: ClipEncoder, store: Store, *, seed: int) -> Drift | None:
    sources = {
        key: SourceDrop(table, library.folder(Drop.parse(key)))
        for key, table in library.manifests.items()
        if generated_in(table) is None
    }
    return measure_drift(sources, encoder, EmbeddingStore(store), library.limits, seed=seed)
