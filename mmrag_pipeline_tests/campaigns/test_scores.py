"""Scores say which product and which scene a picture is nearer to, once a picture, and lose none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.scores import Scores, ScoresReport, score_pictures
from mmrag_pipeline_tests.campaigns.conftest import NOW, Desk, ListedIndex, hit

LayOut = Callable[..., Desk]
TWO_PRODUCTS = ("scenes:", "  - {name: the bag, sku: B-1}\nscenes:")


class Colours:
    """A small encoder that can be checked by hand: mean colours; words by the colour that they name."""

    dim = 3

    def __init__(self, fingerprint: str = "colours-1"):
        self.fingerprint = fingerprint
        self.pictures = 0

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.pictures += len(images)
        means = np.array([np.asarray(image.resize((8, 8))).reshape(-1, 3).mean(axis=0) for image in images])
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.float32([1, 0, 0]) if "suit" in text else np.float32([0, 0, 1]) for text in texts])


def score(desk: Desk, encoder: Colours) -> ScoresReport:
    return score_pictures(desk.plan, folder=desk.folder, references=desk.references, encoder=encoder, now=NOW)


def paint(desk: Desk, key: str, colour: tuple[int, int, int]) -> None:
    """Give a variant another picture, as its sidecar vouches for it."""
    import hashlib

    file = next(desk.images.glob(f"*{key}.png"))
    image = Image.new("RGB", (80, 100), colour)
    image.paste((20, 20, 20), (10, 10, 40, 60))
    image.save(file)
    sidecar = json.loads(file.with_suffix(".json").read_text())
    sidecar["picture"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_suffix(".json").write_text(json.dumps(sidecar))


def scores(desk: Desk) -> dict[str, Scores]:
    found = [json.loads(path.read_text()) for path in desk.images.glob("*.json")]
    return {one["key"]: Scores(**one["scores"]) for one in found}


def test_a_picture_is_scored_once_and_again_only_by_another_model(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    encoder = Colours()
    assert score(desk, encoder) == ScoresReport(2, 0, ())
    assert encoder.pictures == 2 + 2  # pictures, and distinct references
    written = {path: path.read_bytes() for path in desk.images.iterdir()}
    assert score(desk, encoder) == ScoresReport(0, 2, ()) and encoder.pictures == 4
    assert {path: path.read_bytes() for path in desk.images.iterdir()} == written
    found = list(scores(desk).values())
    assert all((one.preview, one.model, one.other_products) == (True, "colours-1", None) for one in found)
    assert desk.make(preview).counts["skipped_existing"] == 2
    assert score(desk, Colours("colours-2")).scored == 2


def test_a_picture_of_another_product_is_found_out(
    lay_out: LayOut, preview: PreviewBackend, index: ListedIndex
) -> None:
    index.hits = [*index.hits, hit(9, sku="B-1", line="bags", path="9.jpg")]
    desk = lay_out(TWO_PRODUCTS, backend="preview")
    desk.make(preview)
    watch = next(v for v in desk.plan.variants if v.product == "the-golden-watch" or "watch" in v.product)
    bag = next(v for v in desk.plan.variants if v.product != watch.product and v.scene == watch.scene)
    for variant, like in ((watch, bag), (bag, bag)):
        with Image.open(desk.images.parent / "references" / f"{like.references[0].sha256}.jpg") as reference:
            colour = tuple(int(c) for c in np.asarray(reference.convert("RGB")).reshape(-1, 3).mean(axis=0))
        paint(desk, variant.key, colour)
    score(desk, Colours())
    found = scores(desk)
    assert found[watch.key].is_other_product and not found[bag.key].is_other_product
    assert found[watch.key].references_alike is not None and found[bag.key].references_alike is None
    shown = write_gallery(desk.plan, folder=desk.folder, references=desk.references).path.read_text()
    assert shown.count("It looks more like another product than like its own.") >= 1


def test_scene_words_are_compared_and_copies_are_named(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    suit, still = desk.plan.variants
    for variant in (suit, still):
        paint(desk, variant.key, (220, 60, 30))
    score(desk, Colours())
    found = scores(desk)
    assert not found[suit.key].is_other_scene and found[still.key].is_other_scene
    assert [one.near_duplicate_of for one in (found[suit.key], found[still.key])] == [None, suit.key]


def test_what_cannot_be_scored_is_a_sentence_and_no_loss(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    reference = desk.plan.variants[0].references[0]
    (desk.folder / "references" / f"{reference.sha256}.jpg").unlink()
    report = score(desk, Colours())
    assert report.scored == 2 and len(report.problems) == 1 and "missing or altered" in report.problems[0]
    assert desk.make(preview).counts["skipped_existing"] == 2


def test_scores_of_an_altered_picture_do_not_count(lay_out: LayOut, preview: PreviewBackend) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    score(desk, Colours())
    paint(desk, desk.plan.variants[0].key, (10, 200, 10))
    page = write_gallery(desk.plan, folder=desk.folder, references=desk.references).path.read_text()
    assert page.count("Not scored.") == 1
    assert score(desk, Colours()).scored == 1
