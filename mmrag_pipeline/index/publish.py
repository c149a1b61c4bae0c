"""The alias: moving it to a checked collection, moving it back, and removing what is no longer needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.late import CaughtUp, catch_up
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import BUILDING, PUBLISHED, STAGED, WITHDRAWN, CollectionInfo
from mmrag_pipeline.index.staged import StagedIndex

GRACE = timedelta(hours=24)
UNFIT = {BUILDING: "half-built", WITHDRAWN: "withdrawn: it was rolled back from, or did not find what it holds"}


class _NotFound(UserError):
    """A collection does not find a row that it holds."""


@dataclass(frozen=True)
class Publication:
    """`collection` is live now, `previous` was before (None: nothing), `dropped` are older ones, removed; `late` is
    what was brought into it because it was ingested after staging.
    """

    collection: str
    previous: str | None
    swapped: bool
    dropped: tuple[str, ...] = ()
    late: CaughtUp = field(default_factory=CaughtUp)


def publish(
    milvus: Milvus,
    staged: StagedIndex,
    *,
    late: Callable[[], Iterable[DropRows]] = tuple,
    keep: int = 2,
    grace: timedelta = GRACE,
    now: datetime | None = None,
) -> Publication:
    """Point the alias at the staged collection.

    Call it only when every check of `check_staged` passed. A second call with the same one changes nothing. `late`
    gives the drops whose manifests changed since staging; it is asked before the alias moves and once more after it,
    so that a drop that is ingested at this very moment is in the old and in the new one. The last `keep` collections
    that were live stay for a rollback, and every one for `grace` after it was replaced.

    Raises:
        UserError: the staged collection is gone, half-built or withdrawn, another one became live since it was staged,
            most of its rows would go as late changes, it doesn't answer through the alias (which is back where it was
            then), or the alias is someone else's.
    """
    now = now or datetime.now(UTC)
    live = milvus.live()
    info = _find(milvus, staged.collection)
    if info is None or info.state in UNFIT:
        raise UserError(
            f"the staged collection {staged.collection} is {UNFIT[info.state] if info else 'gone'}: run the "
            f"nightly_reindex job again, the live collection is untouched."
        )
    previous = live.name if live else None
    if live is not None and staged.live_before is not None and live.name not in (staged.live_before, info.name):
        raise UserError(
            f"{live.name} is live, but {info.name} was staged beside {staged.live_before}: it was rolled back or "
            f"published elsewhere since. Run the nightly_reindex job again, the live collection is untouched."
        )

    def catch_up_now() -> CaughtUp:
        return catch_up(milvus, info.name, late(), fingerprint=staged.fingerprint, dim=staged.dim)

    caught_up = CaughtUp()
    if previous != info.name:
        milvus.ensure_loaded(info.name)
        caught_up = catch_up_now()
        # Before the swap: killed in between, it leaves a collection that was checked: a rollback may use it.
        milvus.mark(replace(info, state=PUBLISHED, published_at=now.isoformat()))
        try:
            _move(milvus, info, live)
        except BaseException as error:
            if live is not None:  # only a search that did not find is a verdict; after the rest it may be tried again
                milvus.mark(replace(info, state=WITHDRAWN if isinstance(error, _NotFound) else STAGED))
            raise
    caught_up += catch_up_now()  # also where an earlier run was killed after it moved the alias
    return Publication(
        collection=info.name,
        previous=previous,
        swapped=previous != info.name,
        dropped=_drop_old(milvus, info.name, previous, keep=keep, grace=grace, now=now),
        late=caught_up,
    )


def rollback(milvus: Milvus) -> Publication:
    """Point the alias back at the collection published before the live one, which is withdrawn.

    Where the live one was dropped by hand, at the one that was published last.

    Raises:
        UserError: there is none, or it doesn't answer.
    """
    live = milvus.live()
    earlier = [info for info in _published(milvus) if live is None or _order(info) < _order(live)]
    if not earlier:
        raise UserError(
            f"there is no earlier collection to roll back to in {milvus.address}: run the nightly_reindex job instead."
        )
    target = earlier[-1]
    milvus.ensure_loaded(target.name)
    _move(milvus, target, live)
    if live is not None:
        milvus.mark(replace(live, state=WITHDRAWN))
    return Publication(collection=target.name, previous=live.name if live else None, swapped=True)


def _move(milvus: Milvus, target: CollectionInfo, live: CollectionInfo | None) -> None:
    """Move the alias, and search through it for something that is there; where that fails, move it back."""
    some = next(milvus.rows(target.name, ()), [])[:1]
    rows = milvus.get(target.name, [row["id"] for row in some], ("embedding",))
    milvus.point_alias(target.name)
    try:
        if milvus.alias_target() != target.name:
            raise RuntimeError(f"alias {milvus.alias} does not point to {target.name} after it was moved")
        for media_id, row in rows.items():
            hits = milvus.search(milvus.alias, row["embedding"], limit=10, fields=("id",))
            if not any(score >= target.layout.same for _, score, _ in hits):
                raise _NotFound(
                    f"{target.name} does not find {media_id}, which it holds: look at it, and run the nightly_reindex "
                    f"job again."
                )
    except BaseException:
        if live is not None:
            milvus.point_alias(live.name)
        raise


def _drop_old(
    milvus: Milvus, live: str, previous: str | None, *, keep: int, grace: timedelta, now: datetime
) -> tuple[str, ...]:
    """Drop published collections but the live one, the last `keep` and those replaced less than `grace` ago; `stage`
    removes what is not published.
    """
    published = _published(milvus)
    replaced = {info.name: datetime.fromisoformat(later.published_at) for info, later in pairwise(published)}
    if previous is not None and previous != live:
        replaced[previous] = now  # after a rollback it is not the one before in order of publication
    old = [info.name for info in published if info.name != live]
    spare = old[:-keep] if keep else old
    dropped = [name for name in spare if name in replaced and replaced[name] <= now - grace]
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
