"""What people should look at after a run of campaign_images. Warnings: the pictures that are there stay good."""

from datetime import date, datetime, timedelta

import dagster as dg

from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.defs.verdict import verdict

MOST_BLOCKED = 0.1
MOST_OF_A_CAP = 0.8
RETIRES_WITHIN = timedelta(days=30)


def _spec(name: str, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name, asset="campaign_images", description=description, partitions_def=campaign_occurrences
    )


PICTURE_CHECKS = [
    _spec("blocked_rate", f"At most {MOST_BLOCKED:.0%} of the variants were refused for their content."),
    _spec("cost", f"Pictures cost what was estimated, and no cap is more than {MOST_OF_A_CAP:.0%} used."),
    _spec("model_retirement", f"The image model is not shut down within {RETIRES_WITHIN.days} days."),
]


def check_pictures(
    plan: CampaignPlan, report: PicturesReport, *, ledger: Ledger, caps: Caps, now: datetime
) -> list[dg.AssetCheckResult]:
    """One result for each of PICTURE_CHECKS."""
    return [_blocked(report), _cost(plan, report, ledger, caps, now), _retirement(plan, report, now)]


def _blocked(report: PicturesReport) -> dg.AssetCheckResult:
    blocked = [outcome for outcome in report.outcomes if outcome.result == "blocked"]
    rate = len(blocked) / max(1, len(report.outcomes))
    to_do = (
        "word the scenes or choose the references of the blocked ones differently: the same request is never sent again"
        if rate > MOST_BLOCKED
        else ""
    )
    numbers = {"blocked": len(blocked), "rate": round(rate, 4), "blocked_variants": [o.name for o in blocked]}
    return verdict(to_do, numbers, name="blocked_rate")


def _cost(plan: CampaignPlan, report: PicturesReport, ledger: Ledger, caps: Caps, now: datetime) -> dg.AssetCheckResult:
    estimates = {variant.key: variant.estimated_usd for variant in plan.variants}
    made = [outcome for outcome in report.outcomes if outcome.result == "made"]
    spent = report.spent_usd
    # What a batch made was asked for by no request of this run.
    estimated = sum(estimates[o.key] * (1 if o.requests else plan.price_factor) for o in made)
    used = {
        "budget_usd": _share(ledger.spent(campaign=plan.campaign), caps.campaign_usd),
        "budget_usd_per_occurrence": _share(
            ledger.spent(campaign=plan.campaign, occurrence=plan.occurrence), caps.occurrence_usd
        ),
        "MMRAG_BUDGET_USD_PER_DAY": _share(ledger.spent(day=now), caps.day_usd),
    }
    near = [name for name, share in used.items() if share > MOST_OF_A_CAP]
    to_do = []
    if near:
        to_do.append(f"raise {' and '.join(near)} before the next pictures are skipped")
    if spent > estimated + 1e-6:
        to_do.append(
            "look at what this run paid beyond its estimate: calls that nobody answered count as spent, answers "
            "without a picture are paid too, and prices may have changed (MMRAG_PRICES)"
        )
    numbers = {
        "spent_usd": round(spent, 4),
        "estimated_usd": round(estimated, 4),
        "ambiguous": report.ambiguous,
        **{f"used_of_{name}": round(share, 4) for name, share in used.items()},
    }
    asked = report.requests and backend_info(plan.backend).paid
    return verdict("; ".join(to_do) if asked else "", numbers, name="cost")


def _retirement(plan: CampaignPlan, report: PicturesReport, now: datetime) -> dg.AssetCheckResult:
    model = image_model(plan.model)
    told = [_date(outcome.retires) for outcome in report.outcomes if outcome.retires]
    ends = [model.retired] if model.retired else []
    soonest = min([*ends, *filter(None, told)], default=None)
    due = soonest is not None and soonest <= (now + RETIRES_WITHIN).date()
    instead = model.successor or "a model that stays"
    to_do = f"set `model` in the brief (or MMRAG_GEMINI_MODEL) to {instead}" if due else ""
    return verdict(to_do, {"model": model.id, "retires": str(soonest or "not announced")}, name="model_retirement")


def _share(spent: float, cap: float | None) -> float:
    return spent / cap if cap else 0.0


def _date(told: str) -> date | None:
    """The day in a time that an answer gave; None where it is no time."""
    try:
        return datetime.fromisoformat(told).date()
    except ValueError:
        return None
