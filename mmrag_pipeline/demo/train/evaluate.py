"""Scores of a finished model, measured through the pipeline's own encoder, as anyone would use it.

Pictures that were held out (see `pictures`), and the golden queries of the demo library. Colour + class: one query a
pair that occurs, `a red dress`; the label is the colour measured from the pixels (see `colours`), so the ceiling is
below 1. R@10: the share of a query's pictures (at most 10) among its first 10.
"""

import csv
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.demo.train.pictures import Part, Picture
from mmrag_pipeline.demo.train.words import COLOURS, THINGS, with_article
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.engine import embed_drop
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.embedding.stages import StageTimes
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.decode import Pixels, decode_pixels
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.quality.golden import ASKED_FOR, golden_queries
from mmrag_pipeline.quality.recall import recall_at
from mmrag_pipeline.store import Store

log = logging.getLogger(__name__)
TEN_CLASSES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")

SPEED = "pictures a second, from JPEG files"
CLOTHING = "clothing held out, class of 10 from words, top-1"
COLOUR_AND_CLASS = "clothing held out, colour + class, R@10"
GROCERY = "grocery held out, 81 classes, top-1"
CHARACTERS = "characters held out, free captions, R@10"
GOLDEN_FIRST, GOLDEN_TEN = "demo library, golden queries, R@1", "demo library, golden queries, R@10"
WANTED = {GOLDEN_FIRST: 0.60, GOLDEN_TEN: 0.95, CLOTHING: 0.85, GROCERY: 0.70, SPEED: 30.0}


