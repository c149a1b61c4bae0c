"""Batch jobs -> pictures: what a job has made is taken as if it had come online, the rest goes online.

A job ends for us when it has ended, or when it is overdue and was cancelled. What it gave no answer to counts as
spent, because nobody can say; what it refused is free. Both may then be made online, and only those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mmrag_pipeline.campaigns.backends.base import GenerationResult
from mmrag_pipeline.campaigns.backends.batches import BatchJob, BatchService, Denied, Failed
from mmrag_pipeline.campaigns.batch_ledger import BatchLedger, Item, Shard, order_path
from mmrag_pipeline.campaigns.outcomes import PictureOutcome
from mmrag_pipeline.campaigns.plan_table import find_plan
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from mmrag_pipeline.campaigns.maker import PictureMaker
    from mmrag_pipeline.campaigns.plan import Variant

DEADLINE = timedelta(hours=30)
"""Google aims at 24 hours; its files of a job are gone after 48."""
KEPT = timedelta(hours=48)
"""A refusal counts as "gone" only after that long: before, it is a key that can be mended."""
FINAL = ("made", "blocked", "skipped_existing")


@dataclass(frozen=True)
class Watch:
    """Where the shards without an end stand: to be collected, never submitted, still running, or nobody knows;
    `problems` say why.
    """

    ready: tuple[Shard, ...]
    unsent: tuple[Shard, ...]
    running: tuple[Shard, ...]
    unknown: tuple[Shard, ...] = ()
    problems: tuple[str, ...] = ()


def watch_batches(book: BatchLedger, service: BatchService, *, now: datetime, deadline: timedelta = DEADLINE) -> Watch:
    """Ask after every job without an end; asking costs nothing and changes nothing. One that can't be asked after hides
    no other.
    """
    ready, unsent, running, unknown, problems = [], [], [], [], []
    for shard in book.open_shards():
        if shard.job is None:
            unsent.append(shard)
            continue
        try:
            done = _overdue(shard, now, deadline) or service.look(shard.job).done
        except UserError as error:
            unknown.append(shard)
            problems.append(f"{shard.job} of {shard.campaign} {shard.occurrence}: {error}")
        else:
            (ready if done else running).append(shard)
    return Watch(tuple(ready), tuple(unsent), tuple(running), tuple(unknown), tuple(problems))


def collect_batches(
    maker: PictureMaker, *, service: BatchService | None, deadline: timedelta = DEADLINE
) -> dict[str, PictureOutcome]:
    """Take what the jobs of an occurrence have made. Needs the occurrence to be held.

    Returns the outcomes that stand, by key: taken just now, or left to a batch. Everything else of the plan is to be
    made online. Without a `service` nothing is taken, and nothing that a job still has to make is touched.

    Raises:
        UserError: the service can't be asked.
        Exception: a picture can't be finished. Its original is kept, and its shard has no end: the next run finishes it
            for nothing.
    """
    plan = maker.plan
    where = {"campaign": plan.campaign, "occurrence": plan.occurrence}
    book = BatchLedger(maker.ledger.path)
    outcomes: dict[str, PictureOutcome] = {}
    errors: list[Exception] = []
    for shard in book.open_shards(**where) if service is not None else ():
        try:
            outcomes |= _collect(maker, book, shard, service, deadline)
        except Exception as error:  # the other jobs are paid for too
            errors.append(error)
    if errors:
        raise errors[0]
    names = {variant.key: variant.name for variant in plan.variants}
    for key in book.keys_in_jobs(**where) & names.keys():
        outcomes[key] = _waits(key, names[key], "a batch job makes it, and is not done yet")
    if plan.mode == "batch":
        tried = book.keys_tried(**where)
        for variant in plan.variants:
            if variant.key not in tried | outcomes.keys():
                not_ordered = _waits(variant.key, variant.name, "not ordered yet: run campaign_batch")
                outcomes[variant.key] = maker.existing(variant) or not_ordered
    return outcomes


def _collect(
    maker: PictureMaker, book: BatchLedger, shard: Shard, service: BatchService, deadline: timedelta
) -> dict[str, PictureOutcome]:
    """What one shard gave; empty while it runs."""
    now = maker.clock()
    if shard.job is None:  # its run died, or never heard whether it was taken
        name = service.find(shard.name)
        if name is None:
            if now - shard.ordered_at > deadline:
                book.release(shard, reason="it was never submitted", now=now)
            return {}
        book.submitted(shard, job=name, now=now)
        shard = replace(shard, job=name, submitted_at=now)
    try:
        job = _ended(service, shard, overdue=_overdue(shard, now, deadline))
    except Denied as error:
        if not _overdue(shard, now, KEPT):
            raise
        job = BatchJob(shard.job or "", "DENIED", True, reason=str(error))
    return _take_all(maker, book, shard, job, service) if job else {}


def _ended(service: BatchService, shard: Shard, *, overdue: bool) -> BatchJob | None:
    """The job of a shard that has ended, None while it may run; an overdue one is cancelled."""
    job = service.look(shard.job or "")
    if job.done:
        return job
    if not overdue:
        return None
    service.cancel(job.name)
    job = service.look(job.name)
    return job if job.done else replace(job, state=f"OVERDUE_{job.state}")  # it does not even end when it is told to


def _answers(
    maker: PictureMaker, shard: Shard, job: BatchJob, service: BatchService, model: str
) -> Iterator[tuple[str, GenerationResult | Failed]]:
    """What a job gave; nothing where its results are gone."""
    try:
        if job.results:
            yield from service.answers(job.results, model=model)
    except Denied as error:
        if not _overdue(shard, maker.clock(), KEPT):
            raise
        if maker.progress:
            maker.progress(f"the results of {job.name} are not there any more: {error}")


def _take_all(
    maker: PictureMaker, book: BatchLedger, shard: Shard, job: BatchJob, service: BatchService
) -> dict[str, PictureOutcome]:
    ordered = find_plan(order_path(maker.images.parent, shard.name)) or maker.plan
    maker = replace(maker, plan=ordered, batch_job=job.name)
    variants = {variant.key: variant for variant in ordered.variants}
    items = {item.reservation.key: item for item in book.items(shard)}
    outcomes: dict[str, PictureOutcome] = {}
    unanswered = dict(items)
    errors: list[Exception] = []
    for key, answer in _answers(maker, shard, job, service, ordered.model):
        item, variant = unanswered.pop(key, None), variants.get(key)
        if item is None or item.settled:  # asked for by nobody, given twice, or taken before a crash
            continue
        if isinstance(answer, Failed) or variant is None:
            _settle(maker, item, job, answer if isinstance(answer, Failed) else _NOWHERE, variant)
            continue
        try:
            outcome = maker.take(variant, answer, item.reservation, requests=1, seed_sent=variant.seed)
        except Exception as error:  # every original of the job is kept before anything is said
            errors.append(error)
            continue
        if outcome.result in FINAL:
            outcomes[key] = replace(outcome, requests=0)  # none of this run
    for item in unanswered.values():
        if item.settled:
            continue
        variant = variants.get(item.reservation.key)
        try:  # an original that could not be finished before the results were gone
            found = maker.adopt(variant) if variant else None
        except Exception as error:
            errors.append(error)
            continue
        if variant and found:
            outcomes[variant.key] = found
        else:
            _settle(maker, item, job, Failed(f"the job gave no answer ({job.state})", may_be_billed=True), variant)
    if errors:
        raise errors[0]
    book.end(shard, state=job.state, now=maker.clock(), detail=job.reason)
    _say(maker, job, len(items), outcomes)
    return outcomes


_NOWHERE = Failed("its order is gone: nobody knows where the picture belongs", may_be_billed=True)


def _settle(maker: PictureMaker, item: Item, job: BatchJob, failed: Failed, variant: Variant | None) -> None:
    outcome, reason = "ambiguous" if failed.may_be_billed else "failed", f"{job.name}: {failed.reason}"
    usd = item.reservation.usd if failed.may_be_billed else 0.0
    if variant is not None:
        maker.lost(variant, item.reservation, outcome, reason, usd=usd)
        return
    maker.ledger.settle(
        item.reservation, outcome=outcome, usd=usd, now=maker.clock(), estimated=failed.may_be_billed, detail=reason
    )


def _say(maker: PictureMaker, job: BatchJob, asked: int, outcomes: dict[str, PictureOutcome]) -> None:
    if maker.progress:
        said = f" ({job.reason})" if job.reason else ""
        maker.progress(f"{job.name} {job.state}{said}: {len(outcomes)} of {asked} are answered, the rest goes online")


def _overdue(shard: Shard, now: datetime, deadline: timedelta) -> bool:
    return shard.submitted_at is not None and now - shard.submitted_at > deadline


def _waits(key: str, name: str, reason: str) -> PictureOutcome:
    return PictureOutcome(key, name, "in_batch", reason, cause="in_batch")
