"""Nightly: what should be live is staged and checked, and only then does the alias move."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg

from mmrag_pipeline.defs.failures import HOOKS, WAIT_FOR_MILVUS, user_errors_as_failures
from mmrag_pipeline.defs.index.golden import golden_metadata, golden_result, library_hash
from mmrag_pipeline.defs.index.handover import Handover, changed_since, hand_over, manifest_hashes, take_over
from mmrag_pipeline.defs.ingest.assets import drop_vectors
from mmrag_pipeline.defs.progress import log_progress
from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.embedding.store import DamagedVectors, EmbeddingStore
from mmrag_pipeline.index.rebuild import CheckResult, DropRows, StagedIndex, check_staged, publish, stage
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA
from mmrag_pipeline.media.manifest_store import DamagedManifest, ManifestStore
from mmrag_pipeline.quality.check import check_golden
from mmrag_pipeline.quality.figures import FiguresStore
from mmrag_pipeline.resources import ClipEncoderResource, GoldenResource, MilvusResource, StoreResource
from mmrag_pipeline.store import Store
from mmrag_pipeline.usable import Usable, usable_drops

CHECKS = {
    "model": "The collection says that it holds this model's vectors.",
    "rows": "As many rows as the manifests have ok rows.",
    "ids": "The ids are those of the manifests, none missing, none foreign.",
    "fields": "Every row says what its manifest row says.",
    "vectors": "Sampled vectors equal the parquet.",
    "self_search": "Sampled items find themselves.",
    "recall": "An approximate index finds what exact search finds: recall@10 of catalogue titles at least 0.99.",
    "golden": "Golden queries are answered no worse than by what is live.",
}

REBUILD = "run nightly_reindex with mode: rebuild"
TO_DO = {
    "model": "see what else writes to this Milvus under the same alias, then " + REBUILD,
    "rows": "let drops that are being ingested end, then " + REBUILD,
    "ids": "let drops that are being ingested end, then " + REBUILD,
    "fields": "let drops that are being ingested end, then " + REBUILD,
    "vectors": REBUILD,
    "self_search": REBUILD + "; if that does not help, set MMRAG_MILVUS_INDEX to FLAT",
    "recall": "set MMRAG_MILVUS_INDEX to HNSW, or FLAT, and run nightly_reindex again",
}
"""What to do about a check that failed; nothing was published."""

GENERATED = "or run mmrag campaign index for drops that a campaign made"

SHOWN_DROPS = 10


class StagedMediaIndexConfig(dg.Config):
    """Switches for one materialisation."""

    mode: Literal["auto", "rebuild", "reconcile"] = "auto"
    allow_mass_deletion: bool = False
    allow_worse_search: bool = False


class MediaIndexConfig(dg.Config):
    """How long what was live before can be rolled back to: the last `keep` collections, and all for `grace_hours`."""

    keep: int = 2
    grace_hours: float = 24.0


@dg.asset(
    deps=[drop_vectors],
    hooks=HOOKS,
    group_name="index",
    kinds={"milvus"},
    pool="milvus",
    retry_policy=WAIT_FOR_MILVUS,
    check_specs=[
        dg.AssetCheckSpec(name, asset="staged_media_index", description=description, blocking=True)
        for name, description in CHECKS.items()
    ]
    + [dg.AssetCheckSpec("complete", asset="staged_media_index", description="Every drop is in it whole.")],
)
def staged_media_index(
    context: dg.AssetExecutionContext,
    config: StagedMediaIndexConfig,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
    golden: GoldenResource,
) -> dg.MaterializeResult:
    """What should be live: nothing to do, the live collection mended in place, or a new one built beside it.

    Its checks block: where one fails, the alias doesn't move.
    """
    with user_errors_as_failures():
        opened, encoder, now = store.open(), clip_encoder.encoder(store.open()), datetime.now(UTC)
        golden_set = golden.read()  # first: a mistake in it must not show after hours of building
        manifests, unread = manifest_hashes(opened), {}
        delivered = list(_drops(opened, encoder.fingerprint, manifests, unread=unread))

        def staged_and_checked(*, thorough: bool) -> tuple[Usable, StagedIndex, list[CheckResult]]:
            usable = usable_drops(connection, delivered, unread, EmbeddingStore(opened), encoder, thorough=thorough)
            staged = stage(
                connection,
                drops=usable.drops,
                fingerprint=encoder.fingerprint,
                dim=encoder.dim,
                now=now,
                mode=config.mode,
                allow_mass_deletion=config.allow_mass_deletion,
                progress=log_progress(context, "rows written"),
            )
            return usable, staged, check_staged(connection, staged, usable.drops, encode=encoder.encode_texts)

        with milvus.connect() as connection:
            try:
                usable, staged, results = staged_and_checked(thorough=False)
            except DamagedVectors:  # a file that looked whole: now every one is read, and those drops stay as they are
                usable, staged, results = staged_and_checked(thorough=True)
        for sentence in usable.damaged:
            context.log.warning("%s", sentence)
        measured = None
        if all(result.passed for result in results):
            if golden_set is not None and staged.mode != "unchanged":
                encoder.load_for_words()  # while nobody waits for a Milvus Lite file
            with milvus.connect() as connection:
                measured = check_golden(
                    connection,
                    encoder,
                    FiguresStore(opened),
                    staged,
                    golden_set,
                    library=library_hash(usable.described(manifests)),
                    now=now,
                    allow_worse=config.allow_worse_search,
                )
    check_results = [_check_result(name, results) for name in CHECKS if name != "golden"]
    check_results.append(_not_looked_at("golden") if measured is None else golden_result(measured))
    passed = all(result.passed for result in check_results)
    check_results.append(_complete(usable))
    # A drop that was left out counts as changed since: publishing takes it along if it is ready by then.
    there = {key: value for key, value in manifests.items() if key not in usable.left_out and key not in unread}
    hand_over(opened, Handover(staged, there, passed))
    return dg.MaterializeResult(
        metadata={
            "collection": staged.collection,
            "mode": staged.mode,
            "drops": len(usable.drops),
            "rows": staged.rows,
            "left_out": sum(usable.left_out.values()),
            "upserted": staged.upserted,
            "deleted": staged.deleted,
            "checks_passed": sum(result.passed for result in check_results),
            "fingerprint": encoder.fingerprint,
        }
        | golden_metadata(measured),
        check_results=check_results,
    )


@dg.asset(
    deps=[staged_media_index],
    hooks=HOOKS,
    group_name="index",
    kinds={"milvus"},
    pool="milvus",
    retry_policy=WAIT_FOR_MILVUS,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36)),
)
def media_index(
    context: dg.AssetExecutionContext, config: MediaIndexConfig, store: StoreResource, milvus: MilvusResource
) -> dg.MaterializeResult:
    """What everyone searches: the alias points to the collection that was staged and passed its checks.

    Drops that were ingested since then are brought into it first.
    """
    with user_errors_as_failures():
        opened, unread = store.open(), {}
        handover = take_over(opened)
        with milvus.connect() as connection:
            publication = publish(
                connection,
                handover.staged,
                late=lambda: _drops(
                    opened, handover.staged.fingerprint, changed_since(opened, handover), unread=unread
                ),
                keep=config.keep,
                grace=timedelta(hours=config.grace_hours),
            )
            rows = connection.count(publication.collection)
    for sentence in (*publication.late.waiting, *map(str, unread.values())):
        context.log.warning("%s", sentence)
    return dg.MaterializeResult(
        metadata={
            "alias": milvus.alias,
            "collection": publication.collection,
            "rows": rows,
            "swapped": publication.swapped,
            "previous": publication.previous or "",
            "late_upserted": publication.late.upserted,
            "late_deleted": publication.late.deleted,
            "late_waiting": len(publication.late.waiting),
            "dropped": dg.MetadataValue.json(list(publication.dropped)),
        }
    )


def _drops(
    store: Store, fingerprint: str, keys: Iterable[str], *, unread: dict[str, DamagedManifest]
) -> Iterator[DropRows]:
    """What these drops should look like; those without a manifest are empty. `unread` gets those whose manifest can't
    be read, and why.
    """
    manifests, embeddings = ManifestStore(store), EmbeddingStore(store)
    known = set(manifests.drops())
    for key in keys:
        try:
            manifest = manifests.read(key) if key in known else MANIFEST_SCHEMA.empty_table()
        except DamagedManifest as error:
            unread[key] = error
            continue
        yield DropRows(
            drop=Drop.parse(key),
            manifest=manifest,
            vectors=lambda key=key: embeddings.batches(fingerprint, key),
        )


def _complete(usable: Usable) -> dg.AssetCheckResult:
    left_out, said = usable.left_out, []
    if left_out:
        named = ", ".join(sorted(left_out)[:SHOWN_DROPS]) + (", ..." if len(left_out) > SHOWN_DROPS else "")
        said.append(
            f"{sum(left_out.values())} pictures of {len(left_out)} drops have no vector and are left out: {named}. "
            f"Where their files were exported again, what was live of them stays."
        )
    if usable.damaged:
        more = f" And {len(usable.damaged) - SHOWN_DROPS} more." if len(usable.damaged) > SHOWN_DROPS else ""
        sentences = " ".join(f"{each[0].upper()}{each[1:]}" for each in usable.damaged[:SHOWN_DROPS])
        said.append(f"What was live of these drops stays: {sentences}{more}")
    to_do = f"ingest these drops again (mmrag backfill; nightly_ingest does it by itself), {GENERATED}" if said else ""
    return verdict(
        f"see why the ingest_drop runs of these drops failed and run them again (mmrag backfill), {GENERATED}"
        if left_out and not usable.damaged
        else to_do,
        {"left_out": dg.MetadataValue.json(left_out), "damaged": dg.MetadataValue.json(usable.damaged)},
        name="complete",
        detail=" ".join(said),
    )


def _check_result(name: str, results: list[CheckResult]) -> dg.AssetCheckResult:
    result = next((result for result in results if result.name == name), None)
    if result is None:
        return _not_looked_at(name)
    return verdict(
        "" if result.passed else TO_DO[name],
        {"expected": result.expected, "found": result.found},
        name=name,
        severity=dg.AssetCheckSeverity.ERROR,
        detail=result.detail,
    )


def _not_looked_at(name: str) -> dg.AssetCheckResult:
    return verdict(
        "do what the check that failed says",
        {},
        name=name,
        severity=dg.AssetCheckSeverity.ERROR,
        detail="Not looked at, because an earlier check failed.",
    )
