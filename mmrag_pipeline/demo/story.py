"""`mmrag demo`: the main job end to end, through real Dagster runs, on the packaged library.

Two drops are ingested and published, a third arrives and is picked up, the other product lines follow, three searches
are answered, one campaign is planned and pictured. Every step is safe to repeat: a second run finds nothing to do.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.demo.delivery import deliver, deliver_briefs, packaged_drops
from mmrag_pipeline.demo.golden import ask_golden
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.find import find, write_sheet
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_status
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.settings import Settings, variable

FIRST_DROPS = ["bags__2026-08", "watches__2026-08"]
THIRD_DROP = "lunar__2026-09"
QUERIES = ["a golden watch", "a red cape", "a collectible figurine"]
CAMPAIGN = "golden-hour"


@dataclass
class Totals:
    """What this run of the demo did, summed over its steps."""

    embedded: int = 0
    upserted: int = 0
    deleted: int = 0
    pictures: int = 0

    @property
    def nothing(self) -> bool:
        return not (self.embedded or self.upserted or self.deleted or self.pictures)


def play(settings: Settings, console: Console) -> None:
    """Play the story and print what happens.

    Raises:
        UserError: settings point at somebody's own library, server or money, or a run failed.
    """
    _require_own_ground(settings)
    started = time.monotonic()
    totals = Totals()
    media_root = Path(settings.media_root)
    deliver_briefs(Path(settings.campaigns_root))
    drops = {drop.key: drop for drop in packaged_drops()}
    later = [key for key in drops if key not in (*FIRST_DROPS, THIRD_DROP)]

    with DagsterRuns(settings) as runs:
        _follow_model(runs, settings, console, totals)
        _heading(console, "Two drops arrive and are ingested")
        _ingest(runs, console, totals, [drops[key] for key in FIRST_DROPS], media_root)
        _heading(console, "The nightly reindex checks the index and publishes it")
        _reindex(runs, console, totals)
        _heading(console, "A third drop arrives: the sensor finds just that one")
        _ingest(runs, console, totals, [drops[THIRD_DROP]], media_root)
        _heading(console, "New product lines arrive: a backfill of the drops that are left")
        _ingest(runs, console, totals, [drops[key] for key in later], media_root)
        _heading(console, "Searches")
        sheets = _search(settings, console)
        golden = ask_golden(settings)
        console.print(
            f"  {golden.queries} golden queries, each with a word that no caption of the demo model's training has: "
            f"the first picture is right for {golden.first:.0%}, R@10 {golden.ten:.2f}",
            highlight=False,
        )
        _heading(console, f"The campaign {CAMPAIGN!r} is planned and pictured (preview backend: offline, free)")
        gallery = _campaign(runs, console, totals)

    took = time.monotonic() - started
    console.rule()
    if totals.nothing:
        console.print(f"[bold]Nothing to do:[/] nothing embedded, nothing upserted, nothing generated ({took:.0f} s).")
    else:
        console.print(
            f"[bold green]Done in {took:.0f} s:[/] {totals.embedded} pictures embedded, {totals.upserted} rows "
            f"upserted, {totals.pictures} campaign pictures made."
        )
    _next_steps(console, settings, sheets, gallery)


def _require_own_ground(settings: Settings) -> None:
    """The demo must not write to somebody's library, collection or Dagster instance, nor spend money."""
    ours = {"media", "campaigns", "milvus_uri", "clip_model", "image_backend"}
    taken = [variable(name) for name in sorted(ours & settings.model_fields_set)]
    home = os.environ.get("DAGSTER_HOME")
    if home and Path(home) != Path(settings.store, "dagster").absolute():
        taken.append("DAGSTER_HOME")
    if taken:
        raise UserError(
            f"the demo plays on the embedded defaults, but these are set: {', '.join(taken)}; "
            f"unset them for the demo, or run `make dev` to work on your own library."
        )


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _follow_model(runs: DagsterRuns, settings: Settings, console: Console, totals: Totals) -> None:
    """After an upgrade that brings another demo model: embed beside what is live, the reindex swaps it in."""
    with connect(wiring.milvus(settings)) as milvus:
        live = live_status(milvus)
    if live.fingerprint in (None, wiring.encoder(settings).fingerprint):
        return
    _heading(console, "The demo model is another one than last time: every drop is embedded again beside what is live")
    for key in runs.drops():
        outcome = runs.run("ingest_drop", key, only=["drop_manifest", "clip_embeddings"])
        computed = outcome.metadata["clip_embeddings"]["computed"]
        totals.embedded += computed
        console.print(f"  {key}: {computed} embedded  ({outcome.seconds:.1f} s)", highlight=False)
    _reindex(runs, console, totals)


