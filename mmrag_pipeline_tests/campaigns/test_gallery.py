"""One page that needs nothing beside it, tells every state, and lets no text out of its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmrag_pipeline.campaigns import gallery
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.ledger import Caps
from mmrag_pipeline_tests.campaigns.conftest import Desk, ListedIndex, hit
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, refused, text_only, transport

LayOut = Callable[..., Desk]


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.html, self.tags, self.addresses, self.text = html, [], [], ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def page(desk: Desk) -> Page:
    report = write_gallery(desk.plan, folder=desk.folder, references=desk.references)
    return Page(Path(str(report.path)).read_text("utf-8"))


def test_a_preview_gallery_says_so_and_what_it_would_cost(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    shown = page(desk)
    assert shown.text.count("PREVIEW") >= 4 and "Would cost about" in shown.text and "spent: nothing" in shown.text
    assert f"${desk.plan.would_cost_usd:.3f}" in shown.text
    images = [attrs for tag, attrs in shown.tags if tag == "img"]
    assert len(images) == 2 and all(image["alt"].startswith("PREVIEW of") for image in images)
    shown_references = [attrs for tag, attrs in shown.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(shown_references) == 4 and all(one["aria-label"].startswith("Reference") for one in shown_references)
    uses = [attrs["href"].removeprefix("#") for tag, attrs in shown.tags if tag == "use"]
    assert set(uses) == {attrs["id"] for tag, attrs in shown.tags if tag == "image"} and len(set(uses)) == 2
    assert "0.300" in shown.text and desk.plan.variants[0].prompt in shown.html.replace("&#39;", "'").replace(
        "&#34;", '"'
    )


def test_the_page_needs_nothing_beside_it(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    shown = page(desk)
    beside = {f"images/{file.name}" for file in desk.images.glob("*.png")}  # a link to the full size, for who wants it
    links = {attrs["href"] for tag, attrs in shown.tags if tag == "a"}
    assert {link for link in links if not link.startswith("#")} == beside
    assert all(a.startswith(("data:image/jpeg;base64,", "#")) or a in beside for a in shown.addresses)
    assert not re.search(r"https?://|@import|url\(", shown.html)
    assert "prefers-color-scheme: dark" in shown.html and 'name="viewport"' in shown.html


def test_a_paid_gallery_tells_every_state_and_the_money(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out(("brand:", "n: 2\nbrand:"))
    server.faults = [refused("IMAGE_SAFETY", "Shows a logo.")]
    two = desk.plan.variants[0].ceiling_usd + 0.055  # what is set aside for one, and what one cost and a half
    report = desk.make(gemini, caps=Caps(campaign_usd=two))
    shown = page(desk)
    assert "PREVIEW" not in shown.html and f"${report.spent_usd:.3f}" in shown.text
    assert "IMAGE_SAFETY: Shows a logo." in shown.text and "raise budget_usd" in shown.text
    states = [attrs["data-state"] for tag, attrs in shown.tags if tag == "article"]
    assert sorted(states) == ["blocked", "generated", "generated", "skipped_budget"]
    assert all(label in shown.text for label in ("all (4)", "blocked (1)", "over budget (1)", "made (2)"))


def test_an_ambiguous_picture_is_shown_as_such(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [transport("reset")]
    report = desk.make(gemini)
    shown = page(desk)
    states = [attrs["data-state"] for tag, attrs in shown.tags if tag == "article"]
    assert sorted(states) == ["ambiguous", "generated"] and next(iter(report.reasons)) in shown.text
    assert "no answer, maybe billed (1)" in shown.text and f"${report.spent_usd:.3f}" in shown.text


def test_what_earlier_attempts_cost_is_in_the_total(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [text_only("No."), text_only("No.")]
    spent = desk.make(gemini).spent_usd + desk.make(gemini).spent_usd
    assert spent > desk.plan.estimated_usd and f"${spent:.3f}" in page(desk).text


def test_a_gallery_before_the_pictures_shows_the_plan(lay_out: LayOut) -> None:
    shown = page(lay_out())
    assert "0 of 2" in shown.text and shown.text.count("not made yet") >= 2


def test_an_altered_picture_is_not_shown(lay_out: LayOut, gemini: GeminiBackend) -> None:
    desk = lay_out()
    desk.make(gemini)
    next(desk.images.glob("*.jpg")).write_bytes(b"other")
    assert "the picture file is gone or was altered" in page(desk).text


def test_a_page_written_again_keeps_the_small_pictures(
    lay_out: LayOut, gemini: GeminiBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = lay_out()
    desk.make(gemini)
    first = page(desk).html
    decoded: list[int] = []
    opened = gallery._opened
    monkeypatch.setattr(gallery, "_opened", lambda data, side: decoded.append(side) or opened(data, side))
    assert page(desk).html == first and gallery.PICTURE_SIDES[0] not in decoded
    next(desk.images.glob("*.json")).unlink()
    assert page(desk).html.count("data-of=") == first.count("data-of=") - 1


def test_left_out_products_have_their_reason(lay_out: LayOut) -> None:
    desk = lay_out(("products:\n", "products:\n  - {sku: NONE-1}\n"))
    assert "no media with sku 'NONE-1'" in page(desk).text


def test_text_stays_text(lay_out: LayOut, preview: PreviewBackend, index: ListedIndex) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    index.hits = [hit(1, title=evil), hit(2, title='" onload="alert(3)')]
    desk = lay_out(("title: Golden hour", f"title: '{evil}'"), backend="preview")
    desk.make(preview)
    shown = page(desk)
    assert len([tag for tag, _ in shown.tags if tag == "script"]) == 1
    assert not [attrs for _, attrs in shown.tags if any(name.startswith("on") for name in attrs)]
    assert "<script>alert(1)</script>" in shown.text


def test_a_title_with_markup_does_not_reach_the_style(lay_out: LayOut) -> None:
    shown = page(lay_out(("words: warm gold", 'words: "</style><b>gold"')))
    assert not [tag for tag, _ in shown.tags if tag == "b" and "gold" in tag]
