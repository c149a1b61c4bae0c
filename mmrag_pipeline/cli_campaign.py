"""`mmrag campaign ...`: what people do with briefs, and with the pictures of an occurrence."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmrag_pipeline.cli_output import err, out, plain, told_plainly
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Plan campaigns, review their pictures and hand them over.")

Keys = Annotated[list[str], typer.Argument(help="Start of a picture's key, 6 hex digits or more; see the gallery.")]
Occurrence = Annotated[str | None, typer.Option(help="Only in this one, <campaign>__<date>; default: in any.")]
By = Annotated[str | None, typer.Option(help="Who decides; default: your user name.")]


@app.command()
@told_plainly
def plan(
    brief: Annotated[str, typer.Argument(help="A YAML file, or the name of a campaign in MMRAG_CAMPAIGNS.")],
    occurrence: Annotated[str | None, typer.Option(help="<campaign>__<date> or the date; default: the next.")] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show what is sent, word for word.")] = False,
    replan: Annotated[bool, typer.Option("--replan", help="Look anew where an earlier run has planned.")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Write plan.md, plan.parquet, references/.")] = None,
) -> None:
    """Show what a brief would make: references, pictures, cost, caps, what is left out. Nothing is paid or written."""
    from upath import UPath

    from mmrag_pipeline.cli_plan import show_plan
    from mmrag_pipeline.plan_brief import plan_brief, write_brief_plan

    planned = plan_brief(load_settings(), brief, occurrence=occurrence, replan=replan, now=datetime.now(UTC))
    show_plan(planned, prompts=prompts)
    if folder is not None:
        write_brief_plan(planned, UPath(folder))
        out.print(plain(f"written to {folder}"), highlight=False)
    if not planned.plan.variants:
        raise typer.Exit(1)


@app.command()
@told_plainly
def schema(
    file: Annotated[Path | None, typer.Option("--out", help="Write it there instead of printing it.")] = None,
) -> None:
    """The JSON Schema of briefs, for editors: completion, descriptions, mistakes as you type."""
    from upath import UPath

    from mmrag_pipeline.campaigns.brief_schema import brief_schema
    from mmrag_pipeline.store import write_json

    if file is None:
        print(json.dumps(brief_schema(), indent=1))
        return
    try:
        write_json(UPath(file), brief_schema())
    except OSError as error:
        raise UserError(f"{file} can't be written ({error.strerror or error}): give a file that can.") from error
    out.print(plain(f"Put this at the top of a brief:\n# yaml-language-server: $schema={file}"), highlight=False)


@app.command()
@told_plainly
def approve(
    keys: Keys,
    occurrence: Occurrence = None,
    by: By = None,
    reason: Annotated[str, typer.Option(help="Why, if it needs saying.")] = "",
) -> None:
    """Let pictures be exported. Previews can't be: nothing was generated."""
    _decide(keys, "approved", occurrence, by, reason)


@app.command()
@told_plainly
def reject(
    keys: Keys,
    reason: Annotated[str, typer.Option(help="What is wrong with it; kept beside the picture.")],
    occurrence: Occurrence = None,
    by: By = None,
) -> None:
    """Turn pictures down: another is made in each one's place, and nothing is overwritten.

    The next run of campaign_images makes it; for a picture on demand, the next `mmrag generate` of the same.
    """
    _decide(keys, "rejected", occurrence, by, reason)


@app.command()
@told_plainly
def export(
    folder: Annotated[Path, typer.Argument(help="Where to; a folder for each occurrence is made in it.")],
    occurrence: Occurrence = None,
    by: By = None,
) -> None:
    """Write approved pictures, byte for byte, under names that people understand, with a manifest.csv."""
    from upath import UPath

    from mmrag_pipeline.campaigns.export import export_approved
    from mmrag_pipeline.campaigns.gallery import refresh_gallery
    from mmrag_pipeline.store import Store

    settings, who = load_settings(), by or getpass.getuser()
    done = export_approved(Store(settings.store), UPath(folder), by=who, at=datetime.now(UTC), occurrence=occurrence)
    for one in done:
        refresh_gallery(one.source, ledger=settings.ledger_file)
        if not (one.files or one.withdrawn):
            continue
        more = f", {one.pending} wait for a decision" if one.pending else ""
        out.print(plain(f"{one.occurrence.key}: {len(one.files)} pictures in {one.folder}{more}"))
        for name in one.withdrawn:
            out.print(plain(f"  {name} is there from before and is no longer approved: remove it."))


@app.command()
@told_plainly
def verify(
    files: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG or WebP.")],
) -> None:
    """Say of each picture what made it, who signed it, and whether it was changed since; exit code 1 if one was."""
    from mmrag_pipeline.campaigns.provenance import trusted_certificates
    from mmrag_pipeline.campaigns.provenance import verify as read

    settings = load_settings()
    anchors = trusted_certificates(settings.c2pa_certificate, ledger=settings.ledger_file)
    reports = [read(str(file), anchors=anchors) for file in files]
    for report in reports:
        out.print(plain(f"{report.file}: {report.sentence}"))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


@app.command()
@told_plainly
def index(
    occurrence: Occurrence = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take generated pictures out of the index again.")] = False,
) -> None:
    """Let `mmrag search --origin generated` find approved pictures; what is no longer approved leaves the index.

    An occurrence that can't be indexed is told and keeps no other from it; exit code 1 then.
    """
    from mmrag_pipeline import wiring
    from mmrag_pipeline.campaigns.indexing import PictureIndexer
    from mmrag_pipeline.index.milvus import connect
    from mmrag_pipeline.store import Store

    settings = load_settings()
    indexer = PictureIndexer(
        store=Store(settings.store),
        encoder=wiring.encoder(settings),
        connect=lambda: connect(wiring.milvus(settings)),
        limits=wiring.limits(settings),
        ledger=settings.ledger_file,
        in_library=lambda drop: wiring.library(settings).has(drop),
    )
    report = indexer.index(occurrence, now=datetime.now(UTC), remove=remove)
    for one in report.done:
        changed = f"{one.upserted} written, {one.deleted} removed"
        out.print(plain(f"{one.occurrence.key}: {one.pictures} approved pictures in the index ({changed})"))
    for problem in report.problems:
        err.print(f"[bold red]error:[/] {plain(problem)}", highlight=False)
    if report.problems:
        raise typer.Exit(1)


def _decide(
    keys: Sequence[str],
    verdict: Literal["approved", "rejected"],
    occurrence: str | None,
    by: str | None,
    reason: str,
) -> None:
    from mmrag_pipeline.campaigns.gallery import refresh_gallery
    from mmrag_pipeline.campaigns.review import decide
    from mmrag_pipeline.store import Store

    settings, who = load_settings(), by or getpass.getuser()
    store = Store(settings.store)
    done = decide(store, keys, verdict, by=who, at=datetime.now(UTC), reason=reason, occurrence=occurrence)
    for folder in {str(one.picture.folder): one.picture.folder for one in done if one.changed}.values():
        refresh_gallery(folder, ledger=settings.ledger_file)
    for one in done:
        already = "" if one.changed else "already "
        where = one.picture.occurrence.key
        out.print(plain(f"{one.picture.key[:12]} {where} {one.picture.name}: {already}{one.review.state}"))
