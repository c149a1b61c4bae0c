"""The nightly path: stage what should be live, check it, publish it by one alias change, or roll back.

`stage` is here; the checks are in `checks.py`, the alias in `publish.py`, both importable from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import uuid4

from mmrag_pipeline.ahead import ahead
from mmrag_pipeline.embedding.store import DamagedVectors
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.bulk import Importer, settle
from mmrag_pipeline.index.changes import (
    MASS_DELETION,
    Changes,
    DropRows,
    Progress,
    apply,
    compare,
    entities,
    everything,
    gather_for,
)
from mmrag_pipeline.index.checks import check_staged
from mmrag_pipeline.index.layout import Layout
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.publish import Publication, publish, rollback
from mmrag_pipeline.index.results import CheckResult
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import BUILDING, PUBLISHED, STAGED, CollectionInfo
from mmrag_pipeline.index.staged import StagedIndex
from mmrag_pipeline.index.sync import require_fit
from mmrag_pipeline.index.vectors import VectorBlock

__all__ = [
    "CheckResult", "DropRows", "Publication", "StagedIndex", "check_staged", "publish", "rollback", "stage",
]  # fmt: skip

SMALL_LIBRARY_ROWS = 20_000  # rebuilding this much takes seconds, and a fresh collection is checked before it is live
LARGE_DRIFT = 0.2  # share of rows; above it, rebuilding is not dearer than reconciling
SHOWN_DROPS = 5

Mode = Literal["auto", "rebuild", "reconcile"]


@dataclass(frozen=True)
class _Plan:
    """What to do, and the changes against the live collection."""

    mode: Literal["rebuild", "reconcile", "unchanged"]
    changes: Changes


def stage(
    milvus: Milvus,
    *,
    drops: Iterable[DropRows],
    fingerprint: str,
    dim: int,
    now: datetime,
    mode: Mode = "auto",
    allow_mass_deletion: bool = False,
    progress: Progress | None = None,
) -> StagedIndex:
    """Make a collection hold exactly the ok rows of `drops`, which are all drops of the library.

    `auto` writes nothing when the live collection holds them already; builds a fresh collection when there is
    none, when it is of another model, schema or layout, or when something differs and rebuilding costs
    little; else mends the live collection in place. A collection that a killed run left half-built is
    completed (with `auto`); what earlier runs staged but never published is removed first. A new collection is
    filled by bulk import where the configuration names a folder for it.

    Raises:
        UserError: nothing to index, a row without a usable vector, more than half of the live rows would go
            without `allow_mass_deletion`, or `reconcile` of a collection that can't be reconciled. What is
            live is untouched.
    """
    sources = {source.drop.key: source for source in drops}
    wanted = {key: WantedRows(source.drop, source.manifest) for key, source in sources.items()}
    total = sum(map(len, wanted.values()))
    if not total:
        raise UserError("no drop has a picture to index: ingest a drop first, what is live stays as it is.")
    live = milvus.live()
    plan = _plan(milvus, live, wanted, mode=mode, fingerprint=fingerprint, dim=dim)
    if live is not None:
        _guard_mass_deletion(live, plan.changes, allow=allow_mass_deletion)
    layout = milvus.layout_for(total)
    half_built = None
    if plan.mode == "rebuild" and mode == "auto":  # who asks for a rebuild may distrust what was written
        half_built = _half_built(milvus, live, layout, fingerprint=fingerprint, dim=dim)
    _remove_leftovers(milvus, but=half_built.name if half_built else None)

    def report(collection: str, how: Literal["rebuild", "reconcile", "unchanged"], **counts: int) -> StagedIndex:
        before = live.name if live else None
        return StagedIndex(
            collection,
            before,
            how,
            rows=total,
            is_live=how != "rebuild",
            fingerprint=fingerprint,
            dim=dim,
            **counts,
        )

    if plan.mode == "unchanged":
        assert live is not None
        return report(live.name, "unchanged", upserted=0, deleted=0)
    if plan.mode == "reconcile":
        assert live is not None
        vectors = _gathering(sources, wanted, plan.changes, dim=dim, fingerprint=fingerprint)
        # all of them before the first write, because this collection is being searched
        keys = list(plan.changes.upsert)
        blocks = dict(zip(keys, ahead(vectors, [(key,) for key in keys], at_once=2), strict=True))
        apply(milvus, live.name, plan.changes, wanted, blocks.__getitem__, progress=progress)
        milvus.finish_writing(live.name)
        return report(live.name, "reconcile", upserted=plan.changes.upserts, deleted=len(plan.changes.delete))

    folder, builder = milvus.config.import_folder, uuid4().hex
    if half_built:
        built = replace(half_built, builder=builder)
        milvus.mark(built)
        if built.imported:
            settle(milvus, built.name)  # the server may still be at it
        changes = compare(milvus, built.name, wanted)
    else:
        if folder:
            Importer(milvus, folder, "").try_out()
        built = milvus.create(
            fingerprint=fingerprint, dim=dim, layout=layout, now=now, builder=builder, imported="yes" if folder else ""
        )
        changes = everything(wanted)
    vectors = _gathering(sources, wanted, changes, dim=dim, fingerprint=fingerprint)
    guard = partial(_require_own, milvus, built)
    if folder and not half_built:
        importer = Importer(milvus, folder, built.name)
        importer.load(entities(changes, wanted, vectors), total=total, guard=guard, progress=progress)
    else:
        apply(milvus, built.name, changes, wanted, vectors, new=half_built is None, guard=guard, progress=progress)
    milvus.finish_writing(built.name, built=True)
    guard()
    milvus.mark(replace(built, state=STAGED))
    if half_built and folder:
        Importer(milvus, folder, built.name).tidy()
    return report(built.name, "rebuild", upserted=changes.upserts, deleted=len(changes.delete))


def _gathering(
    sources: dict[str, DropRows], wanted: dict[str, WantedRows], changes: Changes, *, dim: int, fingerprint: str
) -> Callable[[str], VectorBlock]:
    """Gathers the vectors of a drop when its turn comes; where several drops lack some, one sentence names them."""

    def gathered(key: str) -> VectorBlock:
        try:
            return gather_for(
                wanted[key], changes.upsert[key], sources[key].vectors(), dim=dim, fingerprint=fingerprint
            )
        except (DamagedVectors, Unavailable):
            raise
        except UserError:
            lacking = [other for other in sorted(changes.upsert) if lacks(other)]
            if len(lacking) < 2:
                raise
            named = ", ".join(lacking[:SHOWN_DROPS]) + (", ..." if len(lacking) > SHOWN_DROPS else "")
            raise UserError(
                f"{len(lacking)} of {len(sources)} drops have pictures that have no vector of model {fingerprint} "
                f"({named}): materialise clip_embeddings for them (or run mmrag campaign index, where "
                f"campaigns made them) and run the nightly_reindex job again, what is live stays as it is."
            ) from None

    def lacks(key: str) -> bool:
        missing = set(wanted[key].content_ids(changes.upsert[key]))
        for batch in sources[key].vectors():
            missing.difference_update(batch["content_id"].to_pylist())
        return bool(missing)

    return gathered


def _plan(
    milvus: Milvus,
    live: CollectionInfo | None,
    wanted: dict[str, WantedRows],
    *,
    mode: Mode,
    fingerprint: str,
    dim: int,
) -> _Plan:
    if live is None:
        if mode == "reconcile":
            raise UserError(f"there is no live collection {milvus.alias} to reconcile: use mode auto or rebuild.")
        return _Plan("rebuild", everything(wanted))
    if mode == "reconcile":
        require_fit(live, fingerprint=fingerprint, dim=dim)
    total = sum(map(len, wanted.values()))
    if not live.fits(fingerprint=fingerprint, dim=dim):
        return _Plan("rebuild", _by_id(milvus, live, wanted))
    changes = compare(milvus, live.name, wanted)
    if mode == "rebuild":
        return _Plan("rebuild", changes)
    if mode == "auto" and live.layout != milvus.layout_for(total):
        return _Plan("rebuild", changes)
    if not changes:
        return _Plan("unchanged", changes)
    drift = (changes.upserts + len(changes.delete)) / max(total, changes.stored)
    if mode == "auto" and (total <= SMALL_LIBRARY_ROWS or drift > LARGE_DRIFT):
        return _Plan("rebuild", changes)
    return _Plan("reconcile", changes)


def _by_id(milvus: Milvus, live: CollectionInfo, wanted: dict[str, WantedRows]) -> Changes:
    """Which live rows would go, where fields can't be compared because the schema is another one."""
    keep = {media_id for rows in wanted.values() for media_id in rows.ids}
    changes = everything(wanted)
    for ids, _ in milvus.pairs(live.name, "product_line"):
        changes.stored += len(ids)
        changes.delete += [media_id for media_id in ids if media_id not in keep]
    return changes


