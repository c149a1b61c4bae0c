"""Logo and lines: inside the margins, never on each other, readable on anything, or refused before anything is paid."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mmrag_pipeline.campaigns.backends.drawing import Box, contrast
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import BriefError
from mmrag_pipeline.campaigns.finishing.contrast import DARK, INKS, LIGHT, READABLE, least_contrast
from mmrag_pipeline.campaigns.finishing.crop import crop_to, crop_warnings, open_original
from mmrag_pipeline.campaigns.finishing.drawn import choose_layout, draw_overlay, shade_below
from mmrag_pipeline.campaigns.finishing.layout import MARGIN, DoesNotFit, Layout, lay_out
from mmrag_pipeline.campaigns.registry import load_registry
from mmrag_pipeline_tests.campaigns.conftest import Desk

WORDS = {
    "headline": "Time, well kept, for everybody who has none",
    "price": "€ 1.290",
    "legal": "Recommended retail price including VAT. While stocks last. Picture made with artificial intelligence.",
}
RATIOS = load_registry().model("gemini-nano-banana-2.1").ratios
sizes = st.sampled_from([RATIOS[ratio] for ratio in RATIOS]).flatmap(
    lambda size: st.sampled_from([1, 0.5, 2]).map(lambda by: (round(size[0] * by), round(size[1] * by)))
)
texts = st.text("abcdefghijklmnop XYZÄÖß€,.", min_size=1, max_size=60).filter(lambda text: text.strip())
words = st.fixed_dictionaries(
    {}, optional={"headline": texts, "price": texts.map(lambda t: t[:20]), "legal": texts}
).map(lambda found: {name: " ".join(text.split()) for name, text in found.items() if text.strip()})
logos = st.none() | st.tuples(st.integers(1, 900), st.integers(1, 900))


def logo(colour: tuple[int, int, int] = (190, 20, 30), size: tuple[int, int] = (240, 80)) -> Image.Image:
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(picture).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), size[1] // 2, fill=(*colour, 255))
    return picture


def apart(one: Box, other: Box) -> bool:
    beside = one.x + one.w <= other.x or other.x + other.w <= one.x
    return beside or one.y + one.h <= other.y or other.y + other.h <= one.y


def sound(layout: Layout, size: tuple[int, int]) -> None:
    margin = max(4, round(min(size) * MARGIN))
    for box in layout.boxes:
        assert box.x >= margin and box.y >= margin
        assert box.x + box.w <= size[0] - margin and box.y + box.h <= size[1] - margin
    assert all(apart(one, other) for one, other in combinations(layout.boxes, 2))


@settings(max_examples=150, deadline=None)
@given(sizes, words, logos, st.sampled_from(["top", "bottom"]))
def test_whatever_fits_is_inside_the_margins_and_apart(
    size: tuple[int, int], words: dict[str, str], mark: tuple[int, int] | None, edge: str
) -> None:
    try:
        layout = lay_out(size, words, mark, edge=edge)
    except DoesNotFit as error:
        assert error.name in (*words, "logo")
        return
    sound(layout, size)
    for name, text in words.items():
        assert " ".join(layout.letterings[name].lines) == text, "every word of it"


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("edge", ["top", "bottom"])
def test_usual_lines_fit_every_ratio(ratio: str, edge: str) -> None:
    sound(lay_out(RATIOS[ratio], WORDS, (300, 100), edge=edge), RATIOS[ratio])


def backgrounds() -> dict[str, Image.Image]:
    size = (464, 576)
    ramp = Image.linear_gradient("L").resize(size)
    stripes = Image.new("RGB", size, "white")
    for x in range(0, size[0], 6):
        stripes.paste((0, 0, 0), (x, 0, x + 3, size[1]))
    return {
        "white": Image.new("RGB", size, "white"),
        "black": Image.new("RGB", size, "black"),
        "grey": Image.new("RGB", size, (119, 119, 119)),
        "red": Image.new("RGB", size, (255, 0, 0)),
        "ramp": Image.merge("RGB", [ramp, ramp, ramp.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]),
        "stripes": stripes,
        "noise": Image.merge("RGB", [Image.effect_noise(size, 120) for _ in range(3)]),
    }


@pytest.mark.parametrize("name", backgrounds())
@pytest.mark.parametrize("edge", [None, "top", "bottom"])
def test_every_line_can_be_read_on_every_pixel_below_it(name: str, edge: str | None) -> None:
    pixels = np.array(backgrounds()[name])
    before = pixels.copy()
    layout = choose_layout(pixels, WORDS, logo(), edge=edge)
    ink = INKS[shade_below(pixels, layout)][0]
    for line in ("headline", "legal"):
        box = layout.letterings[line].box
        assert least_contrast(pixels[box.y : box.y + box.h, box.x : box.x + box.w], ink) >= READABLE
    if name in ("white", "black"):
        assert (pixels == before).all(), "nothing is shaded where nothing has to be"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 0xFFFFFF), st.integers(0, 0xFFFFFF))
def test_lines_can_be_read_on_any_two_colours(one: int, other: int) -> None:
    pixels = np.zeros((240, 200, 3), dtype=np.uint8)
    pixels[::2] = tuple(one.to_bytes(3, "big"))
    pixels[1::2] = tuple(other.to_bytes(3, "big"))
    layout = lay_out((200, 240), {"headline": "Well kept", "legal": "While stocks"}, None, edge="bottom")
    ink = INKS[shade_below(pixels, layout)][0]
    for lettering in layout.letterings.values():
        box = lettering.box
        assert least_contrast(pixels[box.y : box.y + box.h, box.x : box.x + box.w], ink) >= READABLE


@given(st.integers(0, 0xFFFFFF))
def test_a_price_can_be_read_on_a_plate_of_any_colour(colour: int) -> None:
    plate = tuple(colour.to_bytes(3, "big"))
    assert max(contrast(ink, plate) for ink in (LIGHT, DARK)) >= READABLE


@pytest.mark.parametrize("ground", [(190, 20, 30), (255, 255, 255), (0, 0, 0)])
def test_a_logo_is_seen_on_its_own_colour_too(ground: tuple[int, int, int]) -> None:
    picture = draw_overlay(Image.new("RGB", (600, 600), ground), {}, logo(), accent=None, edge="bottom")
    box = lay_out((600, 600), {}, (240, 80), edge="bottom").logo
    assert box is not None
    seen = np.array(picture.crop((box.x, box.y, box.x + box.w, box.y + box.h)))
    middle, corner = tuple(int(v) for v in seen[box.h // 2, box.w // 2]), tuple(int(v) for v in seen[box.h // 2, 0])
    assert middle == (190, 20, 30) and contrast(middle, corner) >= 3


def test_a_logo_that_is_too_faint_to_be_seen_small_is_no_error() -> None:
    faint = Image.new("RGBA", (4000, 3), (255, 255, 255, 0))
    faint.putpixel((0, 0), (255, 0, 0, 30))
    faint.putpixel((3999, 2), (255, 0, 0, 30))
    ground = Image.new("RGB", (300, 300), "white")
    assert draw_overlay(ground, {}, faint, accent=None, edge="bottom").size == (300, 300)


def test_nothing_to_draw_leaves_the_pixels_alone_and_the_same_gives_the_same() -> None:
    picture = backgrounds()["noise"]
    assert draw_overlay(picture, {}, None, accent=None, edge=None) is picture
    one, two = (draw_overlay(picture.copy(), WORDS, logo(), accent=(9, 9, 200), edge=None) for _ in range(2))
    assert one.tobytes() == two.tobytes() != picture.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_any_picture_becomes_exactly_the_size_asked_for(came: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert crop_to(Image.new("RGB", came), wanted).size == wanted
    assert crop_warnings(came, came, aspect_ratio="4:5") == ()
    tripled = crop_warnings(came, (came[0] * 3, came[1] * 3), aspect_ratio="4:5")
    assert len(tripled) == 1 and "enlarged" in tripled[0]


def test_the_middle_is_kept_and_colours_are_what_they_look_like() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste((0, 0, 255), (100, 0, 200, 100))
    assert {crop_to(picture, (50, 50)).getpixel((x, y)) for x in (5, 25, 44) for y in (0, 25, 49)} == {(0, 0, 255)}
    sink = io.BytesIO()
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(sink, "PNG")
    assert open_original(sink.getvalue()).getpixel((0, 0)) == (255, 255, 255)


OVERLAY = ("brand:", "overlay: {headline: Well kept}\nbrand:")
LOGO = ("brand:", "brand:\n  logo: logo.png")
MISTAKES = {
    "no words for a locale": (
        [("brand:", "locales: [en, de-AT, fr]\noverlay: {headline: {en: Hello, de: Hallo}}\nbrand:")],
        "overlay.headline: there is no text for fr; add it",
    ),
    "words for nobody": (
        [("brand:", "overlay: {headline: {en: Hello, de: Hallo}}\nbrand:")],
        "overlay.headline: de is not in locales",
    ),
    "letters the font lacks": ([("brand:", "overlay: {headline: 時計}\nbrand:")], "can't draw 時 計 of the text"),
    "a number": ([("brand:", "overlay: {price: 1290}\nbrand:")], "overlay.price: the text is 1290: put it in quotes"),
    "an empty line": ([("brand:", "overlay: {legal: ' '}\nbrand:")], "overlay.legal: the text is empty"),
    "a misspelt line": ([("brand:", "overlay: {headlin: Hi}\nbrand:")], "did you mean 'headline'?"),
    "a line that is too long": (
        [("brand:", f"overlay: {{headline: {'word ' * 30}}}\nbrand:")],
        "overlay.headline: the text has 149 characters, 120 is the most",
    ),
    "a line without room": (
        [("brand:", f"overlay: {{headline: {'x' * 110}}}\nbrand:")],
        "has no room on placement feed (540 x 675) even in small letters; shorten it",
    ),
    "no room on small pixels": (
        [("brand:", "overlay: {headline: Extraordinarily kept}\nbrand:"), ("[540, 675]", "[64, 80]")],
        "'Extraordinarily kept' (en) has no room on placement feed (64 x 80)",
    ),
    "no such logo": ([LOGO], "brand.logo: the logo logo.png can't be read"),
    "a logo elsewhere": ([("brand:", "brand:\n  logo: ../logo.png")], "is not inside the folder of the briefs"),
    "a logo at the root": ([("brand:", "brand:\n  logo: /etc/logo.png")], "is not inside the folder of the briefs"),
    "a logo at an address": ([("brand:", "brand:\n  logo: http://x/logo.png")], "is not inside the folder"),
    "a linked logo": ([("brand:", "brand:\n  logo: linked.png")], "is not inside the folder of the briefs"),
    "a logo that is text": ([("brand:", "brand:\n  logo: text.png")], "is no PNG that can be read"),
    "a logo that is a JPEG": ([("brand:", "brand:\n  logo: jpeg.png")], "is no PNG that can be read"),
    "a logo without transparency": ([("brand:", "brand:\n  logo: solid.png")], "has no transparent part"),
    "a logo of nothing": ([("brand:", "brand:\n  logo: clear.png")], "is transparent everywhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_sentence(mistake: str, write_brief: Callable[..., Brief], tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    logo().save(outside)
    os.symlink(outside, tmp_path / "linked.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "jpeg.png", "JPEG")
    Image.new("RGB", (9, 9)).save(tmp_path / "solid.png")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    changes, expected = MISTAKES[mistake]
    with pytest.raises(BriefError) as caught:
        write_brief(*changes)
    assert len(caught.value.sentences) == 1, caught.value.sentences
    sentence = caught.value.sentences[0]
    assert sentence.startswith("golden-hour.yaml") and expected in sentence and sentence[-1] in ".?"


def test_neither_logo_nor_lines_are_part_of_what_is_paid_for(
    lay_out: Callable[..., Desk], write_brief: Callable[..., Brief], tmp_path: Path
) -> None:
    logo().save(tmp_path / "logo.png")
    plain, finished = lay_out().plan, lay_out(OVERLAY, LOGO).plan
    assert [v.key for v in plain.variants] == [v.key for v in finished.variants]
    assert [v.prompt for v in plain.variants] == [v.prompt for v in finished.variants]
    assert write_brief().shape_sha256 == write_brief(OVERLAY, LOGO).shape_sha256
    assert plain.with_finish_of(write_brief(OVERLAY, LOGO)) == finished
    schema = Brief.model_json_schema()
    assert schema["$defs"]["Brand"]["properties"]["logo"]["anyOf"][0]["type"] == "string"


def test_locales_have_their_own_words_and_a_placement_may_stay_bare(
    lay_out: Callable[..., Desk], preview: PreviewBackend
) -> None:
    desk = lay_out(
        ("brand:", "locales: [en, de-AT]\noverlay: {headline: {en: Hello, de: Hallo}, price: 5 EUR}\nbrand:"),
        ("placements:", "placements:\n  - {name: shop, aspect_ratio: 4:5, pixels: [320, 400], overlay: false}"),
        backend="preview",
    )
    desk.make(preview)
    found = {}
    for variant in desk.plan.variants:
        final, original = (
            Image.open(folder / f"PREVIEW-{variant.key}.png").convert("RGB") for folder in (desk.images, desk.originals)
        )
        found[variant.placement, variant.locale] = final.tobytes() == original.tobytes()
    assert found == {("feed", "en"): False, ("feed", "de-AT"): False, ("shop", "en"): True, ("shop", "de-AT"): True}
    recipes = {
        locale: desk.plan.finishing.recipe(
            placement="feed", locale=locale, width=9, height=9, palette=desk.plan.palette
        )
        for locale in ("en", "de-AT")
    }
    assert (recipes["en"].headline, recipes["de-AT"].headline) == ("Hello", "Hallo")
    assert recipes["en"].accent == "#c59b46" and recipes["en"].sha256 != recipes["de-AT"].sha256
