"""A preview is exact in size, the same every time, survives any text, and can't be taken for a picture."""

from __future__ import annotations

import hashlib
import io
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.campaigns.backends.base import Card, GenerationRequest, ReferencePicture
from mmrag_pipeline.campaigns.backends.drawing import contrast, fit_lines, font
from mmrag_pipeline.campaigns.backends.preview import STAMP_GROUND, PreviewBackend, _roles
from mmrag_pipeline.campaigns.references import encode_reference
from mmrag_pipeline_tests.campaigns.conftest import draw, hit


def ask(
    pixels: tuple[int, int] = (540, 675), *, references: int = 2, text: str = "A watch on wool.",
    palette: tuple[tuple[str, str | None], ...] = (("warm gold", "#C59B46"), ("ink", "#2B2C30")),
) -> GenerationRequest:  # fmt: skip
    encoded = [encode_reference(draw(hit(n))) for n in range(1, references + 1)]
    sent = tuple(ReferencePicture(e.data, "image/jpeg", e.sha256, "Image", text) for e in encoded)
    card = Card(text, text, text, text, text, text, "1", text, "would cost up to $0.05 with a model", palette)
    return GenerationRequest("k", "m", text, "s", sent, "4:5", "1K", pixels, 1, 1.0, card)


def picture(request: GenerationRequest) -> Image.Image:
    return Image.open(io.BytesIO(PreviewBackend().generate(request).picture))


def test_the_same_request_gives_the_same_bytes_and_another_gives_others() -> None:
    one, two = PreviewBackend().generate(ask()), PreviewBackend().generate(ask())
    assert one.picture == two.picture
    for other in (ask(references=1), ask(text="Else"), ask(palette=()), ask((540, 676))):
        assert hashlib.sha256(PreviewBackend().generate(other).picture).digest() != hashlib.sha256(one.picture).digest()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    references=st.integers(0, 7),
    text=st.one_of(st.text(max_size=300), st.text(alphabet="W\u4e2d\u05d0\U0001f460\u0301 ", max_size=5000)),
    colour=st.none() | st.integers(0, 0xFFFFFF).map("#{:06x}".format),
)
def test_any_size_and_any_text_gives_a_picture_of_exactly_that_size(
    width: int, height: int, references: int, text: str, colour: str | None
) -> None:
    image = picture(ask((width, height), references=references, text=text, palette=((text[:50], colour),)))
    assert image.size == (width, height) and image.mode == "RGB"
    assert image.getpixel((0, 0)) == STAMP_GROUND, "the band is there, whatever the brand's colours"


@pytest.mark.parametrize("pixels", [(1680, 720), (3072, 384), (384, 3072), (1080, 1920), (64, 64), (4096, 64)])
def test_extreme_shapes(pixels: tuple[int, int]) -> None:
    assert picture(ask(pixels, references=3, text="word " * 400)).size == pixels


def test_the_stamp_lies_across_the_references() -> None:
    """Light and dark strokes on a reference that is one flat grey: nobody crops the stamp off and keeps the
    photo.
    """
    flat = encode_reference(Image.new("RGB", (400, 400), (120, 120, 120)))
    request = ask((600, 600), references=0)
    request = GenerationRequest(**{**vars(request), "references": (
        ReferencePicture(flat.data, "image/jpeg", flat.sha256, "Image"),)})  # fmt: skip
    middle = picture(request).crop((150, 100, 450, 320)).convert("L")
    low, high = middle.getextrema()
    assert low < 100 and high > 160


def test_the_file_says_what_it_is() -> None:
    image = picture(ask())
    assert "digitalsourcetype/compositeSynthetic" in image.info["XML:com.adobe.xmp"]
    assert image.info["Comment"].startswith("PREVIEW")


def test_no_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a preview asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert picture(ask()).size == (540, 675)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 0xFFFFFF).map("#{:06x}".format), max_size=6))
def test_words_can_be_read_on_any_palette(colours: list[str]) -> None:
    card = Card("", "", "", "", "", "", "", "", "", tuple((c, c) for c in colours))
    paper, ink, accent = _roles(card)
    assert contrast(paper, ink) >= 7 and contrast(accent, ink) >= 4.5


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=500), st.integers(30, 400), st.integers(6, 40), st.integers(1, 5))
def test_broken_lines_fit(text: str, width: int, size: int, lines: int) -> None:
    broken = fit_lines(text, width, size=size, lines=lines)
    assert len(broken) <= lines
    assert all(font(size).getlength(line) <= width or len(line) <= 2 for line in broken)
