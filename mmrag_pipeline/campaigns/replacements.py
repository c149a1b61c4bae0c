"""A rejected picture gets a successor: the same request with a seed of its own, one number further.

Its key hangs on the rejected one and on nothing else, so planning again finds the same successor and pays nothing
twice; the rejected picture stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from upath import UPath

from mmrag_pipeline.campaigns.decisions import REJECTED, Decision, read_decisions, review_of
from mmrag_pipeline.campaigns.keys import idempotency_key, seed_of
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.sidecar import read_sidecar

MAX_REPLACEMENTS = 3


def plan_replacements(path: UPath) -> CampaignPlan:
    """The plan at `path` with successors for what was rejected since; rewritten only where there are new ones.

    Raises:
        UserError: there is no plan.
    """
    plan = read_plan(path)
    extended = with_replacements(plan, path.parent)
    if extended != plan:
        write_plan(path, extended)
    return extended


def with_replacements(plan: CampaignPlan, folder: UPath) -> CampaignPlan:
    """The plan with a successor behind each variant that people rejected, at most three for one variant.

    A successor that was attempted stays in the plan even where the rejection was taken back: it may be paid.
    """
    decisions = read_decisions(folder)
    if not decisions:
        return plan
    numbers: dict[tuple[str, ...], int] = {}
    for variant in plan.variants:
        numbers[_place(variant)] = max(variant.number, numbers.get(_place(variant), 0))
    present = {variant.key: variant for variant in plan.variants}
    laid_out: list[Variant] = []
    for variant in plan.variants:
        laid_out.append(variant)
        for successor in _successors(plan, variant, folder, decisions, present):
            numbers[_place(variant)] += 1
            successor = replace(successor, number=numbers[_place(variant)])
            present[successor.key] = successor
            laid_out.append(successor)
    return replace(plan, variants=tuple(laid_out))


def replacements_left(variants: Sequence[Variant], variant: Variant) -> int:
    """How often this picture may still be asked for anew."""
    known = {other.key: other for other in variants}
    return MAX_REPLACEMENTS - _depth(variant, known)


def _successors(
    plan: CampaignPlan,
    variant: Variant,
    folder: UPath,
    decisions: Mapping[str, tuple[Decision, ...]],
    present: Mapping[str, Variant],
) -> Iterator[Variant]:
    """New successors of one variant, and of its successors in turn."""
    current, depth = variant, _depth(variant, present)
    while depth < MAX_REPLACEMENTS:
        successor = _successor(current)
        if successor.key in present:
            return  # it stands in the plan and is looked at by itself
        rejected = review_of(decisions.get(current.key, ()), "").state == REJECTED
        if not rejected and read_sidecar(folder / "images", plan, successor) is None:
            return
        yield successor
        current, depth = successor, depth + 1


def _successor(variant: Variant) -> Variant:
    seed = seed_of(variant.key, "instead")
    key = idempotency_key({"replaces": variant.key, "seed": seed})
    return replace(variant, key=key, seed=seed, replaces=variant.key)


def _place(variant: Variant) -> tuple[str, ...]:
    return variant.product, variant.scene, variant.placement, variant.locale


def _depth(variant: Variant, known: Mapping[str, Variant]) -> int:
    """How many successors it took to get to this variant."""
    depth = 0
    while variant.replaces and variant.replaces in known:
        variant, depth = known[variant.replaces], depth + 1
    return depth
