"""Near-duplicates: every copy of the same picture, no other picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import mmrag_pipeline
from mmrag_pipeline.media.decode import Limits, MediaError, probe_picture
from mmrag_pipeline.media.likeness import look_of, near_duplicates

LIMITS = Limits()
DEMO = Path(mmrag_pipeline.__file__).parent / "demo" / "library"


def shot(colour: tuple[int, int, int] = (180, 40, 50), label: str = "", x: int = 300) -> Image.Image:
    """A product on white, 800x600: a bottle with a cap and a label."""
    picture = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((x, 160, x + 180, 560), 24, fill=colour)
    draw.rectangle((x + 60, 90, x + 120, 160), fill=(40, 40, 45))
    draw.rectangle((x + 20, 300, x + 160, 420), fill=(240, 235, 220))
    draw.text((x + 30, 340), label, font=ImageFont.load_default(34), fill=(20, 20, 20))
    return picture


def encoded(picture: Image.Image, format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def groups(*files: bytes) -> dict[int, int]:
    stills = [probe_picture(data, LIMITS) for data in files]
    return near_duplicates([still.look for still in stills], [still.width * still.height for still in stills])


def test_the_collected_copies(shared_data: Path) -> None:
    names = ("a.jpg", "a_reencoded.jpg", "a_resized.png", "a_flipped.jpg", "a_meta_only.jpg")
    files = [(shared_data / "hostile/duplicates" / name).read_bytes() for name in names]
    assert groups(*files) == {1: 0, 2: 0, 3: 0, 4: 0}


COPIES = {
    "quality 40": lambda picture: encoded(picture, quality=40),
    "webp": lambda picture: encoded(picture, "WEBP", quality=60),
    "png": lambda picture: encoded(picture, "PNG"),
    "half": lambda picture: encoded(picture.resize((picture.width // 2, picture.height // 2)), quality=85),
    "odd size": lambda picture: encoded(picture.resize((picture.width * 71 // 100, picture.height * 71 // 100))),
    "enlarged": lambda picture: encoded(picture.resize((picture.width * 3 // 2, picture.height * 3 // 2)), "PNG"),
    "mirrored": lambda picture: encoded(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=80),
    "turned by a tag": lambda picture: encoded(
        picture.transpose(Image.Transpose.ROTATE_90), quality=80, exif=bytes_of_orientation(6)
    ),
    "odd and turned": lambda picture: encoded(
        picture.resize((701, 701 * picture.height // picture.width)).transpose(Image.Transpose.ROTATE_270),
        quality=80,
        exif=bytes_of_orientation(8),
    ),
}


def bytes_of_orientation(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_real_photos_are_found(shared_data: Path, how: str) -> None:
    photos = sorted((shared_data / "clothing/images").glob("*.jpg"))[::400]
    photos += sorted((shared_data / "abo-sample/samples").rglob("*.jpg"))[:3]
    for path in photos:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
        pair = path.read_bytes(), COPIES[how](picture)
        wanted = {0: 1} if how == "enlarged" else {1: 0}
        if how == "odd and turned" and picture.width < 701:
            wanted = {0: 1}
        assert groups(*pair) == wanted, path.name


def test_the_largest_is_kept_and_of_equals_the_first() -> None:
    small, large = encoded(shot().resize((400, 300))), encoded(shot())
    assert groups(small, large, encoded(shot(), quality=60)) == {0: 1, 2: 1}
    assert groups(large, encoded(shot(), quality=60), small) == {1: 0, 2: 0}


def test_likeness_is_not_handed_on() -> None:
    """A chain of small steps ends at another colour: no link of it is a copy of a picture far away."""
    steps = [shot((120 + 3 * step, 60, 60)) for step in range(30)]
    looks = [look_of(picture) for picture in steps]
    found = near_duplicates(looks, [1] * len(looks))
    assert len(set(found.values())) >= 5
    assert all(copy - keeper <= 5 for copy, keeper in found.items())


@pytest.mark.parametrize(
    "other",
    [
        shot((40, 70, 180)),
        shot((150, 40, 50)),  # a shade darker
        shot((180, 40, 90)),  # and a shade towards pink
        shot(label="MINT"),
        shot(x=330),
        shot().crop((60, 40, 800, 600)),
        shot().resize((640, 600)),
        shot().transpose(Image.Transpose.ROTATE_180),
        shot().convert("L").convert("RGB"),
    ],
    ids=["blue", "darker", "pink", "label", "moved", "cropped", "squashed", "upside down", "grey"],
)
def test_another_colour_label_place_or_crop_is_another_picture(other: Image.Image) -> None:
    assert groups(encoded(shot()), encoded(other)) == {}


def test_recoloured_photos_are_different(shared_data: Path) -> None:
    """Real photos whose every hue is turned by 20 degrees, all light and shade kept."""
    files = sorted((shared_data / "clothing/images").glob("*.jpg"))[::120]
    colourful = 0
    for path in files:
        with Image.open(path) as picture:
            hue, saturation, value = picture.convert("RGB").convert("HSV").split()
        if np.mean(np.asarray(saturation)) < 70:
            continue  # grey cloth stays grey
        colourful += 1
        turned = hue.point([(shade + 14) % 256 for shade in range(256)])
        variant = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        assert groups(path.read_bytes(), encoded(variant, quality=92)) == {}, path.name
    assert colourful >= 4


def test_one_shade_is_like_nothing() -> None:
    assert look_of(Image.new("RGB", (64, 64), "red")) == b""
    white = Image.new("RGB", (640, 640), "white")
    ImageDraw.Draw(white).line((10, 10, 60, 10), fill="black")
    assert groups(encoded(white), encoded(white, quality=50), encoded(Image.new("RGB", (300, 300), "white"))) == {}


def test_a_look_is_small_and_the_same_for_any_size_of_decoding() -> None:
    picture = shot()
    full = look_of(picture)
    assert len(full) == 474
    probed = probe_picture(encoded(picture, quality=95), LIMITS).look
    difference = np.abs(np.frombuffer(full, np.uint8)[2:].astype(int) - np.frombuffer(probed, np.uint8)[2:])
    assert difference.max() <= 5


def test_nothing_in_nothing_out() -> None:
    assert near_duplicates([], []) == {}
    assert near_duplicates([b"", look_of(shot())], [1, 1]) == {}
    assert near_duplicates([b"", b"of another version", look_of(shot()), look_of(shot())], [1, 1, 1, 9]) == {2: 3}


def looks_of(files: list[Path]) -> tuple[list[Path], list[bytes], list[int]]:
    good, looks, sizes = [], [], []
    for path in files:
        try:
            still = probe_picture(path.read_bytes(), LIMITS)
        except MediaError:
            continue
        good.append(path)
        looks.append(still.look)
        sizes.append(still.width * still.height)
    return good, looks, sizes


def test_the_demo_library_has_one_copy_in_it() -> None:
    files = [path for path in sorted(DEMO.rglob("*")) if path.suffix in (".jpg", ".png", ".webp")]
    good, looks, sizes = looks_of(files)
    found = {(good[copy].stem, good[keeper].stem) for copy, keeper in near_duplicates(looks, sizes).items()}
    assert len(good) > 60
    assert found == {("aurora-silver-front", "aurora-silver-copy")}  # the same bytes twice; all else is its own


@pytest.mark.slow
def test_no_two_of_2900_different_pictures_are_joined(shared_data: Path) -> None:
    """Garments worn and laid out, groceries in series, drawn characters of one hand: looked at, pair by pair."""
    folders = ("clothing/images", "grocery/dataset", "characters/images", "abo-sample/samples")
    files = [path for name in folders for path in sorted((shared_data / name).rglob("*.*")) if path.is_file()]
    good, looks, sizes = looks_of(files)
    assert len(good) > 2800
    assert near_duplicates(looks, sizes) == {}


@pytest.mark.slow
def test_twenty_thousand_looks(shared_data: Path) -> None:
    """In time and memory that a nightly run does not notice, also when all of them are copies."""
    rng = np.random.default_rng(3)
    pictures = [shot(tuple(rng.integers(0, 255, 3)), x=int(x)) for x in range(20, 620, 30)]
    seeds = [np.frombuffer(look_of(picture), np.uint8) for picture in pictures]
    shape, cells = seeds[0][:2], np.stack([seed[2:] for seed in seeds]).astype(int)

    def varied(index: int) -> bytes:
        noise = rng.integers(-1, 2, cells.shape[1]) * (index >= len(cells))  # the first of each is as it is
        return bytes(np.concatenate([shape, (cells[index % len(cells)] + noise).clip(0, 255).astype(np.uint8)]))

    copies = [varied(index * len(cells)) for index in range(20_000)]
    assert len(near_duplicates(copies, [1] * len(copies))) == 19_999
    several = [varied(index) for index in range(20_000)]
    found = near_duplicates(several, [1] * len(several))
    assert set(found.values()) == set(range(len(cells)))
    assert all(copy % len(cells) == keeper for copy, keeper in found.items())
