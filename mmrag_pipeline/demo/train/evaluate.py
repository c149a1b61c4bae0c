"""Scores of a finished model, measured through open_clip alone as anyone would load it.

Held-out pictures only (see pictures.py). Colour + class: one query a pair that occurs, `a red dress`; the
label is the colour measured from the pixels (see colours.py), so the ceiling is below 1; R@10 = the share of
a query's pictures (at most 10) among its first 10.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from PIL import Image

from mmrag_pipeline.demo.train.pictures import Picture
from mmrag_pipeline.demo.train.queries import QUERIES, described_pictures
from mmrag_pipeline.demo.train.words import COLOURS, THINGS, with_article

TEN_CLASSES = (
    "dress",
    "hat",
    "longsleeve",
    "outwear",
    "pants",
    "shirt",
    "shoes",
    "shorts",
    "skirt",
    "t-shirt",
)


@dataclass
class Loaded:
    """A model with its own preprocessing and tokeniser."""

    model: torch.nn.Module
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenizer: Callable[[list[str]], torch.Tensor]

    @classmethod
    def from_folder(cls, folder: Path) -> "Loaded":
        """An open_clip local-dir."""
        name = f"local-dir:{folder}"
        model, preprocess = open_clip.create_model_from_pretrained(name)
        return cls(model.eval(), preprocess, open_clip.get_tokenizer(name))

    def words(self, texts: list[str]) -> torch.Tensor:
        """Unit vectors of texts."""
        with torch.inference_mode():
            return self.model.encode_text(self.tokenizer(texts), normalize=True)

    def pictures(self, paths: list[Path], *, batch: int = 32) -> torch.Tensor:
        """Unit vectors of picture files."""
        parts = []
        for start in range(0, len(paths), batch):
            pixels = [self.preprocess(Image.open(path).convert("RGB")) for path in paths[start : start + batch]]
            with torch.inference_mode():
                parts.append(self.model.encode_image(torch.stack(pixels), normalize=True))
        return torch.cat(parts)


def top1(loaded: Loaded, images: torch.Tensor, labels: list[str], prompts: dict[str, list[str]]) -> float:
    """Share of pictures whose nearest class is their own; a class is the mean of its prompts."""
    names = list(prompts)
    centres = torch.stack([loaded.words(prompts[name]).mean(0) for name in names])
    centres = torch.nn.functional.normalize(centres, dim=-1)
    guesses = (images @ centres.T).argmax(1)
    return sum(names[guess] == label for guess, label in zip(guesses, labels, strict=True)) / len(labels)


def recall_at_10(ranked: torch.Tensor, relevant: set[int]) -> float:
    """Share of the relevant pictures (at most 10) among the first 10."""
    return len(relevant & set(ranked[:10].tolist())) / min(10, len(relevant))


def clothing_scores(loaded: Loaded, pictures: list[Picture], images: torch.Tensor) -> dict[str, float]:
    """Class of ten from its words, and colour + class."""
    kinds = [next(iter(picture.things)) for picture in pictures]
    ten = [i for i, kind in enumerate(kinds) if kind in TEN_CLASSES]
    prompts = {kind: [f"a photo of {THINGS[kind][0]}"] for kind in TEN_CLASSES}
    groups: dict[tuple[str, str], set[int]] = defaultdict(set)
    for i, picture in enumerate(pictures):
        for colour in picture.colours:
            groups[colour, kinds[i]].add(i)
    queries = [with_article(f"{COLOURS[colour][0]} {THINGS[kind][0]}") for colour, kind in groups]
    ranks = (loaded.words(queries) @ images.T).argsort(dim=1, descending=True)
    recalls = [recall_at_10(rank, relevant) for rank, relevant in zip(ranks, groups.values(), strict=True)]
    return {
        "clothing, class of 10 from words, top-1": top1(loaded, images[ten], [kinds[i] for i in ten], prompts),
        "clothing, colour + class, R@10": sum(recalls) / len(recalls),
    }


def grocery_scores(
    loaded: Loaded, pictures: list[Picture], images: torch.Tensor, *, known: list[Picture]
) -> dict[str, float]:
    """All products of `known` by their names."""
    every = [next(iter(picture.things.items())) for picture in known if picture.source == "grocery"]
    prompts = {product: [f"a photo of {words[1]}"] for product, words in every}
    labels = [next(iter(picture.things)) for picture in pictures]
    return {f"grocery, {len(prompts)} classes, top-1": top1(loaded, images, labels, prompts)}


def character_scores(loaded: Loaded, pictures: list[Picture], images: torch.Tensor) -> dict[str, float]:
    """Free captions: the very picture among the first 10."""
    ranks = (loaded.words([picture.sentences[0] for picture in pictures]) @ images.T).argsort(dim=1, descending=True)
    found = [i in rank[:10].tolist() for i, rank in enumerate(ranks)]
    return {f"characters, free captions, {len(found)} pictures, R@10": sum(found) / len(found)}


def scores(loaded: Loaded, pictures: list[Picture]) -> dict[str, float]:
    """All figures; only held-out pictures are looked at."""
    held_out = [picture for picture in pictures if picture.held_out]
    started = time.monotonic()
    images = loaded.pictures([picture.path for picture in held_out])
    speed = {"pictures a second from JPEG": len(held_out) / (time.monotonic() - started)}
    return speed | held_out_scores(loaded, held_out, images, known=pictures) | library_scores(loaded)


def library_scores(loaded: Loaded) -> dict[str, float]:
    """Share of the queries whose best hits in the demo library are all right."""
    shelf = described_pictures()
    ranks = loaded.words([query for query, _, _ in QUERIES]) @ loaded.pictures([path for path, _ in shelf]).T
    order = ranks.argsort(dim=1, descending=True).tolist()
    right = [
        all(wanted <= shelf[i][1] for i in best[:top]) for best, (_, top, wanted) in zip(order, QUERIES, strict=True)
    ]
    return {f"demo library, {len(QUERIES)} queries, top 1 to 3 all right": sum(right) / len(right)}


def held_out_scores(
    loaded: Loaded, held_out: list[Picture], images: torch.Tensor, *, known: list[Picture]
) -> dict[str, float]:
    """The figures that need no clock, from vectors of the held-out pictures."""
    rows = {
        source: [i for i, picture in enumerate(held_out) if picture.source == source]
        for source in ("clothing", "grocery", "characters")
    }
    of = {source: ([held_out[i] for i in chosen], images[chosen]) for source, chosen in rows.items()}
    return (
        clothing_scores(loaded, *of["clothing"])
        | grocery_scores(loaded, *of["grocery"], known=known)
        | character_scores(loaded, *of["characters"])
    )
