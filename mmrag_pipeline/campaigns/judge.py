"""Verdicts of a text model on finished pictures: asked for by setting, paid for, kept in the sidecars.

A look is judged once by a model: the answer is kept, also one that is no verdict, and so is that an answer was lost.
Money is reserved and settled as for pictures. No picture hangs on a verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import Ambiguous, BackendError
from mmrag_pipeline.campaigns.backends.gemini_judge import VERSION, GeminiJudge, Judgement, Question
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.rate import SharedRate
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.sidecar import GENERATED, is_whole, look_of, read_sidecar, sidecar_path
from mmrag_pipeline.campaigns.turns import Turns
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import write_json

TURN_S = 300.0
"""A shared rate may keep a question waiting for so long."""


@dataclass(frozen=True)
class JudgeReport:
    """`kept` were judged before; `problems` are sentences on what was not judged."""

    judged: int = 0
    kept: int = 0
    usd: float = 0.0
    problems: tuple[str, ...] = ()


def judgement_in(sidecar: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a judge said of the picture that the sidecar vouches for, None where nobody was asked."""
    found = sidecar.get("judge")
    return found if found and found["look_sha256"] == look_of(sidecar) else None


def judge_pictures(
    plan: CampaignPlan,
    *,
    folder: UPath,
    references: ReferencePictures,
    judge: GeminiJudge,
    ledger: Ledger,
    caps: Caps,
    run_id: str,
    now: datetime,
    rate: SharedRate | None = None,
    progress: Callable[[str], None] | None = None,
) -> JudgeReport:
    """Have every picture judged that this model has not judged yet; previews never are.

    Whoever calls holds the occurrence (`occurrence_lock`): sidecars are rewritten. What can't be asked now is a
    problem in the report, and asked the next time; after a cap, a quota or a refused key nothing more is asked.
    """
    images, turns = folder / "images", Turns(rate)
    judged = kept = 0
    usd, problems = 0.0, []
    for variant in plan.variants:
        sidecar = read_sidecar(images, plan, variant)
        if not sidecar or sidecar["status"] != GENERATED or sidecar["preview"] or not is_whole(images, sidecar):
            continue
        before = judgement_in(sidecar)
        if before and (before["model"], before["version"]) == (judge.model, VERSION):
            kept += 1
            continue
        question = _question(images, sidecar, variant, references)
        reservation = ledger.reserve(
            f"judge-{variant.key}",
            campaign=plan.campaign,
            occurrence=plan.occurrence,
            usd=judge.ceiling(question),
            caps=caps,
            now=now,
            run_id=run_id,
            backend=judge.backend.info.name,
            model=judge.model,
        )
        if isinstance(reservation, Refused):
            problems.append(f"the others were not judged: {reservation.reason}")
            break
        try:
            turns.wait(until=time.monotonic() + TURN_S)
            answer = judge.ask(question)
        except Ambiguous as error:
            answer = Judgement(None, str(error), None)
        except (BackendError, UserError) as error:
            ledger.settle(reservation, outcome="not_judged", usd=0.0, now=now, detail=str(error))
            problems.append(f"the others were not judged: {error}")
            break
        cost = _settle(ledger, reservation, answer, now)
        kept_answer = {
            "model": judge.model,
            "version": VERSION,
            "look_sha256": look_of(sidecar),
            "verdict": answer.verdict.model_dump(mode="json") if answer.verdict else None,
            "why": answer.why,
            "usd": cost,
            "judged_at": now.isoformat(),
        }
        write_json(sidecar_path(images, plan, variant), {**sidecar, "judge": kept_answer})
        judged, usd = judged + 1, usd + cost
        if answer.why:
            problems.append(f"{variant.name}: {answer.why}")
        if progress:
            progress(f"judged {variant.name}")
    return JudgeReport(judged, kept, usd, tuple(problems))


def _question(images: UPath, sidecar: dict[str, Any], variant: Variant, references: ReferencePictures) -> Question:
    return Question(
        picture=(images / sidecar["picture"]["file"]).read_bytes(),
        references=[references.read(reference.sha256) for reference in variant.references],
        product=variant.product_name,
        prompt=variant.excerpt,
    )


def _settle(ledger: Ledger, reservation: Reservation, answer: Judgement, now: datetime) -> float:
    usd, estimated = (reservation.usd, True) if answer.usd is None else (answer.usd, False)
    outcome = "judged" if answer.verdict else "no_verdict"
    ledger.settle(reservation, outcome=outcome, usd=usd, now=now, estimated=estimated, detail=answer.why)
    return usd
