"""The pages of `mmrag quality` and `mmrag duplicates` as people use them: from disk, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from mmrag_pipeline.quality.duplicates_page import render_duplicates
from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.library import LibraryItem
from mmrag_pipeline.quality.models import ModelResult, duel, recommend
from mmrag_pipeline.quality.near_duplicates import find_near_duplicates
from mmrag_pipeline.quality.report import Facts, render_report
from mmrag_pipeline.quality.scoring import score
from mmrag_pipeline.quality.summary import summarise
from mmrag_pipeline_tests.integration.browser import chromium
from mmrag_pipeline_tests.media.test_phash import scene
from mmrag_pipeline_tests.quality.test_near_duplicates import LIBRARY, vectors

CONTENTS = [f"{n:02d}{'0' * 62}" for n in range(24)]
HOSTILE = '<script>document.title="x"</script> "q"'


def report() -> str:
    """Two models, the second better: it finds what the first has far down."""
    queries = [GoldenQuery(HOSTILE if n == 0 else f"query {n}", "ab"[n % 2], ()) for n in range(12)]
    graded = {query.query: {CONTENTS[n]: 2, CONTENTS[n + 1]: 1} for n, query in enumerate(queries)}

    def result(name: str, shift: int) -> ModelResult:
        figures = {}
        for n, query in enumerate(queries):
            ranked = [CONTENTS[(n + shift * (n % 3) + each) % 24] for each in range(10)]
            figures[query.query] = score(ranked, graded[query.query], top=ranked)
        return ModelResult(name, f"{name}-abc", 512, 0, 12.5, figures, tuple(summarise(figures, queries)))

    results = [result("demo", 23), result("clip-b32", 0)]
    duels = [duel(*results)]
    items = {
        content_id: LibraryItem(content_id[:32], content_id, "lunar__one", f"{n}.jpg", None, f"Thing {n}", {})
        for n, content_id in enumerate(CONTENTS)
    }
    facts = Facts("media", 1000, 24, 12, 3, "catalogue titles", True, datetime(2026, 9, 1, 2, 0, tzinfo=UTC))
    advice = recommend(results[0], duels, weak=True)
    return render_report(
        results, duels, advice, facts, failed=["no such model."], graded=graded, items=items,
        load=lambda item: scene(int(item.path.partition(".")[0])),
    )  # fmt: skip


PAGES = {
    "models": report,
    "duplicates": lambda: render_duplicates(
        find_near_duplicates(LIBRARY, vectors(0.97)), load=lambda drop, path: scene(len(path))
    ),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, render in PAGES.items():
        (folder / f"{name}.html").write_text(render())
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    """Contrast, names, roles and order, by axe (WCAG 2.1 A and AA); nothing is asked of a network."""
    for width in (1280, 390):
        with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}) as context:
            page, wrong, asked = context.new_page(), [], set()
            page.on("console", lambda message, wrong=wrong: wrong.append(message.text))
            page.on("request", lambda request, asked=asked: asked.add(request.url.partition(":")[0]))
            page.goto(pages[name].as_uri())
            found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
            assert not found.violations_count, found.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert not wrong and asked == {"file"}


def test_the_report_says_who_won_and_is_walked_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    page: Page = browser.new_page()
    page.goto(pages["models"].as_uri())
    assert "Switch to clip-b32" in page.locator(".advice").first.inner_text()
    assert page.title().startswith("Search quality")  # what a query says is text
    won = page.locator("section[aria-labelledby=c1]")
    assert won.locator(".case").count() >= 6
    assert {"right", "kin", "wrong"} <= set(won.locator(".shots b").all_inner_texts())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "figures"
    page.close()
