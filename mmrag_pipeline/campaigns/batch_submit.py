"""What is missing of a plan -> batch jobs: reserved, ordered, submitted, each exactly once.

Order of every shard: money and shard in one transaction, looked for by its name, submitted, job written down. Killed
between any two of these, the next run goes on where this one stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import ImageBackend
from mmrag_pipeline.campaigns.backends.batches import BatchService
from mmrag_pipeline.campaigns.batch_ledger import BatchLedger, Shard, order_path
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.campaigns.maker import PictureMaker
from mmrag_pipeline.campaigns.making import at_work
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.plan_table import find_plan, write_plan
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.provenance import Credentials
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.requests import ceiling_of, request_for
from mmrag_pipeline.errors import Unavailable, UserError

MAX_PICTURES = 50
"""Of one job: results of a hundred and more could not be fetched, though they were billed."""
MAX_BYTES = 50_000_000
"""Of the requests of one job, references and all."""


@dataclass(frozen=True)
class BatchReport:
    """What became of a plan: jobs that run now, pictures ordered by this run and by earlier ones, what needs none."""

    jobs: tuple[str, ...]
    ordered: int
    ordered_before: int
    results: dict[str, int]
    """Variants that were not ordered, by what they are: there already, blocked, over budget, ambiguous."""
    reasons: dict[str, int]
    reserved_usd: float


def submit_batches(
    plan: CampaignPlan,
    *,
    backend: ImageBackend,
    service: BatchService,
    ledger: Ledger,
    folder: UPath,
    references: ReferencePictures,
    caps: Caps,
    run_id: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[str], None] | None = None,
    lock_wait_s: float = 600.0,
    max_pictures: int = MAX_PICTURES,
    max_bytes: int = MAX_BYTES,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    credentials: Credentials | None = None,
) -> BatchReport:
    """Order what is missing of a plan under `folder`; what is there, blocked or ordered already is left alone.

    Raises:
        UserError: the service refuses; what was reserved for the refused job is free again. Or the certificate can't
            sign: nothing is ordered.
        Unavailable: the service can't be asked now, or another run works on this occurrence; run again.
    """
    book = BatchLedger(ledger.path)
    with at_work(
        plan,
        backend=backend,
        ledger=book,
        folder=folder,
        references=references,
        caps=caps,
        run_id=run_id,
        clock=clock,
        progress=progress,
        lock_wait_s=lock_wait_s,
        prices=prices,
        credentials=credentials,
    ) as maker:
        return _Submission(maker, book, service, folder, max_pictures, max_bytes).run()


@dataclass(frozen=True)
class _Order:
    """A variant with its line of the job's file, and what that may cost at most."""

    variant: Variant
    line: bytes
    usd: float


@dataclass(frozen=True)
class _Submission:
    maker: PictureMaker
    book: BatchLedger
    service: BatchService
    folder: UPath
    max_pictures: int
    max_bytes: int

    def run(self) -> BatchReport:
        plan, where = self.maker.plan, {"campaign": self.maker.plan.campaign, "occurrence": self.maker.plan.occurrence}
        for shard in self.book.open_shards(**where):
            if shard.job is None:
                self._go_on(shard)
        before = self.book.keys_in_jobs(**where)
        outcomes, missing = [], []
        for variant in plan.variants:
            if variant.key in before:
                continue
            if found := self.maker.existing(variant):
                outcomes.append(found)
            else:
                missing.append(variant)
        if missing:
            self.maker.finisher.require_signature()  # before it is paid for
        for variant in missing:
            self.maker.remove_leftovers(variant)
        ordered: list[Reservation] = []
        for orders in self._cut(missing):
            shard, kept, refused = self._order(orders)
            outcomes += [self.maker.over_budget(variant, reason) for variant, reason in refused]
            if shard:
                ordered += [item.reservation for item in self.book.items(shard)]
                self._submit_new(shard, plan.model, (order.line for order in kept))
        jobs = [shard.job for shard in self.book.open_shards(**where) if shard.job]
        return BatchReport(
            jobs=tuple(jobs),
            ordered=len(ordered),
            ordered_before=len(before),
            results=dict(Counter(outcome.result for outcome in outcomes)),
            reasons=dict(Counter(outcome.reason for outcome in outcomes if outcome.reason)),
            reserved_usd=sum(held.usd for held in ordered),
        )

    def _cut(self, variants: Sequence[Variant]) -> Iterator[list[_Order]]:
        """As many variants as go into one job, at least one."""
        orders: list[_Order] = []
        size = 0
        for variant in variants:
            request = request_for(self.maker.plan, variant, self.maker.references)
            line, usd = self.service.line(request), ceiling_of(request, self.maker.model)
            if orders and (len(orders) == self.max_pictures or size + len(line) > self.max_bytes):
                yield orders
                orders, size = [], 0
            orders.append(_Order(variant, line, usd * self.maker.model.batch_factor))
            size += len(line)
        if orders:
            yield orders

    def _line(self, plan: CampaignPlan, variant: Variant) -> bytes:
        return self.service.line(request_for(plan, variant, self.maker.references))

    def _order(self, orders: list[_Order]) -> tuple[Shard | None, list[_Order], list[tuple[Variant, Refused]]]:
        """Reserve what the caps have room for, and write the shard down in the same transaction."""
        plan, now = self.maker.plan, self.maker.clock()
        held, kept, refused = [], [], []
        with self.book.together():
            for order in orders:
                answer = self.maker.records.reserve(order.variant, order.usd)
                if isinstance(answer, Refused):
                    refused.append((order.variant, answer))
                else:
                    held.append(answer)
                    kept.append(order)
            if not held:
                return None, [], refused
            shard = self.book.order(held, campaign=plan.campaign, occurrence=plan.occurrence, now=now)
            variants = tuple(order.variant for order in kept)
            write_plan(order_path(self.folder, shard.name), replace(plan, variants=variants))
        return shard, kept, refused

    def _go_on(self, shard: Shard) -> None:
        """A shard whose run died, or could not reach the service, before it had a job."""
        job = self.service.find(shard.name)  # a refusal here says nothing about a job that may run
        plan = find_plan(order_path(self.folder, shard.name))
        if job is not None:
            self._submitted(shard, job)
        elif plan is None:
            self.book.release(shard, reason="its order is gone, and it was never submitted", now=self.maker.clock())
        else:
            self.maker.finisher.require_signature()
            self._submit(shard, plan.model, (self._line(plan, variant) for variant in plan.variants))

    def _submit_new(self, shard: Shard, model: str, lines: Iterator[bytes]) -> None:
        """Even a new shard is looked for: a ledger from a backup may have forgotten that it was submitted."""
        try:
            job = self.service.find(shard.name)
        except UserError as error:
            if not isinstance(error, Unavailable):
                self.book.release(shard, reason=str(error), now=self.maker.clock())
            raise
        if job is None:
            self._submit(shard, model, lines)
        else:
            self._submitted(shard, job)

    def _submit(self, shard: Shard, model: str, lines: Iterator[bytes]) -> None:
        try:
            job = self.service.submit(shard.name, model=model, lines=lines)
        except UserError as error:
            if not isinstance(error, Unavailable):  # else it may have been taken: the next run looks for it
                self.book.release(shard, reason=str(error), now=self.maker.clock())
            raise
        self._submitted(shard, job)

    def _submitted(self, shard: Shard, job: str) -> None:
        self.book.submitted(shard, job=job, now=self.maker.clock())
        if self.maker.progress:
            self.maker.progress(f"submitted as {job}: {len(self.book.items(shard))} pictures")
