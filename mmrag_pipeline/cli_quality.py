"""`mmrag quality` and `mmrag duplicates`: how good search is with other models, and which pictures are copies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mmrag_pipeline.cli_output import out, plain, progress_bars, told_plainly
from mmrag_pipeline.settings import load_settings

if TYPE_CHECKING:
    from mmrag_pipeline.compare_models import ModelsCompared


@told_plainly
def quality(
    model: Annotated[
        list[str] | None, typer.Option(help="A preset or model name to compare; may be given several times.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=50, help="How many of the library's pictures to measure on.")] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare models on this library: golden queries, or titles where there are none. What is live is not touched."""
    from mmrag_pipeline.compare_models import compare_models

    settings = load_settings()
    with progress_bars() as progress:
        compared = compare_models(settings, model or (), pictures=pictures, progress=progress)
    if as_json:
        print(json.dumps(_as_json(compared), indent=1, ensure_ascii=False))
        return
    _show(compared)


def _show(compared: ModelsCompared) -> None:
    from mmrag_pipeline.quality.figures import LABELS

    facts = compared.facts
    duels = {each.model.name: each for each in compared.duels}
    table = Table("model", *LABELS.values(), "nDCG@10 difference", "95% interval", "pictures/s")
    for result in compared.results:
        duel = duels.get(result.name)
        means = [f"{result.strata[0].means[name]:.3f}" if result.strata else "-" for name in LABELS]
        beside = ("in force", "")
        if duel:
            low, high = duel.comparison.interval
            beside = (f"{duel.comparison.difference:+.3f} {duel.verdict}", f"{low:+.3f} to {high:+.3f}")
        table.add_row(plain(result.label), *means, *beside, f"{result.rate:.1f}" if result.rate else "-")
    out.print(table)
    labels = "titles of the catalogue, which are weak labels" if facts.weak else f"of {facts.labels}"
    out.print(plain(f"{facts.queries} queries {labels}, among {facts.sampled} of {facts.pictures} pictures."))
    for sentence in compared.failed:
        out.print(f"[yellow]not measured:[/] {plain(sentence)}", highlight=False)
    out.print(f"[bold]{plain(compared.recommendation)}[/]", highlight=False)
    out.print(plain(f"The page with the pictures: {compared.page}"), highlight=False)


def _as_json(compared: ModelsCompared) -> dict[str, Any]:
    duels = {each.model.name: each for each in compared.duels}
    models = []
    for result in compared.results:
        duel = duels.get(result.name)
        models.append(
            {
                "model": result.name,
                "fingerprint": result.fingerprint,
                "dimensions": result.dim,
                "pictures_per_second": result.rate,
                "by_stratum": {each.stratum: {"queries": each.queries, **each.means} for each in result.strata},
                "verdict": duel.verdict if duel else "in force",
                "difference": duel.comparison.difference if duel else None,
                "interval": list(duel.comparison.interval) if duel else None,
            }
        )
    return {
        "models": models,
        "queries": compared.facts.queries,
        "weak_labels": compared.facts.weak,
        "pictures": compared.facts.sampled,
        "recommendation": compared.recommendation,
        "not_measured": compared.failed,
        "page": str(compared.page),
    }


@told_plainly
def duplicates(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a sentence.")] = False,
) -> None:
    """Show the pictures that are near-duplicates of one another, as a page; search and references use one of each."""
    from mmrag_pipeline.show_duplicates import show_duplicates

    found = show_duplicates(load_settings())
    if as_json:
        print(json.dumps(found.table.to_pylist(), indent=1, ensure_ascii=False))
        return
    rows = found.table.num_rows
    out.print(plain(f"{rows} pictures in {found.groups} groups: {rows - found.groups} of them are spare copies."))
    out.print(plain(f"The page with the pictures: {found.page}"), highlight=False)
