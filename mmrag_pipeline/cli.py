"""The `mmrag` command: every verb is one call into the packages, and a way to show what came back."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Column, Table

from mmrag_pipeline import cli_campaign, cli_generate, cli_quality
from mmrag_pipeline.cli_output import out, plain, progress_bars, told_plainly
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Brand media, searchable.",
)
app.add_typer(cli_campaign.app, name="campaign")
app.command()(cli_generate.generate)
app.command()(cli_quality.quality)
app.command()(cli_quality.duplicates)

DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


class MediaType(StrEnum):
    """What `mmrag search --media-type` takes."""

    image = "image"
    video = "video"


class Origin(StrEnum):
    """What `mmrag search --origin` takes."""

    library = "library"
    generated = "generated"
    any = "any"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def configure() -> None:
    """Keep library chatter off the terminal: what matters is printed, what goes wrong is raised."""
    logging.basicConfig(level=logging.ERROR)


@app.command()
@told_plainly
def demo() -> None:
    """Play the whole story on the packaged brand library: ingest, publish, a late drop, searches, a campaign."""
    from mmrag_pipeline.demo.story import play

    play(load_settings(), out)


@app.command()
@told_plainly
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to look for, alone or with words.")] = None,
    image_weight: Annotated[float, typer.Option(min=0, max=1, help="The picture's share beside words.")] = 0.5,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many results.")] = 3,
    page: Annotated[int, typer.Option(min=1, help="Which k of them: 2 for those after the first k.")] = 1,
    product_line: Annotated[str | None, typer.Option(help="Only this product line.")] = None,
    drop: Annotated[str | None, typer.Option(help="Only this drop, <product_line>__<drop>.")] = None,
    sku: Annotated[str | None, typer.Option(help="Only this sku.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; may be given several times.")] = None,
    media_type: Annotated[MediaType | None, typer.Option(help="Only stills, or only frames of videos.")] = None,
    origin: Annotated[Origin, typer.Option(help="The library's own, or what campaigns made.")] = Origin.library,
    since: Annotated[datetime | None, typer.Option(formats=DATES, help="First seen then or later.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=DATES, help="First seen before then.")] = None,
    min_width: Annotated[int | None, typer.Option(min=1, help="Pixels.")] = None,
    min_height: Annotated[int | None, typer.Option(min=1, help="Pixels.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only with at least this cosine.")] = None,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0: the nearest; more: unlike each other.")] = 0.0,
    near_duplicates: Annotated[bool, typer.Option("--near-duplicates", help="Show each of them, not one.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write the results as one picture.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say how the answer came about.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find pictures by words, by a picture, or by both. Scores are cosines: compare them within one search only."""
    from mmrag_pipeline.find import find, write_sheet
    from mmrag_pipeline.index.filter import Filter

    settings = load_settings()
    zone = ZoneInfo(settings.timezone)
    where = Filter(
        product_line=product_line,
        drop=drop,
        sku=sku,
        tags=tuple(tag or ()),
        media_type=media_type and media_type.value,
        origin=None if origin is Origin.any else origin.value,
        since=since and since.replace(tzinfo=zone),
        until=until and until.replace(tzinfo=zone),
        min_width=min_width,
        min_height=min_height,
    )
    options: dict[str, Any] = {"image_weight": image_weight, "min_score": min_score, "diversity": diversity}
    options["near_duplicates"] = near_duplicates
    results = find(settings, text=text, image=image, where=where, k=k, offset=(page - 1) * k, **options)
    if as_json:
        hits: Any = [hit.to_json() for hit in results.hits]
        found = {"hits": hits, "explanation": asdict(results.explanation)} if explain else hits
        print(json.dumps(found, indent=1, ensure_ascii=False))
    elif not results.hits:
        out.print(plain(results.why_empty))
    else:
        table = Table("#", "score", "title", "drop", Column("path", overflow="fold"))
        for hit in results.hits:
            place = hit.path if hit.frame_ms is None else f"{hit.path} at {hit.frame_ms / 1000:.2f} s"
            cells = (str(hit.rank), f"{hit.score:.3f}", hit.title, hit.drop, place)
            table.add_row(*map(plain, cells))
        out.print(table)
    if explain and not as_json:
        how = results.explanation
        out.print(
            plain(
                f"model {how.fingerprint}; collection {how.collection} ({how.index}); filter {how.filter or 'none'}; "
                f"{how.candidates} candidates asked for; query encoded in {1000 * how.encode_s:.1f} ms, searched in "
                f"{1000 * how.search_s:.1f} ms"
            )
        )
    if sheet is not None:
        write_sheet(settings, results, sheet)
        if not as_json:
            out.print(f"contact sheet: {plain(str(sheet))}")


@app.command()
@told_plainly
def rollback() -> None:
    """Point the alias back at the collection that was live before; a second time, at the one before that."""
    from mmrag_pipeline import wiring
    from mmrag_pipeline.index.milvus import connect
    from mmrag_pipeline.index.publish import rollback as roll_back

    with connect(wiring.milvus(load_settings())) as milvus:
        done = roll_back(milvus)
        rows = milvus.count(done.collection)
        out.print(plain(f"{milvus.alias} -> {done.collection} ({rows} rows), was {done.previous or 'nowhere'}"))
    out.print(
        "What was ingested since is not in it. The next nightly_reindex makes it what the library says, with the model "
        "in force: mend the cause before that, or switch its schedule off."
    )


