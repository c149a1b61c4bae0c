"""A plan -> pictures: one run at a time on an occurrence. What is there already is left alone, without a call."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import ImageBackend
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.maker import PictureMaker, Stop
from mmrag_pipeline.campaigns.outcomes import PictureOutcome, PicturesReport
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.campaigns.sidecar import PREVIEW_PREFIX, stem
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.store import TEMPORARY_PREFIX, is_local


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
) -> PicturesReport:
    """Make what is missing of a plan under `folder` (the occurrence's folder), one picture after the other.

    One run at a time works on an occurrence: two ticks that overlap would otherwise pay for the same keys
    twice. A call whose outcome nobody knows counts as spent, and its variant is only asked for again with
    `retry_ambiguous`; a call that a crash cut off counts as spent too, and its variant is asked for again.

    Raises:
        UserError: no picture can be made at all (key, model, plan made for another backend); nothing is lost.
        Unavailable: another run still works on this occurrence after `lock_wait_s` seconds.
    """
    import filelock

    if (backend.info.name, backend.info.version) != (plan.backend, plan.backend_version):
        raise UserError(
            f"the plan of {plan.campaign} {plan.occurrence} is for backend {plan.backend} version "
            f"{plan.backend_version}, not "
            f"{backend.info.name} version {backend.info.version}: run campaign_plan for this "
            "occurrence again."
        )
    images = folder / "images"
    locks = os.path.join(os.path.dirname(ledger.path), "locks")
    os.makedirs(locks, exist_ok=True)
    lock = filelock.FileLock(os.path.join(locks, f"{plan.campaign}.{plan.occurrence}.lock"))
    try:
        held = lock.acquire(timeout=lock_wait_s)
    except filelock.Timeout:
        raise Unavailable(
            f"another run has worked on {plan.campaign} {plan.occurrence} for over {lock_wait_s:g} s: "
            f"wait for it to "
            "end, then run again."
        ) from None
    with held:
        _tidy(images, plan)
        _tidy(references.folder, plan)
        maker = PictureMaker(
            plan, backend, ledger, images, references, caps, run_id, clock, retries, progress, retry_ambiguous
        )
        outcomes: list[PictureOutcome] = []
        stopped = ""
        for number, variant in enumerate(plan.variants, 1):
            if stopped:
                outcome = maker.existing(variant) or maker.failed(variant, f"not tried: {stopped}")
            else:
                try:
                    outcome = maker.make(variant)
                except Stop as stop:
                    stopped, outcome = str(stop), stop.outcome
            outcomes.append(outcome)
            if progress:
                said = f": {outcome.reason}" if outcome.reason else ""
                progress(f"[{number}/{len(plan.variants)}] {outcome.result} {variant.name}{said}")
    return PicturesReport(plan.backend, tuple(outcomes), stopped)


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
