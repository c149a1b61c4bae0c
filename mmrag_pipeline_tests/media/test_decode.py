"""Right pixels for everything that a brand stores."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmrag_pipeline.media.decode import Limits, MediaError, Reason, open_picture, probe_picture

LIMITS = Limits()
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def reason_of(data: bytes, limits: Limits = LIMITS) -> Reason:
    """Why a file is refused: by the probe and by the decoder, which must agree."""
    with pytest.raises(MediaError) as opened:
        open_picture(data, limits)
    with pytest.raises(MediaError) as probed:
        probe_picture(data, limits)
    assert opened.value.reason == probed.value.reason
    return opened.value.reason


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, dtype=np.float32) - np.asarray(b, dtype=np.float32)).mean())


def test_the_eight_orientations_are_one_upright_picture(shared_data: Path) -> None:
    pictures = [
        open_picture((shared_data / f"hostile/orientation/landscape_{n}.jpg").read_bytes(), LIMITS) for n in range(1, 9)
    ]
    assert {picture.size for picture in pictures} == {(1800, 1200)}
    assert max(difference(pictures[0], picture) for picture in pictures[1:]) < 6
    assert difference(pictures[0], pictures[0].transpose(Image.Transpose.ROTATE_180)) > 30


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_probe_measures_the_upright_picture(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(Image.new("RGB", (640, 400)), "JPEG", exif=exif)
    still = probe_picture(data, LIMITS)
    assert (still.width, still.height) == ((400, 640) if turn >= 5 else (640, 400))


def test_transparent_pixels_show_the_background() -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 32, 64))
    data = encoded(picture, "PNG")
    assert open_picture(data, LIMITS).getpixel((50, 50)) == (255, 255, 255)
    assert open_picture(data, LIMITS).getpixel((5, 5)) == (0, 0, 255)
    assert open_picture(data, Limits(background=(0, 128, 0))).getpixel((50, 50)) == (0, 128, 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "PA"])
def test_every_kind_of_transparency_is_honoured(mode: str) -> None:
    if mode in ("L", "RGB", "P"):
        picture, options = Image.new(mode, (40, 40), 0), {"transparency": (0, 0, 0) if mode == "RGB" else 0}
        format = "PNG"
    else:
        picture, options = Image.new("LA", (40, 40), (0, 0)), {}
        format = "PNG" if mode == "LA" else "TIFF"
    assert open_picture(encoded(picture, format, **options), LIMITS).getpixel((9, 9)) == (255, 255, 255)


def test_sixteen_bit_grey_stays_a_ramp(shared_data: Path) -> None:
    data = (shared_data / "hostile/colour/gray16_gradient.png").read_bytes()
    row = np.asarray(open_picture(data, LIMITS))[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all() or (np.diff(row) <= 0).all()
    assert len(set(row)) > 200
    assert abs(int(row.min())) <= 1 and row.max() >= 254


def test_sixteen_bit_values_are_scaled_exactly() -> None:
    values = np.array([[0, 257, 32768, 65535]] * 2, dtype=np.uint16).repeat(20, axis=0).repeat(20, axis=1)
    picture = open_picture(encoded(Image.fromarray(values), "PNG"), LIMITS)
    assert [picture.getpixel((x, 0))[0] for x in (0, 20, 40, 60)] == [0, 1, 128, 255]


def test_float_and_32_bit_greys_are_scaled() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(40, axis=0)
    for values in (ramp, (ramp * 60000).astype(np.int32), (ramp * 1e6).astype(np.int32)):
        got = np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF"), LIMITS))[0, :, 0]
        assert got[0] == 0 and got[-1] >= 230 and len(set(got.tolist())) > 55


def test_cmyk_is_not_inverted(shared_data: Path) -> None:
    jpeg = open_picture((shared_data / "hostile/colour/cmyk.jpg").read_bytes(), LIMITS)
    tiff = open_picture((shared_data / "hostile/colour/cmyk.tif").read_bytes(), LIMITS)
    assert difference(jpeg, tiff) < 30
    white = open_picture(encoded(Image.new("CMYK", (40, 40), (0, 0, 0, 0)), "JPEG"), LIMITS)
    assert min(white.getpixel((3, 3))) > 250


def test_icc_profile_is_applied() -> None:
    """Lab red with a Lab profile is red on screen; numbers taken as they are would be something else."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = Image.new("RGB", (40, 40), (200, 60, 30))
    assert open_picture(encoded(plain, "PNG", icc_profile=srgb), LIMITS).getpixel((0, 0)) == (200, 60, 30)
    lab = ImageCms.profileToProfile(
        plain, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    got = open_picture(encoded(lab, "TIFF"), LIMITS).getpixel((0, 0))
    assert np.abs(np.subtract(got, (200, 60, 30))).max() <= 4


def test_a_wide_gamut_profile_moves_the_colours(shared_data: Path) -> None:
    data = (shared_data / "hostile/colour/icc_500k.jpg").read_bytes()
    with Image.open(io.BytesIO(data)) as raw:
        assert raw.info["icc_profile"]
        assert difference(open_picture(data, LIMITS), raw.convert("RGB")) > 0.5


def test_a_damaged_profile_or_exif_does_not_cost_the_picture() -> None:
    picture = Image.new("RGB", (40, 40), (10, 200, 30))
    data = encoded(picture, "PNG", icc_profile=b"nonsense" * 40, exif=b"Exif\0\0nonsense")
    assert open_picture(data, LIMITS).getpixel((0, 0)) == (10, 200, 30)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (50, 40), colour) for colour in ("red", "blue", "green")]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert probe_picture(data, LIMITS).frames == 3, format
        assert open_picture(data, LIMITS).getpixel((9, 9))[0] > 240, format


