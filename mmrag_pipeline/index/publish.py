"""The alias: moving it to a checked collection, moving it back, and removing what is no longer needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import BUILDING, PUBLISHED, CollectionInfo
from mmrag_pipeline.index.staged import StagedIndex


@dataclass(frozen=True)
class Publication:
    """`collection` is live now, `previous` was before (None: nothing), `dropped` are older ones, removed."""

    collection: str
    previous: str | None
    swapped: bool
    dropped: tuple[str, ...] = ()


def publish(milvus: Milvus, staged: StagedIndex, *, keep: int = 2, now: datetime | None = None) -> Publication:
    """Point the alias at the staged collection; keep the last `keep` published ones for rollback.

    Call it only when every check of `check_staged` passed. A second call with the same one changes nothing.

    Raises:
        UserError: the staged collection is gone or half-built, or the alias is someone else's.
    """
    live = milvus.live()
    info = _find(milvus, staged.collection)
    if info is None or info.state == BUILDING:
        raise UserError(
            f"the staged collection {staged.collection} is {'half-built' if info else 'gone'}: run the "
            f"nightly_reindex job again, the live collection is untouched."
        )
    previous = live.name if live else None
    if previous != info.name:
        moment = (now or datetime.now(UTC)).isoformat()
        milvus.ensure_loaded(info.name)
        # Before the swap: killed in between, it leaves a collection that was checked: a rollback may use it.
        milvus.mark(replace(info, state=PUBLISHED, published_at=moment))
        _move(milvus, info.name)
    return Publication(
        collection=info.name,
        previous=previous,
        swapped=previous != info.name,
        dropped=_drop_old(milvus, info.name, keep=keep),
    )


def rollback(milvus: Milvus) -> Publication:
    """Point the alias back at the collection published before the live one.

    Raises:
        UserError: there is none.
    """
    live = milvus.live()
    earlier = [info for info in _published(milvus) if live and _order(info) < _order(live)]
    if live is None or not earlier:
        raise UserError(
            f"there is no earlier collection to roll back to in {milvus.address}: run the nightly_reindex job instead."
        )
    target = earlier[-1]
    milvus.ensure_loaded(target.name)
    _move(milvus, target.name)
    return Publication(collection=target.name, previous=live.name, swapped=True)


def _move(milvus: Milvus, name: str) -> None:
    milvus.point_alias(name)
    if milvus.alias_target() != name:
        raise RuntimeError(f"alias {milvus.alias} does not point to {name} after it was moved")
    milvus.count(name)  # answers: what is live can be read


def _drop_old(milvus: Milvus, live: str, *, keep: int) -> tuple[str, ...]:
    """Drop published collections but the live one and the last `keep`; `stage` removes staged ones."""
    old = [info for info in _published(milvus) if info.name != live]
    dropped = [info.name for info in (old[:-keep] if keep else old)]
    for name in dropped:
        milvus.drop(name)
    return tuple(dropped)


def _published(milvus: Milvus) -> list[CollectionInfo]:
    """Oldest publication first."""
    return sorted((info for info in milvus.collections() if info.state == PUBLISHED), key=_order)


def _order(info: CollectionInfo) -> tuple[str, str]:
    return info.published_at, info.name


def _find(milvus: Milvus, name: str) -> CollectionInfo | None:
    return next((info for info in milvus.collections() if info.name == name), None)
