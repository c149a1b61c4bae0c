"""The UI as it looks after the story, for people to look at: `--screenshots DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page

from mmrag_pipeline_tests.e2e.stage import NotPlayed, Stage
from mmrag_pipeline_tests.integration.browser import NONE, chromium, chromium_path

WIDTH, HEIGHT = 1440, 900
SETTLED_MS = 1500
"""The UI draws its graph and bars some time after the last answer."""


def take_screenshots(stage: Stage, folder: Path) -> list[str]:
    """Write one PNG a view; returns their names.

    Raises:
        NotPlayed: there is no browser.
    """
    if chromium_path() is None:
        raise NotPlayed(NONE)
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        names = []
        for name, address in _views(stage):
            page.goto(address, wait_until="networkidle")
            _settle(page)
            page.screenshot(path=folder / f"{name}.png")
            names.append(name)
    return names


def _views(stage: Stage) -> Iterator[tuple[str, str]]:
    ui = stage.dagster.address
    yield "asset-graph", f"{ui}/asset-groups"
    yield "partitions", f"{ui}/assets/drop_vectors?view=partitions"
    yield "contact-sheet", f"{ui}/assets/drop_manifest?view=partitions&partition=watches__2026-08"
    yield "checks", f"{ui}/assets/staged_media_index?view=checks"
    yield "automation", f"{ui}/automation"
    yield "runs", f"{ui}/runs"
    for backfill in stage.dagster.backfills()[:1]:
        yield "backfill", f"{ui}/runs/b/{backfill}"
    for gallery in sorted(Path(stage.settings.store).glob("campaigns/*/*/gallery.html"))[:1]:
        yield "gallery", gallery.absolute().as_uri()


def _settle(page: Page) -> None:
    page.wait_for_timeout(SETTLED_MS)
