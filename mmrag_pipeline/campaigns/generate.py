"""A plan -> pictures, each made and paid for once. What is there already is left alone, without a call.

Order of every picture: money reserved, call, picture written, sidecar written (the commit), money settled.
Killed between any two of these, the next run finds out from the files and the ledger what is left to do.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.backends.base import (
    Ambiguous,
    BackendError,
    Card,
    Exhausted,
    GenerationRequest,
    GenerationResult,
    ImageBackend,
    NoImage,
    Ok,
    ReferencePicture,
    Unreachable,
)
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.campaigns.occurrence_lock import hold_occurrence
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.retry import Calls, RetryPolicy, generate_with_retries
from mmrag_pipeline.campaigns.sidecar import (
    AMBIGUOUS,
    BLOCKED,
    GENERATED,
    PREVIEW_PREFIX,
    Picture,
    is_whole,
    read_sidecar,
    stem,
    write_sidecar,
)
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import TEMPORARY_PREFIX, is_local, write_bytes

MIMES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}
RATIO_TOLERANCE = 0.03
NOT_ANSWERED = ("failed", "skipped_budget")

Result = Literal["made", "skipped_existing", "skipped_budget", "blocked", "no_image", "failed"]
RESULTS: tuple[Result, ...] = ("made", "skipped_existing", "skipped_budget", "blocked", "no_image", "failed")


@dataclass(frozen=True)
class PictureOutcome:
    """What became of one variant in this run. `usd` counts what this run spent on it."""

    key: str
    name: str
    result: Result
    reason: str = ""
    file: str = ""
    requests: int = 0
    usd: float = 0.0


@dataclass(frozen=True)
class PicturesReport:
    """What became of every variant of a plan."""

    backend: str
    outcomes: tuple[PictureOutcome, ...]
    stopped: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Variants by result, every result named."""
        found = Counter(outcome.result for outcome in self.outcomes)
        return {result: found[result] for result in RESULTS}

    @property
    def requests(self) -> int:
        """Calls made in this run."""
        return sum(outcome.requests for outcome in self.outcomes)

    @property
    def spent_usd(self) -> float:
        """US dollars that this run spent, ambiguous calls in full."""
        return sum(outcome.usd for outcome in self.outcomes)

    @property
    def none_succeeded(self) -> bool:
        """True where calls were made and not one picture is there: the run has failed."""
        counts = self.counts
        return self.requests > 0 and counts["made"] + counts["skipped_existing"] == 0

    @property
    def reasons(self) -> dict[str, int]:
        """The reasons of what was not made, most frequent first."""
        return dict(Counter(o.reason for o in self.outcomes if o.reason).most_common())


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
    if (backend.info.name, backend.info.version) != (plan.backend, plan.backend_version):
        raise UserError(
            f"the plan of {plan.campaign} {plan.occurrence} is for backend {plan.backend} version "
            f"{plan.backend_version}, not "
            f"{backend.info.name} version {backend.info.version}: run campaign_plan for this "
            "occurrence again."
        )
    images = folder / "images"
    with hold_occurrence(ledger.path, campaign=plan.campaign, occurrence=plan.occurrence, wait_s=lock_wait_s):
        _tidy(images, plan)
        _tidy(references.folder, plan)
        maker = _Maker(
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
                except _Stop as stop:
                    stopped, outcome = str(stop), stop.outcome
            outcomes.append(outcome)
            if progress:
                said = f": {outcome.reason}" if outcome.reason else ""
                progress(f"[{number}/{len(plan.variants)}] {outcome.result} {variant.name}{said}")
    return PicturesReport(plan.backend, tuple(outcomes), stopped)


class _Stop(Exception):
    """No further call makes sense in this run."""

    def __init__(self, reason: str, outcome: PictureOutcome):
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True)
class _Maker:
    """Everything that making one picture needs besides the variant."""

    plan: CampaignPlan
    backend: ImageBackend
    ledger: Ledger
    images: UPath
    references: ReferencePictures
    caps: Caps
    run_id: str
    clock: Callable[[], datetime]
    retries: RetryPolicy
    progress: Callable[[str], None] | None
    retry_ambiguous: bool

    def make(self, variant: Variant) -> PictureOutcome:
        if found := self.existing(variant):
            return found
        request = request_for(self.plan, variant, self.references)
        reservation = None
        if self.backend.info.paid:
            answer = self.ledger.reserve(
                variant.key,
                campaign=self.plan.campaign,
                occurrence=self.plan.occurrence,
                usd=variant.estimated_usd,
                caps=self.caps,
                now=self.clock(),
                run_id=self.run_id,
                backend=self.plan.backend,
                model=self.plan.model,
            )
            if isinstance(answer, Refused):
                self._note(variant, "skipped_budget", answer.reason)
                return self._outcome(variant, "skipped_budget", answer.reason)
            reservation = answer
        return self._call(variant, request, reservation)

    def existing(self, variant: Variant) -> PictureOutcome | None:
        """What earlier runs left of a variant, if that is final; a crash's loose ends are tied up on the
        way.
        """
        sidecar = read_sidecar(self.images, self.plan, variant)
        if sidecar and sidecar["status"] == BLOCKED:
            self._settle_late(variant, sidecar)
            return self._outcome(variant, "blocked", sidecar["reason"])
        if sidecar and sidecar["status"] == GENERATED and is_whole(self.images, sidecar):
            self._settle_late(variant, sidecar)
            return self._outcome(variant, "skipped_existing", file=sidecar["picture"]["file"])
        if sidecar and sidecar["status"] == AMBIGUOUS:
            self._settle_late(variant, sidecar)
            final = None if self.retry_ambiguous else self._outcome(variant, "failed", sidecar["reason"])
            return self._adopt(variant, sidecar) or final
        if not sidecar or sidecar["status"] != GENERATED:
            return self._adopt(variant, sidecar)
        return None

    def failed(self, variant: Variant, reason: str) -> PictureOutcome:
        self._note(variant, "failed", reason)
        return self._outcome(variant, "failed", reason)

    def _call(self, variant: Variant, request: GenerationRequest, reservation: Reservation | None) -> PictureOutcome:
        calls = Calls()
        try:
            result = generate_with_retries(
                self.backend, request, policy=self.retries, calls=calls, progress=self.progress
            )
        except Ambiguous as error:
            usd = reservation.usd if reservation else 0.0
            said = str(error).rstrip(".")
            reason = f"{said}; it counts as spent: set retry_ambiguous on campaign_images to ask again."
            self._note(variant, AMBIGUOUS, reason, reservation, requests=calls.sent, usd=usd, estimated=True)
            self._settle(reservation, AMBIGUOUS, usd, calls.sent, estimated=True, detail=reason)
            return self._outcome(variant, "failed", reason, requests=calls.sent, usd=usd)
        except BackendError as error:
            self._settle(reservation, type(error).__name__.lower(), 0.0, calls.sent, detail=str(error))
            self._note(variant, "failed", str(error), reservation, requests=calls.sent)
            outcome = self._outcome(variant, "failed", str(error), requests=calls.sent)
            if isinstance(error, Exhausted | Unreachable):
                raise _Stop(str(error), outcome) from None
            return outcome
        except UserError as error:
            self._settle(reservation, "refused", 0.0, calls.sent, detail=str(error))
            raise
        usd, estimated = _cost(result, reservation)
        if isinstance(result, NoImage):
            status: Result = "blocked" if result.kind == "blocked" else "no_image"
            self._note(
                variant,
                status,
                result.reason,
                reservation,
                requests=calls.sent,
                usd=usd,
                estimated=estimated,
                result=result,
            )
            self._settle(reservation, status, usd, calls.sent, estimated=estimated, detail=result.reason)
            return self._outcome(variant, status, result.reason, requests=calls.sent, usd=usd)
        picture = _picture(stem(self.plan, variant), result.picture, result.format, result.width, result.height)
        write_bytes(self.images / picture.file, result.picture)
        self._commit(variant, picture, reservation, calls.sent, usd, estimated, result)
        self._settle(reservation, GENERATED, usd, calls.sent, estimated=estimated)
        return self._outcome(variant, "made", file=picture.file, requests=calls.sent, usd=usd)

    def _adopt(self, variant: Variant, sidecar: dict[str, Any] | None) -> PictureOutcome | None:
        """A picture that was paid for and written by a run that died before its sidecar: keep it, don't pay
        again.
        """
        reservation = self.ledger.open(variant.key) if self.backend.info.paid else None
        if reservation is None or (sidecar and reservation.id <= (sidecar["reservation"] or 0)):
            return None
        for format_, suffix in SUFFIXES.items():
            file = self.images / f"{stem(self.plan, variant)}.{suffix}"
            if not file.exists():
                continue
            data = file.read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                size = image.size
            picture = _picture(stem(self.plan, variant), data, format_, *size)
            self._commit(variant, picture, reservation, 1, reservation.usd, True, None)
            self._settle(reservation, GENERATED, reservation.usd, 1, estimated=True, detail="recovered after a crash")
            return self._outcome(variant, "skipped_existing", file=picture.file)
        return None

    def _commit(
        self,
        variant: Variant,
        picture: Picture,
        reservation: Reservation | None,
        requests: int,
        usd: float,
        estimated: bool,
        result: Ok | None,
    ) -> None:
        got, wanted = picture.width / picture.height, variant.width / variant.height
        off = abs(got / wanted - 1) > RATIO_TOLERANCE
        size = f"{picture.width} x {picture.height}"
        self._note(
            variant,
            GENERATED,
            "",
            reservation,
            requests=requests,
            usd=usd,
            estimated=estimated,
            result=result,
            picture=picture,
            images_returned=result.images_returned if result else 1,
            warnings=[f"asked for {variant.aspect_ratio}, the picture is {size}"] if off else [],
            recovered=result is None,
        )

    def _note(
        self,
        variant: Variant,
        status: str,
        reason: str,
        reservation: Reservation | None = None,
        *,
        requests: int = 0,
        usd: float = 0.0,
        estimated: bool = False,
        result: GenerationResult | None = None,
        **more: Any,
    ) -> None:
        if status in NOT_ANSWERED and (read_sidecar(self.images, self.plan, variant) or {}).get("status") == AMBIGUOUS:
            return  # asking again got no answer either: it may still have been billed the first time
        write_sidecar(
            self.images,
            self.plan,
            variant,
            status=status,
            reason=reason,
            reservation=reservation.id if reservation else None,
            run_id=self.run_id,
            created_at=self.clock().isoformat(),
            requests=requests,
            usd=usd,
            estimated=estimated,
            answer=asdict(result.answer) if result else None,
            usage=dict(result.usage.tokens) if result and result.usage else None,
            **more,
        )

    def _settle(
        self,
        reservation: Reservation | None,
        outcome: str,
        usd: float,
        requests: int,
        *,
        estimated: bool = False,
        detail: str = "",
    ) -> None:
        if reservation is not None:
            self.ledger.settle(
                reservation,
                outcome=outcome,
                usd=usd,
                now=self.clock(),
                estimated=estimated,
                requests=requests,
                detail=detail,
            )

    def _settle_late(self, variant: Variant, sidecar: dict[str, Any]) -> None:
        """The run that wrote this sidecar may have died before it settled; the sidecar knows the price."""
        reservation = self.ledger.open(variant.key) if self.backend.info.paid else None
        if reservation and reservation.id == sidecar["reservation"]:
            cost = sidecar["cost"]
            self._settle(
                reservation,
                sidecar["status"],
                cost["usd"],
                sidecar["requests"],
                estimated=cost["estimated"],
                detail="settled by the next run",
            )

    def _outcome(self, variant: Variant, result: Result, reason: str = "", **more: object) -> PictureOutcome:
        return replace(PictureOutcome(variant.key, variant.name, result, reason), **more)


