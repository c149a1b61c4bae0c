"""One variant -> its picture, made and paid for once. Running a whole plan is making.py's work.

Order of every picture: money reserved, call, original written, finished picture written, sidecar written (the commit),
money settled. Killed between any two of these, the next run finds out from the files and the ledger what is left to do;
from the original on, that costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import (
    Ambiguous,
    BackendError,
    Exhausted,
    GenerationRequest,
    GenerationResult,
    ImageBackend,
    NoImage,
    Ok,
    Throttled,
    Unreachable,
)
from mmrag_pipeline.campaigns.finishing.finisher import Finished, Finisher
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.campaigns.originals import (
    FORMATS,
    Original,
    find_original,
    opened_original,
    picture_of,
    read_original,
    remove_leftovers,
)
from mmrag_pipeline.campaigns.outcomes import Cause, PictureOutcome, Result
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.purse import Purse
from mmrag_pipeline.campaigns.records import Records
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.registry import ImageModel
from mmrag_pipeline.campaigns.requests import ceiling_of, request_for
from mmrag_pipeline.campaigns.retry import RetryPolicy, Tries, generate_with_retries
from mmrag_pipeline.campaigns.sidecar import (
    AMBIGUOUS,
    BLOCKED,
    GENERATED,
    is_whole,
    read_sidecar,
    sidecar_path,
    stem,
)
from mmrag_pipeline.campaigns.turns import Stopped, Turns
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import require_room, write_bytes, write_json

ROOM_MB = 256
"""Free on the disk before a picture is asked for: what all threads write of an answer, with room to spare."""
STATUSES: dict[str, Result] = {"blocked": "blocked", "empty": "no_image", "disabled": "failed"}
"""What an answer without a picture is in the sidecar and in the report; only `blocked` is final."""


@dataclass(frozen=True)
class PictureMaker:
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
    turns: Turns
    model: ImageModel
    """With the prices in force."""
    finisher: Finisher
    purse: Purse = field(default_factory=Purse)
    batch_job: str | None = None

    @cached_property
    def records(self) -> Records:
        """Ledger and sidecars of this run."""
        return Records(
            self.plan,
            self.ledger,
            self.images,
            self.caps,
            self.run_id,
            self.clock,
            self.model,
            paid=self.backend.info.paid,
            batch_job=self.batch_job,
        )

    @property
    def originals(self) -> UPath:
        return self.images.parent / "originals"

    def make(self, variant: Variant) -> PictureOutcome:
        """What is there already, or else the picture, asked for as often as the policy allows; each try is reserved
        before it is sent and settled after.

        Raises:
            UserError: no request can go through, or no picture be signed.
        """
        if found := self.existing(variant):
            return found
        if self.turns.stopped:
            return self.not_tried(variant)
        self.finisher.require_signature()
        self.remove_leftovers(variant)
        request, tries = request_for(self.plan, variant, self.references), Tries(self.retries)
        outcome = None
        while outcome is None or (not self.turns.stopped and tries.may_ask_again(outcome.cause)):
            asked = tries.ask(request)
            self._require_room()
            reservation = self._reserve(variant, asked) if self.backend.info.paid else None
            if isinstance(reservation, Refused):
                if outcome is not None:
                    return outcome  # the money was enough for the tries so far
                return self.over_budget(variant, reservation)
            before, tries.sent = outcome, 0
            try:
                outcome = self._call(variant, asked, reservation, tries)
            finally:
                if reservation is not None:
                    self.purse.release()
            if before is not None:
                outcome = replace(outcome, requests=before.requests + outcome.requests, usd=before.usd + outcome.usd)
        return outcome

    def existing(self, variant: Variant) -> PictureOutcome | None:
        """What earlier runs left of a variant, if that is final; a crash's loose ends are tied up on the
        way.
        """
        sidecar = read_sidecar(self.images, self.plan, variant)
        if sidecar and sidecar["status"] == BLOCKED:
            self.records.settle_late(variant, sidecar)
            return self._outcome(variant, "blocked", sidecar["reason"], cause="blocked")
        if sidecar and sidecar["status"] == GENERATED and (found := self._kept(variant, sidecar)):
            self.records.settle_late(variant, sidecar)
            return found
        if sidecar and sidecar["status"] == AMBIGUOUS:
            self.records.settle_late(variant, sidecar)
            final = (
                None if self.retry_ambiguous else self._outcome(variant, "failed", sidecar["reason"], cause="ambiguous")
            )
            return self._adopt(variant, sidecar) or final
        return self._adopt(variant, sidecar)

    def lost(self, variant: Variant, reservation: Reservation, outcome: str, reason: str, *, usd: float) -> None:
        """An order that gave nothing: what it may have cost is said beside the picture too, which may be asked for
        again.
        """
        self.records.note(variant, "failed", reason, reservation, requests=1, usd=usd, estimated=usd > 0)
        self.records.settle(reservation, outcome, usd, 1, estimated=usd > 0, detail=reason)

    def adopt(self, variant: Variant) -> PictureOutcome | None:
        """What was written of an open reservation before a run died or could not finish it."""
        return self._adopt(variant, read_sidecar(self.images, self.plan, variant))

    def remove_leftovers(self, variant: Variant) -> None:
        """Remove what nothing can be made of, before a picture is ordered that takes its place."""
        for folder in (self.originals, self.images):
            remove_leftovers(folder, stem(self.plan, variant))

    def not_tried(self, variant: Variant) -> PictureOutcome:
        """A variant that the run stopped before."""
        reason = f"not tried: {self.turns.stopped}"
        self.records.note(variant, "failed", reason)
        return self._outcome(variant, "failed", reason, cause="not_tried")

    def over_budget(self, variant: Variant, refused: Refused) -> PictureOutcome:
        """A variant that no cap has room for."""
        self.records.note(variant, "skipped_budget", refused.reason)
        return self._outcome(variant, "skipped_budget", refused.reason, cause="budget")

    def _require_room(self) -> None:
        """Before it is paid: an answer that can't be written would be lost, and paid again."""
        if not self.backend.info.paid:
            return
        try:
            require_room(self.originals, ROOM_MB)
        except UserError as error:
            self.turns.stop(str(error))
            raise

    def _reserve(self, variant: Variant, request: GenerationRequest) -> Reservation | Refused:
        return self.purse.reserve(lambda: self.records.reserve(variant, ceiling_of(request, self.model)))

    def _call(
        self, variant: Variant, request: GenerationRequest, reservation: Reservation | None, tries: Tries
    ) -> PictureOutcome:
        try:
            result = generate_with_retries(self.backend, request, tries=tries, turns=self.turns, progress=self.progress)
        except Stopped:
            self.records.settle(reservation, "not_sent", 0.0, tries.sent, detail=self.turns.stopped)
            return replace(self.not_tried(variant), requests=tries.sent)
        except Ambiguous as error:
            usd = reservation.usd if reservation else 0.0
            said = str(error).rstrip(".")
            reason = f"{said}; it counts as spent: set retry_ambiguous on campaign_images to ask again."
            self.records.note(variant, AMBIGUOUS, reason, reservation, requests=tries.sent, usd=usd, estimated=True)
            self.records.settle(reservation, AMBIGUOUS, usd, tries.sent, estimated=True, detail=reason)
            return self._outcome(variant, "failed", reason, requests=tries.sent, usd=usd, cause="ambiguous")
        except BackendError as error:
            if isinstance(error, Exhausted | Unreachable):
                self.turns.stop(str(error))
            elif isinstance(error, Throttled) and tries.sent:
                self.turns.gave_up(str(error))
            self.records.settle(reservation, type(error).__name__.lower(), 0.0, tries.sent, detail=str(error))
            self.records.note(variant, "failed", str(error), reservation, requests=tries.sent)
            return self._outcome(variant, "failed", str(error), requests=tries.sent, cause=_cause(error))
        except UserError as error:
            self.turns.stop(str(error))
            self.records.settle(reservation, "refused", 0.0, tries.sent, detail=str(error))
            raise
        self.turns.answered()
        return self.take(variant, result, reservation, requests=tries.sent, seed_sent=request.seed)

    def take(
        self,
        variant: Variant,
        result: GenerationResult,
        reservation: Reservation | None,
        *,
        requests: int,
        seed_sent: int | None,
    ) -> PictureOutcome:
        """Keep an answer: original, finished picture, sidecar, settlement. Until it is settled, taking the same answer
        again ends the same.
        """
        usd, estimated = _cost(result, reservation)
        if isinstance(result, NoImage):
            status = STATUSES[result.kind]
            if result.kind == "disabled":
                self.turns.stop(result.reason)
            self.records.note(
                variant,
                status,
                result.reason,
                reservation,
                requests=requests,
                usd=usd,
                estimated=estimated,
                result=result,
                seed_sent=seed_sent,
            )
            self.records.settle(reservation, status, usd, requests, estimated=estimated, detail=result.reason)
            return self._outcome(variant, status, result.reason, requests=requests, usd=usd, cause=result.kind)
        name = stem(self.plan, variant)
        vouched = picture_of(name, result.picture, result.format, result.width, result.height)
        original = Original(vouched, result.picture)
        write_bytes(self.originals / original.picture.file, original.data)
        finished = self._finish(variant, original)
        self._commit(variant, original, finished, reservation, requests, usd, estimated, result, seed_sent=seed_sent)
        self.records.settle(reservation, GENERATED, usd, requests, estimated=estimated)
        retires = result.answer.retires or ""
        return self._outcome(variant, "made", file=finished.picture.file, requests=requests, usd=usd, retires=retires)

    def _kept(self, variant: Variant, sidecar: dict[str, Any]) -> PictureOutcome | None:
        """A committed picture, finished anew where its file is gone or altered, or its finish is not today's."""
        whole = is_whole(self.images, sidecar)
        if whole and self.finisher.is_current(variant, sidecar):
            return self._outcome(variant, "skipped_existing", file=sidecar["picture"]["file"])
        original = read_original(self.originals, sidecar)
        if original is None and whole and "original" not in sidecar:
            # Earlier versions finished nothing: what they wrote is what was paid for.
            file = self.images / sidecar["picture"]["file"]
            original = opened_original(file.stem, file.read_bytes(), FORMATS[sidecar["picture"]["mime"]])
            write_bytes(self.originals / file.name, original.data)
        if original is not None and self.finisher.fits(variant, original):
            return self._finish_again(variant, sidecar, original)
        if whole and self.backend.info.paid:
            reason = "its original is gone or was altered, so it keeps the logo, lines and size that it has."
            return self._outcome(variant, "skipped_existing", reason, file=sidecar["picture"]["file"])
        return None

    def _finish_again(self, variant: Variant, sidecar: dict[str, Any], original: Original) -> PictureOutcome:
        finished = self._finish(variant, original)
        before = (sidecar.get("finish") or {}).get("warnings", [])
        content = {
            **sidecar,
            "picture": asdict(finished.picture),
            "original": asdict(original.picture),
            "finish": finished.finish,
            "provenance": finished.provenance,
            "warnings": [said for said in sidecar["warnings"] if said not in before] + finished.warnings,
        }
        write_json(sidecar_path(self.images, self.plan, variant), content)
        return self._outcome(variant, "skipped_existing", file=finished.picture.file, refinished=True)

    def _finish(self, variant: Variant, original: Original) -> Finished:
        finished = self.finisher.finish(variant, original)
        write_bytes(self.images / finished.picture.file, finished.data)
        return finished

    def _adopt(self, variant: Variant, sidecar: dict[str, Any] | None) -> PictureOutcome | None:
        """A picture that was paid for and written by a run that died before its sidecar, or whose sidecar is lost: keep
        it, don't pay again.
        """
        if not self.backend.info.paid:
            return None
        reservation = self.ledger.open(variant.key)
        if sidecar and (reservation is None or reservation.id <= (sidecar["reservation"] or 0)):
            return None
        original = find_original(self.originals, stem(self.plan, variant))
        if original is None:
            return None
        usd = reservation.usd if reservation else self.records.settled_usd(variant)
        finished = self._finish(variant, original)
        self._commit(variant, original, finished, reservation, 1, usd, True, None)
        self.records.settle(reservation, GENERATED, usd, 1, estimated=True, detail="recovered after a crash")
        return self._outcome(variant, "skipped_existing", file=finished.picture.file, refinished=True)

    def _commit(
        self,
        variant: Variant,
        original: Original,
        finished: Finished,
        reservation: Reservation | None,
        requests: int,
        usd: float,
        estimated: bool,
        result: Ok | None,
        seed_sent: int | None = None,
    ) -> None:
        self.records.note(
            variant,
            GENERATED,
            "",
            reservation,
            requests=requests,
            usd=usd,
            estimated=estimated,
            result=result,
            picture=finished.picture,
            original=original.picture,
            finish=finished.finish,
            provenance=finished.provenance,
            images_returned=result.images_returned if result else 1,
            warnings=finished.warnings,
            recovered=result is None,
            seed_sent=seed_sent,
        )

    def _outcome(self, variant: Variant, result: Result, reason: str = "", **more: object) -> PictureOutcome:
        return replace(PictureOutcome(variant.key, variant.name, result, reason), **more)


def _cause(error: BackendError) -> Cause:
    match error:
        case Exhausted():
            return "exhausted"
        case Throttled():
            return "throttled"
        case _:
            return "rejected"


def _cost(result: Ok | NoImage, reservation: Reservation | None) -> tuple[float, bool]:
    """US dollars and whether they are estimated: without a usage that can be priced, the reservation
    stands.
    """
    if reservation is None:
        return 0.0, False
    if result.usage is not None and result.usage.usd is not None:
        return result.usage.usd, False
    return reservation.usd, True
