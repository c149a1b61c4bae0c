"""The UI as it looks after the story, for people to look at: `--screenshots DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmrag_pipeline_tests.e2e.stage import NotPlayed, Stage
from mmrag_pipeline_tests.integration.browser import NONE, chromium, chromium_path

WIDTH, HEIGHT = 1440, 900
DRAWN_MS = 120_000
SETTLED_MS = 1500
"""The UI draws bars and pictures some time after their words."""


@dataclass(frozen=True)
class View:
    """A page; `shows` is a word that is there when it is drawn, `press` one to click on first."""

    name: str
    address: str
    shows: str
    press: str = ""


def take_screenshots(stage: Stage, folder: Path) -> None:
    """Write one PNG a view.

    Raises:
        NotPlayed: there is no browser.
    """
    if chromium_path() is None:
        raise NotPlayed(NONE)
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for view in _views(stage):
            page.goto(view.address)
            for word in filter(None, (view.press, view.shows)):
                found = page.get_by_text(word).first
                found.wait_for(timeout=DRAWN_MS)
                if word == view.press:
                    found.click()
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=folder / f"{view.name}.png")
            stage.tell(view.name)


def _views(stage: Stage) -> Iterator[View]:
    ui, assets = stage.dagster.address, f"{stage.dagster.address}/assets"
    drop = "view=partitions&partition=watches__2026-08"
    yield View("asset-graph", f"{ui}/asset-groups", shows="campaigns")
    yield View("partitions", f"{assets}/drop_vectors?{drop}", shows="upserted")
    yield View("contact-sheet", f"{assets}/drop_manifest?{drop}", press="[Show Markdown]", shows="Close")
    yield View("checks", f"{assets}/staged_media_index?view=checks", shows="self_search")
    yield View("automation", f"{ui}/automation", shows="lost_runs")
    yield View("runs", f"{ui}/runs", shows="ingest_drop")
    for backfill in stage.dagster.backfills()[:1]:
        yield View("backfill", f"{ui}/runs/b/{backfill}", shows="% completed")
    for gallery in sorted(Path(stage.settings.store).glob("campaigns/*/*/gallery.html"))[:1]:
        yield View("gallery", gallery.absolute().as_uri(), shows="References")