def _ingest(runs: DagsterRuns, console: Console, totals: Totals, drops: list[Drop], media_root: Path) -> None:
    """Deliver drops, let the sensor find them, and run what it asks for."""
    for drop in drops:
        deliver(drop, media_root)
    asked = list(dict.fromkeys(runs.sense_drops() + runs.unfinished([drop.key for drop in drops])))
    if not asked:
        console.print(f"  sensor: {', '.join(drop.key for drop in drops)}: nothing new")
    for number, key in enumerate(asked, 1):
        outcome = runs.run("ingest_drop", key)
        manifest, vectors, rows = (
            outcome.metadata[name] for name in ("drop_manifest", "clip_embeddings", "drop_vectors")
        )
        totals.embedded += vectors["computed"]
        totals.upserted += rows["upserted"]
        totals.deleted += rows["deleted"]
        spoiled = [f"{manifest[status]} {status}" for status in ("duplicate", "quarantined") if manifest[status]]
        console.print(
            f"  \\[{number}/{len(asked)}] {key}: {manifest['ok']} ok"
            + (f" ({', '.join(spoiled)})" if spoiled else "")
            + f", {vectors['computed']} embedded at {vectors['images_per_second']:.0f} pictures/s, "
            + f"{rows['upserted']} upserted  ({outcome.seconds:.1f} s)",
            highlight=False,
        )


def _reindex(runs: DagsterRuns, console: Console, totals: Totals) -> None:
    outcome = runs.run("nightly_reindex")
    staged, live = outcome.metadata["staged_media_index"], outcome.metadata["media_index"]
    totals.upserted += staged["upserted"]
    totals.deleted += staged["deleted"]
    console.print(
        f"  {staged['rows']} rows {staged['mode']}, {staged['checks_passed']} checks passed; "
        f"{live['alias']} -> {live['collection']}{'' if live['swapped'] else ', where it was'}"
        f"  ({outcome.seconds:.1f} s)",
        highlight=False,
    )


def _search(settings: Settings, console: Console) -> list[Path]:
    sheets = []
    for query in QUERIES:
        results = find(settings, text=query, k=3)
        sheet = Path(settings.store) / "demo" / f"search-{query.replace(' ', '-')}.png"
        write_sheet(settings, results, sheet)
        sheets.append(sheet)
        shown = "; ".join(f"{hit.title} {hit.score:.3f}" for hit in results.hits)
        console.print(f"  {query!r}: {shown}", highlight=False)
    return sheets


def _campaign(runs: DagsterRuns, console: Console, totals: Totals) -> Path:
    known = runs.occurrences(CAMPAIGN)
    key = known[-1] if known else f"{CAMPAIGN}__{datetime.now(UTC):%Y-%m-%d}"
    runs.add_occurrence(key)
    outcome = runs.run("run_campaign", key)
    plan, images, gallery = (
        outcome.metadata[name] for name in ("campaign_plan", "campaign_images", "campaign_gallery")
    )
    totals.pictures += images["made"]
    console.print(
        f"  {key}: {plan['pictures_planned']} pictures planned (with gemini they would cost "
        f"${plan['would_cost_usd']:.2f}), {images['made']} made, {images['skipped_existing']} there already"
        f"  ({outcome.seconds:.1f} s)",
        highlight=False,
    )
    return Path(gallery["gallery"])


def _next_steps(console: Console, settings: Settings, sheets: list[Path], gallery: Path) -> None:
    lines = [
        "",
        "Open",
        *(f"  {sheet}" for sheet in sheets),
        f"  {gallery}",
        "",
        "Next",
        '  .venv/bin/mmrag search "a silver watch"    search with your own words',
        "  .venv/bin/mmrag doctor                     what is in force, and what it needs",
        "  make dev                                   the Dagster UI: graph, drops, checks, contact sheets",
        "",
        "With your own media (the demo model is a small one: it knows little beyond this library)",
        "  export MMRAG_STORE=my-store                a store of its own, so that the two don't mix",
        "  export MMRAG_MEDIA=/path/to/media          laid out <product_line>/<drop>/**",
        "  export MMRAG_CLIP_MODEL=clip-b32           real weights, downloaded on first use",
        "  export MMRAG_MILVUS_URI=http://host:19530  a Milvus server, MMRAG_MILVUS_TOKEN=user:password",
        "  export MMRAG_IMAGE_BACKEND=gemini          real pictures, MMRAG_GEMINI_API_KEY=...",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False)
