"""The two tiers of decoding: `exact` is what Pillow decodes, `fast` is close to it once both are made small."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.media import decode
from mmrag_pipeline.media.decode import Limits, MediaError, Pixels, Reason, decode_pixels, open_picture
from mmrag_pipeline_tests.media.icc import ADOBE_RGB, grey_profile, rgb_profile

LIMITS = Limits()
NO_LIMITS = Limits(min_side=1, max_aspect=10_000)
SAMPLINGS = ["444", "422", "420", "440", "411"]


def photo(size: tuple[int, int], seed: int = 1) -> np.ndarray:
    """Something with soft shapes, edges and grain, uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    coarse.paste((240, 230, 20), (size[0] // 3, size[1] // 3, size[0] // 2, size[1] // 2))
    grain = rng.normal(0, 4, (size[1], size[0], 1))
    return (np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, sampling: str = "420", quality: int = 85, **options) -> bytes:
    """By simplejpeg, which knows every sampling; by Pillow when it takes options that only Pillow has."""
    if not options:
        grey = pixels.ndim == 2
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels[..., None] if grey else pixels), quality,
            colorspace="GRAY" if grey else "RGB", colorsubsampling="Gray" if grey else sampling,
        )  # fmt: skip
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=SAMPLINGS.index(sampling), **options)
    return buffer.getvalue()


def resized(pixels: Pixels, short: int = 224) -> np.ndarray:
    """Antialiased bicubic to `short` and a crop of the middle, as the models have it; heeds `Pixels`."""
    import torch

    height, width = (int(short * side / min(pixels.width, pixels.height)) for side in (pixels.height, pixels.width))
    scales = height * pixels.by / pixels.height, width * pixels.by / pixels.width
    planes = torch.from_numpy(pixels.rgb).permute(2, 0, 1)[None]
    small = torch.ops.aten._upsample_bicubic2d_aa(planes, [height, width], False, *scales)[0].permute(1, 2, 0).numpy()
    top, left = round((height - short) / 2), round((width - short) / 2)
    return small[top : top + short, left : left + short]


