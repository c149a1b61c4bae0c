"""How `mmrag campaign plan` shows a plan in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Column, Table

from mmrag_pipeline.campaigns.plan_words import APPROVALS, by_product, count, likeness, ordered_how, place
from mmrag_pipeline.cli_output import out, plain

if TYPE_CHECKING:
    from mmrag_pipeline.plan_brief import BriefPlan


def show_plan(planned: BriefPlan, *, prompts: bool) -> None:
    """Products with their references, pictures, what is left out, cost, caps, and on request the prompts."""
    plan = planned.plan
    out.print(f"[bold]{plain(plan.title)}[/]  {plain(planned.occurrence.key)}", highlight=False)
    if planned.kept:
        out.print("The plan of an earlier run, which the next one keeps; --replan shows a new one.")
    references = Table("product", "#", "similarity", "title", "sku", Column("file", overflow="fold"))
    for product in by_product(plan):
        for at, reference in enumerate(product.references):
            cells = (likeness(reference), reference.title, reference.sku, place(reference))
            name = "" if at else product.name
            references.add_row(*map(plain, (name, str(reference.order), *cells)))
        references.add_section()
    pictures = Table("product", "scene", "placement", "locale", "n", "pixels", "about USD", "key")
    for variant in plan.variants:
        size = f"{variant.width} x {variant.height}"
        where = (variant.scene, variant.placement, variant.locale, str(variant.number))
        price = f"{variant.price_usd * plan.price_factor:.4f}"
        pictures.add_row(*map(plain, (variant.product, *where, size, price, variant.key[:12])))
    if plan.variants:
        out.print(references)
        out.print(pictures)
    if plan.left_out:
        table = Table("left out", Column("why", overflow="fold"))
        for left_out in plan.left_out:
            table.add_row(plain(left_out.product), plain(left_out.reason))
        out.print(table)
    for variant in plan.variants if prompts else ():
        labels = "\n".join(reference.label for reference in variant.references)
        out.print(f"\n[bold]{plain(variant.name)}[/]", highlight=False)
        out.print(plain(f"{variant.system_instruction}\n\n{labels}\n\n{variant.prompt}"), highlight=False)
    _show_money(planned)


def _show_money(planned: BriefPlan) -> None:
    plan, missing = planned.plan, len(planned.missing)
    made = len(plan.variants) - missing
    there = f", {made} of them there already" if made else ""
    cost = f"about {plan.estimated_usd:.4f} USD{ordered_how(plan)}"
    if not plan.estimated_usd:
        cost = f"nothing (with {plan.model} about {plan.would_cost_usd:.4f} USD)"
    lines = [f"{count(plan.variants, 'picture')}{there} by {plan.backend}, {plan.model}: all of them cost {cost}"]
    for cap in planned.caps:
        limit = "no cap" if cap.usd is None else f"{cap.left_usd:.4f} of {cap.usd:g} USD left"
        lines.append(f"  {cap.what}: {limit}")
    if planned.affordable < missing:
        lines.append(f"The caps have room for {planned.affordable} of the {missing} that are missing.")
    lines.append(f"approval: {plan.approval} ({APPROVALS[plan.approval]})")
    for line in lines:
        out.print(plain(line), highlight=False)
