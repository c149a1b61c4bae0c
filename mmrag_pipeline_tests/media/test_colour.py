"""Colours as a viewer shows them, against arithmetic that knows no ICC code."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pillow_heif
import pytest
import simplejpeg
from PIL import Image, ImageCms

from mmrag_pipeline.media.colour import profile_to_srgb
from mmrag_pipeline.media.decode import Limits, decode_pixels
from mmrag_pipeline_tests.media.icc import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    png,
    rgb_profile,
    tiff,
    to_srgb,
)

LIMITS = Limits()
# In gamut of sRGB also when they are meant in a wider space.
COLOURS = np.array([(128, 128, 128), (200, 120, 90), (90, 140, 100), (70, 80, 150), (250, 250, 250), (20, 20, 25)])


def patches(colours: np.ndarray = COLOURS, side: int = 48) -> np.ndarray:
    return colours.astype(np.uint8)[None].repeat(side, axis=0).repeat(side, axis=1)


def seen(data: bytes, limits: Limits = LIMITS, side: int = 48) -> np.ndarray:
    """The middle pixel of each patch, at full size."""
    return decode_pixels(data, limits).rgb[side // 2, side // 2 :: side].astype(int)


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture.save(buffer, format, **options)
    return buffer.getvalue()


LOSSLESS = {
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 100, "subsampling": 0},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
}


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize(("primaries", "gamma"), [(ADOBE_RGB, 2.19921875), (DISPLAY_P3, 2.2)], ids=["adobe", "p3"])
def test_wide_gamut_profiles_are_applied_in_every_format(format: str, primaries: tuple, gamma: float) -> None:
    if format == "HEIF":
        pillow_heif.register_heif_opener()
    data = encoded(Image.fromarray(patches()), format, icc_profile=rgb_profile(primaries, gamma), **LOSSLESS[format])
    wanted = to_srgb(COLOURS, primaries, gamma)
    assert np.abs(wanted - COLOURS).max() > 6
    # Lossy by a value or two even at their best, which the profile stretches.
    assert np.abs(seen(data) - wanted).max() <= (4 if format in ("JPEG", "AVIF") else 2)


def test_a_profile_is_srgb_by_what_it_does_not_by_its_name() -> None:
    """Rounding apart it changes nothing, so the pixels stay as they are; a name alone changes nothing either."""
    picture = Image.fromarray(patches())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert profile_to_srgb(picture, srgb) is picture
    linear = rgb_profile(SRGB, 1.0, name="sRGB-elle-V2-g10")
    got = seen(encoded(picture, "PNG", icc_profile=linear))
    assert np.abs(got - to_srgb(COLOURS, SRGB, 1.0)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "1", "transparent"])
def test_grey_profiles_are_applied_also_where_there_is_transparency(mode: str) -> None:
    """255 * (128/255) ** 1.0 is light, in sRGB 188: a linear grey."""
    options = {"icc_profile": grey_profile(1.0)}
    picture = Image.new("L", (48, 48), 128)
    if mode == "LA":
        picture = picture.convert("LA")
    elif mode == "1":
        picture = Image.new("1", (48, 48), 1)
    elif mode == "transparent":
        options["transparency"] = 7
    got = seen(encoded(picture, "PNG", **options))[0]
    assert np.abs(got - (255 if mode == "1" else 188)).max() <= 1


@pytest.mark.parametrize("profile", [grey_profile(1.0), cmyk_profile({}), b"nonsense" * 40, b""])
def test_a_profile_for_other_pixels_is_ignored(profile: bytes) -> None:
    assert np.array_equal(seen(encoded(Image.fromarray(patches()), "PNG", icc_profile=profile)), COLOURS)


PRESS = cmyk_profile({(0, 0, 0, 0): (95, 0, 0), (1, 0, 0, 0): (55, -37, -50), (0, 1, 0, 0): (48, 74, -3)})


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_own_profile(format: str) -> None:
    """A press's cyan is a blue of middle lightness; without a profile it is the screen's glaring one."""
    inks = Image.new("CMYK", (96, 48), (0, 0, 0, 0))
    inks.paste((255, 0, 0, 0), (48, 0, 96, 48))
    plain = seen(encoded(inks, format))
    assert plain[0].min() > 250 and np.abs(plain[1] - (0, 255, 255)).max() < 8
    paper, cyan = seen(encoded(inks, format, icc_profile=PRESS))
    assert paper.min() > 235
    assert cyan[0] < 30 and 110 < cyan[1] < 170 and 180 < cyan[2] < 240


def test_cmyk_jpegs_are_inverted_as_adobe_programs_and_browsers_have_it() -> None:
    """The bytes in the file are 255 - ink: a JPEG that stores no ink as 0 would be black everywhere else too."""
    data = encoded(Image.new("CMYK", (48, 48), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(simplejpeg.decode_jpeg(data, colorspace="CMYK")[9, 9].astype(int) - (255, 0, 0, 255)).max() < 8
    assert np.abs(seen(data)[0] - (255, 0, 0)).max() < 8


def test_png_gamma_is_honoured_as_browsers_do() -> None:
    values = patches()
    linear = seen(png(values, (b"gAMA", struct.pack(">I", 100000))))
    assert np.abs(linear - np.rint(255 * (COLOURS / 255) ** (1 / 2.2))).max() <= 1
    assert np.array_equal(seen(png(values, (b"gAMA", struct.pack(">I", 45455)))), COLOURS)
    marked = png(values, (b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0"))
    assert np.array_equal(seen(marked), COLOURS)


def test_gamma_leaves_transparency_alone() -> None:
    values = np.dstack([patches(), np.full((48, 48 * len(COLOURS)), 128, np.uint8)])
    got = seen(png(values, (b"gAMA", struct.pack(">I", 100000))), Limits(background=(0, 0, 0)))
    assert np.abs(got - 255 * (COLOURS / 255) ** (1 / 2.2) * 128 / 255).max() <= 2


@pytest.mark.parametrize("format", ["png", "tiff <", "tiff >"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_keeps_its_range(format: str, channels: int) -> None:
    values = patches().astype(np.uint16) * 257
    if channels == 4:
        values = np.dstack([values, np.full(values.shape[:2], 65535, np.uint16)])
    extra = (2,) if channels == 4 else ()
    data = png(values) if format == "png" else tiff(values, photometric=2, order=format[-1], extra=extra)
    assert np.abs(seen(data) - COLOURS).max() <= 1


def test_sixteen_bit_grey_has_one_transparent_value() -> None:
    values = np.full((48, 96), 40000, np.uint16)
    values[:, 48:] = 40001
    got = seen(png(values, (b"tRNS", struct.pack(">H", 40001))), Limits(background=(10, 20, 30)))
    assert got.tolist() == [[156, 156, 156], [10, 20, 30]]


def test_premultiplied_and_unused_fourth_channels_of_tiff() -> None:
    half = np.full((48, 48, 4), (100, 50, 25, 128), np.uint8)
    premultiplied = seen(tiff(half, photometric=2, extra=(1,)), Limits(background=(0, 0, 0)))[0]
    assert np.abs(premultiplied - (100, 50, 25)).max() <= 2
    assert seen(tiff(half, photometric=2, extra=(2,)), Limits(background=(0, 0, 0)))[0].tolist() == [50, 25, 13]
    assert seen(tiff(half, photometric=2, extra=(0,)))[0].tolist() == [100, 50, 25]  # a spot colour, say: not opacity


def test_cielab_tiff_by_its_numbers() -> None:
    """L* 54, a* 81, b* 70 is the red of sRGB; a* and b* are signed in the file."""
    red = np.full((48, 48, 3), (round(54.29 * 2.55), 81, 70), np.uint8)
    blue = np.full((48, 48, 3), (round(29.57 * 2.55), 68, 256 - 112), np.uint8)
    for values, colour in ((red, (255, 0, 0)), (blue, (0, 0, 255))):
        # Eight bits are coarse for such full colours, and the rest is cut off at the edge of sRGB.
        assert np.abs(seen(tiff(values, photometric=8))[0] - colour).max() <= 24


def test_ten_bit_heic_with_display_p3_as_from_a_phone() -> None:
    values = (patches().astype(np.uint16) * 257) & 0xFFC0
    picture = pillow_heif.from_bytes(mode="RGB;16", size=values.shape[1::-1], data=values.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, quality=-1, chroma=444, icc_profile=rgb_profile(DISPLAY_P3, 2.2))
    assert pillow_heif.open_heif(io.BytesIO(buffer.getvalue()), convert_hdr_to_8bit=False).info["bit_depth"] == 10
    assert np.abs(seen(buffer.getvalue()) - to_srgb(COLOURS, DISPLAY_P3, 2.2)).max() <= 3


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (12, 200, 77)])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "JPEG2000"])
def test_transparency_shows_the_background_in_every_format(format: str, background: tuple[int, int, int]) -> None:
    if format == "HEIF":
        pillow_heif.register_heif_opener()
    picture = Image.new("RGBA", (96, 48), (200, 30, 60, 255))
    picture.paste((0, 0, 0, 0), (48, 0, 96, 48))
    got = seen(encoded(picture, format, **(LOSSLESS.get(format, {}))), Limits(background=background))
    assert np.abs(got[0] - (200, 30, 60)).max() <= 6
    assert np.abs(got[1] - background).max() <= 1


@pytest.mark.parametrize("alpha", [None, 200])
def test_palettes(alpha: int | None) -> None:
    picture = Image.fromarray(patches()).quantize(16)
    options = {"transparency": bytes([alpha] * 16)} if alpha else {}
    got = seen(encoded(picture, "PNG", **options))
    share = (alpha or 255) / 255
    assert np.abs(got - (COLOURS * share + 255 * (1 - share))).max() <= 2