def pixels_of(data: bytes, limits: Limits, *, short_side: int | None = None) -> np.ndarray:
    return decode_pixels(data, limits, short_side=short_side).rgb


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    quality=st.integers(5, 100),
    sampling=st.sampled_from([*SAMPLINGS, "grey"]),
    progressive=st.booleans(),
)
def test_exact_is_what_pillow_decodes(size: tuple[int, int], quality: int, sampling: str, progressive: bool) -> None:
    pixels = photo(size)
    if progressive and sampling in ("444", "422", "420"):
        data = jpeg(pixels, sampling, quality, progressive=True)
    else:
        data = jpeg(pixels[..., 0] if sampling == "grey" else pixels, sampling, quality)
    got = pixels_of(data, NO_LIMITS)
    assert np.array_equal(got, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert got.flags.c_contiguous and got.flags.writeable


def test_exact_is_open_picture_for_every_real_file(shared_data: Path) -> None:
    """The two ways to a full picture agree on pixels and on what they refuse, whatever decoder took it."""
    files = [path for path in sorted((shared_data / "hostile").rglob("*")) if path.is_file()]
    files = [path for path in files if path.stat().st_size < 500_000]
    pictures = 0
    for path in files:
        data = path.read_bytes()
        try:
            wanted = np.asarray(open_picture(data, LIMITS))
        except MediaError as error:
            with pytest.raises(MediaError) as refused:
                pixels_of(data, LIMITS)
            assert refused.value.reason == error.reason, path
            with pytest.raises(MediaError) as refused:
                decode_pixels(data, LIMITS, short_side=64)
            assert refused.value.reason == error.reason, path
        else:
            pictures += 1
            assert np.array_equal(pixels_of(data, LIMITS), wanted), path
            reduced = decode_pixels(data, LIMITS, short_side=64)
            assert (reduced.height, reduced.width) == wanted.shape[:2], path
            assert reduced.rgb.shape[:2] == tuple(-(-side // reduced.by) for side in wanted.shape[:2]), path
    assert pictures > 50


@pytest.mark.parametrize("colour", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1025, 769), (1024, 768), (451, 900)])
@pytest.mark.parametrize("short_side", [56, 112, 225, 449, 2000])
def test_fast_never_gives_less_than_was_asked_for(colour: str, size: tuple[int, int], short_side: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo(size)).convert(colour).save(buffer, "JPEG")
    got = decode_pixels(buffer.getvalue(), LIMITS, short_side=short_side)
    height, width = got.rgb.shape[:2]
    assert min(height, width) >= min(short_side, *size)
    assert (width, height) == tuple(-(-side // got.by) for side in size)
    assert min(size) / got.by >= short_side or got.by == 1
    assert got.by == 8 or min(size) < 2 * got.by * short_side  # and no more than twice as much as needed


def test_only_scales_that_save_time_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg would also give 5/8, which takes longer than all of it."""
    data = jpeg(photo((1000, 800)))
    assert pixels_of(data, LIMITS, short_side=500).shape == (800, 1000, 3)
    assert pixels_of(data, LIMITS, short_side=400).shape == (400, 500, 3)
    assert pixels_of(data, LIMITS, short_side=101).shape == (200, 250, 3)
    assert pixels_of(data, LIMITS, short_side=100).shape == (100, 125, 3)


@pytest.mark.parametrize("size", [(1200, 904), (1201, 905)])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_fast_path_turns_pictures_upright(turn: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = jpeg(photo(size), exif=exif)
    full, reduced = decode_pixels(data, LIMITS), decode_pixels(data, LIMITS, short_side=224)
    assert np.array_equal(full.rgb, np.asarray(open_picture(data, LIMITS)))
    assert (full.width, full.height) == (size if turn < 5 else size[::-1]) == (reduced.width, reduced.height)
    assert reduced.by == (4 if size == (1200, 904) or turn == 1 else 1)  # turned and odd: there is no saying where
    assert reduced.rgb.flags.c_contiguous
    assert psnr(resized(full, 64), resized(reduced, 64)) > 45


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_profiles_are_applied_on_the_fast_path(mode: str) -> None:
    profile = rgb_profile(ADOBE_RGB, 2.2) if mode == "RGB" else grey_profile(1.0)
    pixels = photo((1200, 904)) if mode == "RGB" else photo((1200, 904))[..., 0]
    data = jpeg(pixels, icc_profile=profile)
    full, reduced = decode_pixels(data, LIMITS), decode_pixels(data, LIMITS, short_side=300)
    assert np.array_equal(full.rgb, np.asarray(open_picture(data, LIMITS)))
    assert reduced.by == 2
    assert psnr(resized(full, 100), resized(reduced, 100)) > 45
    assert psnr(full.rgb, pixels_of(jpeg(pixels), LIMITS)) < 32  # and it matters


def test_plain_jpegs_are_not_decoded_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_):
        raise AssertionError("Pillow decoded it")

    plain = jpeg(photo((400, 300)))
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", refuse)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert pixels_of(plain, LIMITS).shape == (300, 400, 3)
    assert pixels_of(plain, LIMITS, short_side=100).shape == (150, 200, 3)


def test_what_the_fast_decoder_warns_of_is_pillows_to_judge(shared_data: Path) -> None:
    """Extra bytes before a marker: harmless to Pillow, so it is a picture; in both tiers the same one."""
    data = (shared_data / "hostile/corrupt/photoshop_broken_dpi.jpg").read_bytes()
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(data)
    assert pixels_of(data, LIMITS).shape == (200, 200, 3)
    assert pixels_of(data, LIMITS, short_side=100).shape == (100, 100, 3)


def test_a_cut_jpeg_is_refused_in_both_tiers() -> None:
    data = jpeg(photo((900, 700)))
    for short_side in (None, 80):
        with pytest.raises(MediaError) as refused:
            pixels_of(data[: len(data) // 2], LIMITS, short_side=short_side)
        assert refused.value.reason == Reason.DECODE_ERROR


def test_limits_are_of_the_picture_in_the_file_not_of_the_reduced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = jpeg(photo((1000, 48)))
    with pytest.raises(MediaError) as refused:
        pixels_of(wide, LIMITS, short_side=8)
    assert refused.value.reason == Reason.BAD_ASPECT
    small = jpeg(photo((400, 300)))
    assert pixels_of(small, Limits(min_side=290), short_side=75).shape == (75, 100, 3)
    monkeypatch.setattr(decode, "decode_plain", None)  # nothing is decoded that is too large
    with pytest.raises(MediaError) as refused:
        pixels_of(small, Limits(max_pixels=100_000), short_side=75)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS


def test_the_first_picture_of_a_stereo_pair() -> None:
    left, right = (Image.fromarray(photo((640, 480), seed)) for seed in (1, 2))
    buffer = io.BytesIO()
    left.save(buffer, "MPO", save_all=True, append_images=[right], quality=90)
    with Image.open(io.BytesIO(buffer.getvalue())) as first:
        assert first.format == "MPO"
        assert np.array_equal(pixels_of(buffer.getvalue(), LIMITS), np.asarray(first))
    assert pixels_of(buffer.getvalue(), LIMITS, short_side=240).shape == (240, 320, 3)


def enlarged(path: Path, short: int, seed: int) -> bytes:
    """A real photo made so large that its short side is `short`, with a camera's grain, as a JPEG of quality 90."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    factor = short / min(picture.size)
    picture = picture.resize([max(short, round(side * factor)) for side in picture.size], Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).normal(0, 3, (picture.height, picture.width, 1)).astype(np.float32)
    return jpeg((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8), quality=90)


def fidelity(shared_data: Path, short: int, *, short_side: int, count: int, by: int) -> list[float]:
    """PSNR at 224x224 of the fast tier against the exact one, in dB, of `count` real photos."""
    files = sorted((shared_data / "clothing/images").glob("*.jpg"))
    values = []
    for seed, path in enumerate(files[:: len(files) // count][:count]):
        data = enlarged(path, short, seed)
        reduced = decode_pixels(data, LIMITS, short_side=short_side)
        assert reduced.by == by
        values.append(psnr(resized(decode_pixels(data, LIMITS)), resized(reduced)))
    return values


@pytest.mark.parametrize("short", [1344, 1345])  # divided by 2 without and with a remainder
def test_fast_is_close_to_exact(shared_data: Path, short: int) -> None:
    """Half size where just three times the model's input is left of the short side: the worst case."""
    values = fidelity(shared_data, short, short_side=672, count=6, by=2)
    assert min(values) > 50 and np.median(values) > 53, np.round(values, 1)


def test_resizing_by_the_arrays_own_shape_would_shift_the_picture(shared_data: Path) -> None:
    """Why `Pixels` says what part of the array is picture."""
    path = min((shared_data / "clothing/images").glob("*.jpg"))
    data = enlarged(path, 1791, 0)
    exact, reduced = decode_pixels(data, LIMITS), decode_pixels(data, LIMITS, short_side=448)
    naive = Pixels(reduced.rgb, *reduced.rgb.shape[1::-1])
    assert reduced.by == 2 or reduced.width % 4
    assert psnr(resized(exact), resized(reduced)) > psnr(resized(exact), resized(naive)) + 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("megapixels", "short", "by", "least"),
    # A picture of 1 megapixel is decoded whole: half its size is only 2.2 times the 224 that are wanted.
    [(1, 1000, 1, 90), (4, 1700, 2, 50), (12, 3000, 4, 50)],
)
def test_fast_is_close_to_exact_at_the_sizes_of_the_benchmark(
    shared_data: Path, megapixels: int, short: int, by: int, least: float
) -> None:
    values = fidelity(shared_data, short, short_side=672, count=20, by=by)
    assert min(values) >= least and np.median(values) >= 52, np.round(values, 1)