@app.command()
@told_plainly
def embed(
    drop: Annotated[str | None, typer.Argument(help="<product_line>__<drop>; default: all of the library.")] = None,
    bench: Annotated[bool, typer.Option("--bench", help="Measure one drop from nothing; nothing is kept.")] = False,
) -> None:
    """Scan and embed drops without Dagster (the collection is not touched), or measure what bounds it here."""
    from mmrag_pipeline.embed import embed_drops, measure
    from mmrag_pipeline.media.catalogue import SHOWN_PROBLEMS

    settings = load_settings()
    with progress_bars() as progress:
        if not bench:
            embedded = embed_drops(settings, drop, progress=progress)
        else:
            measured = measure(settings, drop, progress=progress)
    if not bench:
        table = Table("drop", "ok", "quarantined", "read", "computed", "reused")
        for each in embedded.done:
            counts, report = each.scan.counts, each.embedded
            computed = report.summary.computed if report.changed else 0
            figures = (counts["ok"], counts["quarantined"], each.scan.hashed, computed, report.summary.rows - computed)
            table.add_row(each.drop.key, *map(str, figures))
        out.print(table)
        for each in embedded.done:
            for problem in each.scan.problems[:SHOWN_PROBLEMS]:
                out.print(plain(f"{each.drop.key}: {problem}"))
            if len(each.scan.problems) > SHOWN_PROBLEMS:
                more = len(each.scan.problems) - SHOWN_PROBLEMS
                out.print(plain(f"{each.drop.key}: and {more} more problems of its catalogue"))
            for sentence in each.embedded.damaged:
                out.print(plain(sentence))
        if embedded.failed:
            raise UserError(" ".join(embedded.failed))
        return
    summary, bound = measured.done.embedded.summary, measured.bound_by
    table = Table("stage", "seconds", "share", "pictures/s of one thread")
    for stage in measured.stages:
        table.add_row(stage.stage, f"{stage.seconds:.2f}", f"{stage.share:.0%}", f"{stage.rate:.1f}")
    out.print(table)
    out.print(
        plain(
            f"{summary.computed} pictures of {summary.drop} in {summary.seconds:.1f} s: "
            f"{measured.done.embedded.images_per_second:.1f} a second with {measured.workers} threads, "
            f"{summary.fingerprint}; bound by {bound.stage} ({bound.share:.0%} of the threads' time)"
        )
    )


@app.command()
@told_plainly
def backfill(
    drops: Annotated[str, typer.Argument(help="A product line, or a pattern of drops such as 'lunar__2026-*'.")],
) -> None:
    """Ingest what is missing of many drops, in a few Dagster runs in this process, and publish the index once."""
    from mmrag_pipeline.backfill import backfill as fill
    from mmrag_pipeline.backfill import listed

    with progress_bars() as progress:
        progress("drops", 0, None)
        filled = fill(load_settings(), drops, progress=lambda done, total: progress("drops", done, total))
    out.print(
        plain(
            f"{len(filled.done)} drops ingested in {filled.runs} runs, {len(filled.current)} had nothing to do; "
            f"live: {filled.live}, {filled.rows} rows"
        )
    )
    said = []
    if filled.failed:
        said.append(f"{listed(filled.failed)}. The others are published; the same command tries these again.")
    for step, why in filled.failed_later.items():
        said.append(
            f"the index is published, and {step} failed after that: {why.rstrip('.')}. The next night tries again."
        )
    if said:
        raise UserError("\n".join(said))


@app.command()
@told_plainly
def status(as_json: AsJson = False) -> None:
    """Drops, files by status, embedded rows, the live collection, and whether they agree."""
    from mmrag_pipeline.status import read_status

    state = read_status(load_settings())
    if as_json:
        print(json.dumps(state.to_json(), indent=1))
        return
    table = Table("drop", "ok", "duplicate", "quarantined", "ignored", "embedded")
    for drop in state.drops:
        counts = [str(drop.rows.get(name, 0)) for name in ("ok", "duplicate", "quarantined", "ignored")]
        table.add_row(drop.drop, *counts, str(drop.embedded))
    out.print(table)
    live = state.live
    out.print(plain(f"model: {state.model} ({state.fingerprint or 'not loaded yet'})"))
    out.print(plain(f"live:  {live.alias} -> {live.collection or 'nothing yet'}, {live.rows} rows"))
    for sentence in state.damaged:
        out.print(plain(sentence))
    out.print("in sync" if state.in_sync else "[yellow]not in sync:[/] run the nightly_reindex job")


@app.command()
@told_plainly
def doctor() -> None:
    """What is in force, whether each component works, and what to do about what doesn't."""
    from mmrag_pipeline.doctor import examine, settings_in_force

    settings = load_settings()
    table = Table("variable", "value", "from", "meaning")
    for setting in settings_in_force(settings):
        source = "set" if setting.is_set else "default"
        table.add_row(setting.variable, plain(setting.value), source, plain(setting.description))
    out.print(table)
    colours = {"ok": "green", "warning": "yellow", "wrong": "red"}
    wrong = False
    for finding in examine(settings):
        wrong |= finding.verdict == "wrong"
        label = f"[{colours[finding.verdict]}]{finding.verdict:>7}[/]"
        out.print(f"{label}  {finding.component}: {plain(finding.sentence)}", highlight=False)
    if wrong:
        raise typer.Exit(1)
