"""`mmrag quality`: which model finds more in this library, measured on a part of it, with a page to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
from upath import UPath

from mmrag_pipeline import wiring
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.quality.golden import GoldenSet, open_golden
from mmrag_pipeline.quality.library import LibraryItem, grade, library_items
from mmrag_pipeline.quality.models import Duel, ModelResult, duel, rank_exactly, recommend
from mmrag_pipeline.quality.report import Facts, render_report
from mmrag_pipeline.quality.sample import SamplePictures, choose_sample, sample_vectors
from mmrag_pipeline.quality.summary import summarise
from mmrag_pipeline.quality.weak import WEAK, weak_labels
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store, write_bytes

PICTURES = 2000
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ModelsCompared:
    """`results` has the model in force first; `duels` are the others beside it."""

    golden: GoldenSet
    results: list[ModelResult]
    duels: list[Duel]
    recommendation: str
    facts: Facts
    page: UPath
    failed: list[str] = field(default_factory=list)


def compare_models(
    settings: Settings,
    models: Sequence[str] = (),
    *,
    pictures: int = PICTURES,
    progress: Progress | None = None,
) -> ModelsCompared:
    """Measure the model in force and `models` on up to `pictures` of the library, and write the page.

    Neither the collection nor a manifest is touched; vectors go beside those of the drops, under each model's own
    fingerprint, and are reused by a later ingest. A model that can't be loaded is named in `failed`.

    Raises:
        UserError: the library has no picture, nobody knows what to ask of it, or the model in force can't be loaded.
    """
    store, manifests = Store(settings.store), _manifests(settings, progress)
    golden = open_golden(settings.golden_file) if settings.golden_file else weak_labels(manifests)
    if golden is None:
        raise UserError(
            "there is nothing to ask for: write a golden.csv and name it in MMRAG_GOLDEN, or give pictures titles in "
            "their drop's metadata.csv."
        )
    graded = grade(library_items(manifests), golden.queries)
    every = [item.content_id for item in library_items(manifests)]
    content_ids = choose_sample(every, graded, most=pictures)
    if not content_ids:
        raise UserError(f"the library {settings.media_root} has no usable picture: ingest a drop, or set MMRAG_MEDIA.")

    results: list[ModelResult] = []
    failed: list[str] = []
    for name in dict.fromkeys([settings.clip_model, *models]):
        try:
            result = _measured(settings, name, store, manifests, golden, graded, content_ids, progress)
        except UserError as error:
            if not results:
                raise
            failed.append(str(error).replace("MMRAG_CLIP_MODEL=", ""))
            continue
        if result.fingerprint not in {each.fingerprint for each in results}:
            results.append(result)
    duels = [each for other in results[1:] if (each := duel(results[0], other)) is not None]
    recommendation = recommend(results[0], duels, weak=golden.path == WEAK)
    facts = Facts(
        library=settings.media_root,
        pictures=len(set(every)),
        sampled=len(content_ids),
        queries=len(results[0].figures),
        left_out=len(golden.queries) - len(results[0].figures),
        labels=golden.path,
        weak=golden.path == WEAK,
        measured_at=datetime.now(UTC),
    )
    items: dict[str, LibraryItem] = {}
    for item in library_items(manifests, content_ids=content_ids):
        items.setdefault(item.content_id, item)
    page = store.root / "quality" / "models.html"
    html = render_report(
        results, duels, recommendation, facts, failed=failed, graded=graded, items=items, load=_opener(settings)
    )
    write_bytes(page, html.encode())
    return ModelsCompared(golden, results, duels, recommendation, facts, page, failed)


def _measured(
    settings: Settings,
    name: str,
    store: Store,
    manifests: Mapping[str, pa.Table],
    golden: GoldenSet,
    graded: Mapping[str, Mapping[str, int]],
    content_ids: Sequence[str],
    progress: Progress | None,
) -> ModelResult:
    encoder = wiring.encoder(settings.model_copy(update={"clip_model": name}), store)
    encoder.load_for_words()  # before anything is timed
    library, limits = wiring.library(settings), wiring.limits(settings)
    vectors, report = sample_vectors(
        lambda missing: SamplePictures(missing, manifests, folder=library.folder, limits=limits),
        content_ids,
        encoder=encoder,
        store=EmbeddingStore(store),
        progress=(lambda done, total: progress(f"{name}: pictures", done, total)) if progress else None,
    )
    figures = rank_exactly(encoder, golden.queries, vectors=vectors, content_ids=content_ids, graded=graded)
    return ModelResult(
        name=name,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        computed=report.summary.computed if report else 0,
        rate=report.images_per_second if report else _rate_before(encoder, store),
        figures=figures,
        strata=tuple(summarise(figures, golden.queries)),
    )


def _rate_before(encoder: ClipEncoder, store: Store) -> float | None:
    """Pictures a second when most of them were embedded; None where nothing was computed under this model."""
    embeddings = EmbeddingStore(store)
    found = [embeddings.summary(encoder.fingerprint, drop) for drop in embeddings.drops(encoder.fingerprint)]
    timed = [each for each in found if each and each.computed and each.seconds]
    largest = max(timed, key=lambda each: each.computed, default=None)
    return largest.computed / largest.seconds if largest else None


def _manifests(settings: Settings, progress: Progress | None) -> dict[str, pa.Table]:
    """Of every drop of the library: the stored one, or a scan that is not kept, so that nothing looks ingested."""
    store = ManifestStore(Store(settings.store))
    known = {key: store.read(key) for key in store.drops()}
    library, limits = wiring.library(settings), wiring.limits(settings)
    for drop in library.drops().drops:
        if drop.key not in known:
            counted = (lambda done, total, key=drop.key: progress(f"{key}: files", done, total)) if progress else None
            report = scan_drop(library, drop, previous=None, limits=limits, now=datetime.now(UTC), progress=counted)
            known[drop.key] = report.table
    return {key: table for key, table in known.items() if generated_in(table) is None}


def _opener(settings: Settings) -> Callable[[LibraryItem], object]:
    library, limits = wiring.library(settings), wiring.limits(settings)
    return lambda item: load_picture(library.folder(Drop.parse(item.drop)), item.path, item.frame_ms, limits)