def request_for(plan: CampaignPlan, variant: Variant, references: ReferencePictures) -> GenerationRequest:
    """What is sent (or drawn) for a variant; the reference bytes are checked against the plan's hashes."""
    sent = tuple(
        ReferencePicture(references.read(r.sha256), r.mime, r.sha256, r.label, caption=r.title or r.path)
        for r in variant.references
    )
    card = Card(
        title=plan.title,
        message=plan.message,
        product=variant.product_name,
        scene=variant.scene,
        placement=variant.placement,
        locale=variant.locale,
        number=str(variant.number),
        excerpt=variant.excerpt,
        cost=f"would cost up to ${variant.price_usd:.3f} with {plan.model}",
        palette=plan.palette,
    )
    return GenerationRequest(
        key=variant.key,
        model=plan.model,
        prompt=variant.prompt,
        system_instruction=variant.system_instruction,
        references=sent,
        aspect_ratio=variant.aspect_ratio,
        image_size=variant.image_size,
        pixels=(variant.width, variant.height),
        seed=variant.seed,
        temperature=variant.temperature,
        card=card,
    )


def _picture(name: str, data: bytes, format_: str, width: int, height: int) -> Picture:
    digest = hashlib.sha256(data).hexdigest()
    return Picture(f"{name}.{SUFFIXES[format_]}", digest, len(data), MIMES[format_], width, height)


def _cost(result: Ok | NoImage, reservation: Reservation | None) -> tuple[float, bool]:
    """US dollars and whether they are estimated: without a usage that can be priced, the reservation
    stands.
    """
    if reservation is None:
        return 0.0, False
    if result.usage is not None and result.usage.usd is not None:
        return result.usage.usd, False
    return reservation.usd, True


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
