"""The gallery as a person uses it: from disk, by keyboard, in light and dark, on a telephone and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.ledger import Caps
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.browser import chromium
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, refused

LayOut = Callable[..., Desk]
Show = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def show(browser: Browser, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> Iterator[Show]:
    """Open a gallery of two pictures, one that was blocked and one that was too dear; nothing may be asked for."""
    desk = lay_out(("brand:", "n: 2\nbrand:"))
    server.faults = [refused("IMAGE_SAFETY", "Shows a logo.")]
    two = desk.plan.variants[0].ceiling_usd + 0.055  # what is set aside for one, and what one cost and a half
    desk.make(gemini, caps=Caps(campaign_usd=two))
    path = Path(str(write_gallery(desk.plan, folder=desk.folder, references=desk.references).path))
    contexts, wrong = [], []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def test_the_keyboard_walks_through_the_pictures(show: Show) -> None:
    page = show()
    entries = [entry.get_attribute("id") for entry in page.locator(".entry").all()]
    for key, at in (("j", 0), ("ArrowRight", 1), ("j", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == entries[at], key
    page.keyboard.press("Control+j")
    assert page.evaluate("document.activeElement.id") == entries[0]


def test_a_filter_shows_only_its_own(show: Show) -> None:
    page = show()
    assert page.locator(".entry:visible").count() == 4
    button = page.get_by_role("button", name="blocked (1)")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("status")).to_have_text("1 of 4 shown")
    expect(page.locator(".entry:visible")).to_contain_text("IMAGE_SAFETY: Shows a logo.")
    page.keyboard.press("j")  # goes to what is shown, past what is hidden
    assert page.evaluate("document.activeElement.dataset.state") == "blocked"
    page.get_by_role("button", name=re.compile("^all")).click()
    assert page.locator(".entry:visible").count() == 4


def test_a_command_is_copied(show: Show) -> None:
    page = show(permissions=["clipboard-read", "clipboard-write"])
    command = page.locator(".command").first
    command.get_by_role("button").click()
    expect(command.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == command.locator("code").inner_text() and copied.startswith("mmrag campaign approve ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nobody_is_shut_out(show: Show, scheme: str, width: int) -> None:
    """Contrast, names, roles and order, by axe (WCAG 2.1 A and AA); nothing is wider than the screen."""
    page = show(color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("details summary").first.click()
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert not found.violations_count, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(
        page.locator("img").evaluate_all("images => images.map((image) => image.complete && image.naturalWidth > 0)")
    )


def test_on_paper_are_all_pictures_and_no_buttons(show: Show) -> None:
    page = show()
    page.get_by_role("button", name="blocked (1)").click()
    page.emulate_media(media="print")
    assert page.locator(".entry:visible").count() == 4
    assert not page.locator(".filters:visible, .command:visible, .skip:visible").count()
    assert page.pdf(print_background=False).startswith(b"%PDF")
