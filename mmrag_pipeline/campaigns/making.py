"""A plan -> pictures: one run at a time on an occurrence. What is there already is left alone, without a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import ImageBackend
from mmrag_pipeline.campaigns.backends.batches import BatchService
from mmrag_pipeline.campaigns.batch_collect import DEADLINE, collect_batches
from mmrag_pipeline.campaigns.finishing.finisher import Finisher
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.maker import PictureMaker
from mmrag_pipeline.campaigns.occurrence_lock import hold_occurrence
from mmrag_pipeline.campaigns.outcomes import PictureOutcome, PicturesReport
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.provenance import Credentials, credentials_in_force
from mmrag_pipeline.campaigns.rate import SharedRate
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.campaigns.sidecar import PREVIEW_PREFIX, stem
from mmrag_pipeline.campaigns.turns import Turns
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import TEMPORARY_PREFIX, is_local

PAID_THREADS = 4


def make_pictures(
    plan: CampaignPlan,
    *,
    backend: ImageBackend,
    ledger: Ledger,
    folder: UPath,
    references: ReferencePictures,
    caps: Caps,
    run_id: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    progress: Callable[[str], None] | None = None,
    lock_wait_s: float = 600.0,
    retry_ambiguous: bool = False,
    threads: int | None = None,
    rate: SharedRate | None = None,
    batches: BatchService | None = None,
    batch_deadline: timedelta = DEADLINE,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    credentials: Credentials | None = None,
) -> PicturesReport:
    """Make what is missing of a plan under `folder` (the occurrence's folder), `threads` pictures at a time.

    `threads` is by default 4 where the backend waits for somebody else, and 1 where it computes here. Outcomes
    come in the order of the plan. Once one thread has met an end (quota, nobody there, a wrong key, overload that does
    not end), no thread sends anything new; what was sent already is waited for and kept.

    Pictures are signed with `credentials`, by default those made for development beside the ledger. What is there is
    finished anew, for nothing, where its logo, lines, size or certificate is no longer that of the plan.

    One run at a time works on an occurrence: two ticks that overlap would otherwise pay for the same keys
    twice. A call whose outcome nobody knows counts as spent, and its variant is only asked for again with
    `retry_ambiguous`; a call that a crash cut off counts as spent too, and its variant is asked for again.

    What `batches` has made is taken first, and what it still makes is left to it; see batch_collect.py.

    Raises:
        UserError: no picture can be made at all (key, model, certificate, plan made for another backend); nothing is
            lost.
        Unavailable: another run still works on this occurrence after `lock_wait_s` seconds.
    """
    with at_work(
        plan,
        backend=backend,
        ledger=ledger,
        folder=folder,
        references=references,
        caps=caps,
        run_id=run_id,
        clock=clock,
        retries=retries,
        progress=progress,
        lock_wait_s=lock_wait_s,
        retry_ambiguous=retry_ambiguous,
        rate=rate,
        prices=prices,
        credentials=credentials,
    ) as maker:
        known = collect_batches(maker, service=batches, deadline=batch_deadline) if backend.info.paid else {}
        at_once = threads or (PAID_THREADS if backend.info.paid else 1)
        outcomes = _make_all(maker, plan, known, maker.turns, threads=at_once, progress=progress)
    return PicturesReport(plan.backend, outcomes, maker.turns.stopped)


@contextmanager
def at_work(
    plan: CampaignPlan,
    *,
    backend: ImageBackend,
    ledger: Ledger,
    folder: UPath,
    references: ReferencePictures,
    caps: Caps,
    run_id: str,
    clock: Callable[[], datetime],
    retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    progress: Callable[[str], None] | None = None,
    lock_wait_s: float = 600.0,
    retry_ambiguous: bool = False,
    rate: SharedRate | None = None,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    credentials: Credentials | None = None,
) -> Iterator[PictureMaker]:
    """Hold an occurrence and tidy it up: nobody else pays for its pictures meanwhile. See make_pictures."""
    if (backend.info.name, backend.info.version) != (plan.backend, plan.backend_version):
        raise UserError(
            f"the plan of {plan.campaign} {plan.occurrence} is for backend {plan.backend} version "
            f"{plan.backend_version}, not "
            f"{backend.info.name} version {backend.info.version}: run campaign_plan for this "
            "occurrence again."
        )
    images = folder / "images"
    finisher = Finisher(
        plan,
        paid=backend.info.paid,
        references=references,
        credentials=credentials or credentials_in_force(None, None, ledger=ledger.path),
    )
    with hold_occurrence(ledger.path, campaign=plan.campaign, occurrence=plan.occurrence, wait_s=lock_wait_s):
        _tidy(images, plan)
        _tidy(folder / "originals", plan)
        _tidy(references.folder, plan)
        turns = Turns(rate if backend.info.paid else None)  # what asks nobody waits for nobody's rate
        model = prices.of(image_model(plan.model))
        yield PictureMaker(
            plan,
            backend,
            ledger,
            images,
            references,
            caps,
            run_id,
            clock,
            retries,
            progress,
            retry_ambiguous,
            turns,
            model,
            finisher,
        )


def _make_all(
    maker: PictureMaker,
    plan: CampaignPlan,
    known: Mapping[str, PictureOutcome],
    turns: Turns,
    *,
    threads: int,
    progress: Callable[[str], None] | None,
) -> tuple[PictureOutcome, ...]:
    def make(variant: Variant) -> PictureOutcome:
        try:
            return known.get(variant.key) or maker.make(variant)
        except BaseException as error:  # here, before this thread takes the next one
            turns.stop(str(error) or type(error).__name__)
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="picture") as pool:
        made = {pool.submit(make, variant): variant for variant in plan.variants}
        try:
            for number, future in enumerate(as_completed(made), 1):
                outcome = future.result()
                if progress:
                    said = f": {outcome.reason}" if outcome.reason else ""
                    progress(f"[{number}/{len(made)}] {outcome.result} {outcome.name}{said}")
        except BaseException as error:
            turns.stop(str(error) or type(error).__name__)
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(future.result() for future in made)


def _tidy(folder: UPath, plan: CampaignPlan) -> None:
    """Remove what a killed run left half written, and previews that no variant of the plan asks for any
    more.
    """
    if not folder.exists():
        return
    wanted = {stem(plan, variant) for variant in plan.variants}
    for file in list(folder.iterdir()):
        half = is_local(file) and file.name.startswith(TEMPORARY_PREFIX)
        stale = plan.backend == "preview" and file.name.startswith(PREVIEW_PREFIX) and file.stem not in wanted
        if half or stale:
            file.unlink()