def _guard_mass_deletion(live: CollectionInfo, changes: Changes, *, allow: bool) -> None:
    if not allow and len(changes.delete) > MASS_DELETION * changes.stored:
        raise UserError(
            f"{len(changes.delete)} of the {changes.stored} live items of {live.name} would go: is the media "
            f"library mounted? If this is meant, run the nightly_reindex job with allow_mass_deletion; "
            f"nothing was changed."
        )


def _half_built(
    milvus: Milvus, live: CollectionInfo | None, layout: Layout, *, fingerprint: str, dim: int
) -> CollectionInfo | None:
    """The newest collection that a killed run was building and that this one would build alike: it goes on with it."""
    for info in reversed(milvus.collections()):  # their states are read just now
        alike = info.fits(fingerprint=fingerprint, dim=dim) and info.layout == layout
        if (
            info.state == BUILDING
            and alike
            and (live is None or info.name != live.name)
            and milvus.has_index(info.name)
        ):
            return info
    return None


def _require_own(milvus: Milvus, built: CollectionInfo) -> None:
    """Raises UserError when another run took the collection over, or removed it, believing this one dead."""
    found = milvus.find(built.name)
    if found is None or (found.state, found.builder) != (BUILDING, built.builder):
        raise UserError(
            f"another run has taken over {built.name} while this one filled it: let that one finish, and see that only "
            f"one nightly_reindex runs for the alias {milvus.alias} of {milvus.address}; what is live stays as it is."
        )


def _remove_leftovers(milvus: Milvus, *, but: str | None) -> None:
    target = milvus.alias_target()
    for info in milvus.collections():
        if info.state != PUBLISHED and info.name not in (target, but):
            if milvus.config.import_folder:
                Importer(milvus, milvus.config.import_folder, info.name).tidy()
            milvus.drop(info.name)