def test_pixels_are_limited_before_decoding(shared_data: Path) -> None:
    data = encoded(Image.new("1", (9000, 8000)), "PNG")  # 72 MP in a few kilobytes
    assert reason_of(data) == Reason.TOO_MANY_PIXELS
    assert open_picture(data, Limits(max_pixels=80_000_000)).size == (9000, 8000)


def test_a_limit_above_pillows_own_is_the_one_in_force(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # raised below: put back after
    data = (shared_data / "hostile/bombs/30000x30000_1bit.png").read_bytes()
    with pytest.raises(MediaError, match="900 megapixels, more than 500"):
        probe_picture(data, Limits(max_pixels=500_000_000))


def test_shape_limits() -> None:
    assert reason_of(encoded(Image.new("RGB", (31, 400)), "PNG")) == Reason.TOO_SMALL
    assert reason_of(encoded(Image.new("RGB", (32, 641)), "PNG")) == Reason.BAD_ASPECT
    assert open_picture(encoded(Image.new("RGB", (32, 640)), "PNG"), LIMITS).size == (32, 640)


def test_what_is_not_an_allowed_still_never_reaches_a_decoder() -> None:
    assert reason_of(b"") == Reason.EMPTY_OR_NOT_AN_IMAGE
    assert reason_of(b"%!PS-Adobe-3.0 EPSF-3.0\n" + b" " * 99) == Reason.UNSUPPORTED_FORMAT
    assert reason_of(encoded(Image.new("RGB", (64, 64)), "ICO")) == Reason.UNSUPPORTED_FORMAT
    assert reason_of(encoded(Image.new("RGB", (64, 64)), "TGA")) == Reason.NOT_AN_IMAGE
    assert reason_of(b"<html><body>404 not found</body></html>") == Reason.NOT_AN_IMAGE
    assert reason_of(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99)) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "HEIF"])
def test_every_allowed_format_decodes_and_is_refused_when_cut_short(format: str) -> None:
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    noise = np.random.default_rng(7).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    assert open_picture(data, LIMITS).size == (128, 96)
    assert reason_of(data[: len(data) * 3 // 5]) == Reason.DECODE_ERROR