class _Files:
    """Picture files as the embedding engine takes them."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = paths
        self.content_ids = [f"{number:06d}" for number in range(len(paths))]

    def pixels(
        self, positions: Sequence[int], *, short_side: int | None, times: StageTimes
    ) -> Iterator[tuple[int, Pixels]]:
        for position in positions:
            with times.measure("decode"):
                picture = decode_pixels(self.paths[position].read_bytes(), Limits(), short_side=short_side)
            yield position, picture


@dataclass
class Loaded:
    """A model behind the pipeline's encoder."""

    encoder: ClipEncoder

    @classmethod
    def named(cls, model: str) -> "Loaded":
        """A model by any name that MMRAG_CLIP_MODEL takes, at full precision."""
        loaded = cls(ClipEncoder(ModelSpec.parse(model, precision="fp32")))
        loaded.encoder.load()
        return loaded

    def words(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts."""
        return self.encoder.encode_texts(texts)

    def pictures(self, paths: Sequence[Path]) -> np.ndarray:
        """Unit vectors of picture files, through the embedding engine."""
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore(Store(folder))
            embed_drop(_Files(paths), drop="evaluation", encoder=self.encoder, store=store)
            batches = list(store.batches(self.encoder.fingerprint, "evaluation"))
        vectors = [batch["embedding"].flatten().to_numpy().reshape(-1, self.encoder.dim) for batch in batches]
        return np.concatenate(vectors)


def scores(loaded: Loaded, pictures: Sequence[Picture], *, part: Part = "test") -> dict[str, float]:
    """All figures of one part of the pictures; golden queries belong to the test alone."""
    chosen = [picture for picture in pictures if picture.part == part]
    loaded.pictures([picture.path for picture in chosen[:16]])  # warm
    started = time.monotonic()
    vectors = loaded.pictures([picture.path for picture in chosen])
    speed = {SPEED: len(chosen) / (time.monotonic() - started)}
    golden = golden_scores(loaded) if part == "test" else {}
    return golden | real_scores(loaded, chosen, vectors, known=pictures) | speed


def real_scores(
    loaded: Loaded, chosen: Sequence[Picture], vectors: np.ndarray, *, known: Sequence[Picture]
) -> dict[str, float]:
    """The figures of real pictures, from their vectors."""
    rows = defaultdict(list)
    for row, picture in enumerate(chosen):
        rows[picture.source].append(row)
    of = {source: ([chosen[row] for row in numbers], vectors[numbers]) for source, numbers in rows.items()}
    return (
        _clothing(loaded, *of["clothing"])
        | _grocery(loaded, *of["grocery"], known=known)
        | _characters(loaded, *of["characters"])
    )


def golden_scores(loaded: Loaded) -> dict[str, float]:
    """R@1 and R@10 of the demo library's golden queries, then R@10 by stratum."""
    pictures = library_pictures()
    vectors = loaded.pictures([PACKAGED_LIBRARY / picture["path"] for picture in pictures])
    queries = golden_queries(GOLDEN)
    ranked = np.argsort(-loaded.words([query.query for query in queries]) @ vectors.T, axis=1)
    first, ten, strata = [], [], defaultdict(list)
    for query, order in zip(queries, ranked.tolist(), strict=True):
        relevant = [row for row, picture in enumerate(pictures) if query.grade(picture) == ASKED_FOR]
        first.append(recall_at(1, order, relevant))
        ten.append(recall_at(10, order, relevant))
        strata[query.stratum].append(ten[-1])
        if not first[-1] or ten[-1] < 1:
            log.info("%r: first %s, R@10 %.2f", query.query, pictures[order[0]]["path"], ten[-1])
    by_stratum = {f"{GOLDEN_TEN}, {name} ({len(found)})": float(np.mean(found)) for name, found in strata.items()}
    return {GOLDEN_FIRST: float(np.mean(first)), GOLDEN_TEN: float(np.mean(ten))} | by_stratum


def library_pictures(library: Path = PACKAGED_LIBRARY) -> list[dict[str, str]]:
    """The pictures that the library's catalogues describe, their `path` from the library's root."""
    found = []
    for table in sorted(library.glob("*/*/metadata.csv")):
        line, drop = table.parent.parent.name, table.parent.name
        with table.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                if Path(row["path"]).suffix in (".jpg", ".png"):
                    found.append(row | {"path": f"{line}/{drop}/{row['path']}", "product_line": line})
    return found


def _clothing(loaded: Loaded, pictures: Sequence[Picture], vectors: np.ndarray) -> dict[str, float]:
    kinds = [next(iter(picture.things)) for picture in pictures]
    ten = [row for row, kind in enumerate(kinds) if kind in TEN_CLASSES]
    prompts = {kind: f"a photo of {THINGS[kind][0]}" for kind in TEN_CLASSES}
    groups: dict[tuple[str, str], set[int]] = defaultdict(set)
    for row, picture in enumerate(pictures):
        for colour in picture.colours:
            groups[colour, kinds[row]].add(row)
    queries = [with_article(f"{COLOURS[colour][0]} {THINGS[kind][0]}") for colour, kind in groups]
    ranked = np.argsort(-loaded.words(queries) @ vectors.T, axis=1).tolist()
    recalls = [recall_at(10, order, relevant) for order, relevant in zip(ranked, groups.values(), strict=True)]
    return {
        CLOTHING: _top1(loaded, vectors[ten], [kinds[row] for row in ten], prompts),
        COLOUR_AND_CLASS: float(np.mean(recalls)),
    }


def _grocery(
    loaded: Loaded, pictures: Sequence[Picture], vectors: np.ndarray, *, known: Sequence[Picture]
) -> dict[str, float]:
    every = [next(iter(picture.things.items())) for picture in known if picture.source == "grocery"]
    prompts = {product: f"a photo of {words[1]}" for product, words in every}
    return {GROCERY: _top1(loaded, vectors, [next(iter(picture.things)) for picture in pictures], prompts)}


def _characters(loaded: Loaded, pictures: Sequence[Picture], vectors: np.ndarray) -> dict[str, float]:
    ranked = np.argsort(-loaded.words([picture.sentences[0] for picture in pictures]) @ vectors.T, axis=1)
    return {CHARACTERS: float(np.mean([row in order[:10] for row, order in enumerate(ranked)]))}


def _top1(loaded: Loaded, vectors: np.ndarray, labels: Sequence[str], prompts: dict[str, str]) -> float:
    """Share of pictures whose nearest class is their own."""
    names = list(prompts)
    guesses = (vectors @ loaded.words(list(prompts.values())).T).argmax(1)
    return float(np.mean([names[guess] == label for guess, label in zip(guesses, labels, strict=True)]))
