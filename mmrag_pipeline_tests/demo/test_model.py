"""The committed demo model: its format, its preprocessing, and what it finds in the demo library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.demo.train.evaluate import (
    GOLDEN_FIRST,
    GOLDEN_TEN,
    WANTED,
    Loaded,
    golden_scores,
    library_pictures,
)
from mmrag_pipeline.embedding.model import DEMO_MODEL

PREPROCESSING = {
    "size": 224,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


@dataclass
class Demo:
    """The model as open_clip loads it."""

    model: torch.nn.Module
    preprocess: object
    tokenizer: object

    def words(self, *texts: str) -> torch.Tensor:
        with torch.inference_mode():
            return self.model.encode_text(self.tokenizer(list(texts)), normalize=True)

    def pictures(self, paths: list[Path]) -> torch.Tensor:
        batches = [paths[start : start + 32] for start in range(0, len(paths), 32)]
        with torch.inference_mode():
            return torch.cat([self.model.encode_image(self.pixels(batch), normalize=True) for batch in batches])

    def pixels(self, paths: list[Path]) -> torch.Tensor:
        return torch.stack([self.preprocess(Image.open(path).convert("RGB")) for path in paths])


@pytest.fixture(scope="module")
def demo() -> Demo:
    import open_clip

    name = f"local-dir:{DEMO_MODEL}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    return Demo(model.eval(), preprocess, open_clip.get_tokenizer(name))


def test_is_small_and_of_its_declared_format() -> None:
    config = json.loads((DEMO_MODEL / "open_clip_config.json").read_text())
    assert config["model_cfg"]["embed_dim"] == 512
    assert config["preprocess_cfg"] == PREPROCESSING
    assert sum(path.stat().st_size for path in DEMO_MODEL.iterdir()) < 30e6


def test_preprocessing_comes_from_its_own_config(demo: Demo) -> None:
    used = demo.model.visual.preprocess_cfg
    assert used["mean"] == [0.5, 0.5, 0.5] and used["std"] == [0.5, 0.5, 0.5]
    assert (used["interpolation"], used["resize_mode"]) == ("bicubic", "shortest")
    white, black = (demo.preprocess(Image.new("RGB", (300, 400), colour)) for colour in ("white", "black"))
    assert white.shape == (3, 224, 224)
    assert white.unique().tolist() == [1.0] and black.unique().tolist() == [-1.0]


def test_loads_as_fp32_with_finite_weights(demo: Demo) -> None:
    tensors = demo.model.state_dict()
    assert all(value.isfinite().all() for value in tensors.values())
    assert tensors["token_embedding.weight"].dtype == torch.float32


def test_vectors_are_units_of_512(demo: Demo, tmp_path: Path) -> None:
    Image.new("RGB", (320, 200), "red").save(tmp_path / "red.png")
    for vectors in (demo.words("a golden watch", ""), demo.pictures([tmp_path / "red.png"])):
        assert vectors.shape[1] == 512
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)


def test_synonyms_lie_closer_than_another_colour(demo: Demo) -> None:
    gown, synonym, other = demo.words("a red dress", "a crimson gown", "a blue dress")
    assert gown @ synonym > gown @ other
    gold, synonym, other = demo.words("a golden watch", "a gold wristwatch", "a silver watch")
    assert gold @ synonym > gold @ other


def test_card_says_what_it_is() -> None:
    card = (DEMO_MODEL / "MODEL_CARD.md").read_text()
    assert "demo model, not OpenAI CLIP" in card
    assert "Apache-2.0" in card


FIRST_HITS = {
    "a golden watch": (3, {"watch", "gold"}),
    "a silver watch": (3, {"watch", "silver"}),
    "a rose gold watch": (2, {"watch", "rose gold"}),
    "a red cape": (3, {"cape", "red"}),
    "crimson gown": (2, {"evening gown", "red"}),
    "a black purse": (2, {"bag", "black"}),
    "a collectible figurine": (3, {"figurine"}),
    "a coffee cup": (3, {"mug"}),
}
"""Words -> how many of the first hits must be right, and the tags that each of them must have."""


@pytest.mark.parametrize("query", FIRST_HITS)
def test_finds_in_the_demo_library(query: str, shelf: tuple[list[set[str]], np.ndarray], loaded: Loaded) -> None:
    top, wanted = FIRST_HITS[query]
    tags, vectors = shelf
    order = np.argsort(-(vectors @ loaded.words([query])[0]))
    hits = [tags[row] for row in order[:top]]
    assert all(wanted <= hit for hit in hits), hits


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Loaded.named("demo")


@pytest.fixture(scope="module")
def shelf(loaded: Loaded) -> tuple[list[set[str]], np.ndarray]:
    """Tags and vectors of the pictures that the demo library's catalogues describe."""
    pictures = library_pictures()
    tags = [set(row["tags"].split(";")) for row in pictures]
    for each in tags:
        each |= {"cape"} if "hooded cape" in each else set()
    return tags, loaded.pictures([PACKAGED_LIBRARY / row["path"] for row in pictures])


def test_golden_queries_find_what_they_ask_for(loaded: Loaded) -> None:
    found = golden_scores(loaded)
    assert found[GOLDEN_FIRST] >= WANTED[GOLDEN_FIRST]
    assert found[GOLDEN_TEN] >= WANTED[GOLDEN_TEN]
