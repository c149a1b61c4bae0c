"""The captions of all training pictures, with what each claims, and the names of ImageNet's classes."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from timm.data import ImageNetInfo
from torch.nn.functional import cross_entropy

from mmrag_pipeline.demo.train.pictures import Picture
from mmrag_pipeline.demo.train.words import Caption, with_article


@dataclass
class CaptionPool:
    """Captions as words, and their claims as tag numbers."""

    texts: list[str]
    claims: torch.Tensor  # captions x tags, 0/1
    tags: torch.Tensor  # pictures x tags, 0/1
    of_picture: list[np.ndarray]  # picture -> its captions

    @classmethod
    def build(cls, pictures: list[Picture], *, each: int, seed: int) -> "CaptionPool":
        """`each` made captions a picture, besides its free ones."""
        rng = random.Random(seed)
        numbers: dict[Caption, int] = {}
        of_picture = []
        for picture in pictures:
            made = picture.captions(count=each, rng=rng)
            of_picture.append(np.array([numbers.setdefault(caption, len(numbers)) for caption in made]))
        names: dict[str, int] = {}
        for picture in pictures:
            for tag in sorted(picture.tags):
                names.setdefault(tag, len(names))
        tags, claims = torch.zeros(len(pictures), len(names)), torch.zeros(len(numbers), len(names))
        for row, picture in enumerate(pictures):
            tags[row, [names[tag] for tag in picture.tags]] = 1
        for caption, row in numbers.items():
            claims[row, [names[tag] for tag in caption.tags]] = 1
        return cls([caption.text for caption in numbers], claims, tags, of_picture)

    def matches(self, pictures: np.ndarray, captions: np.ndarray) -> torch.Tensor:
        """pictures x captions: 1 where the picture has every tag that the caption claims."""
        claims = self.claims[captions]
        return (self.tags[pictures] @ claims.T >= claims.sum(1)).float()


class Batches:
    """Random batches: pictures by their weights, a view of each, a caption of each."""

    def __init__(self, pool: CaptionPool, *, weights: np.ndarray, views: int, seed: int):
        self.pool, self.weights, self.views = pool, weights / weights.sum(), views
        self.rng = np.random.default_rng(seed)

    def draw(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of pictures, of views and of captions."""
        pictures = self.rng.choice(len(self.weights), size, replace=False, p=self.weights)
        views = self.rng.integers(self.views, size=size)
        return pictures, views, np.array([self.rng.choice(self.pool.of_picture[i]) for i in pictures])


def imagenet_phrases() -> tuple[list[str], torch.Tensor]:
    """The ImageNet class names, plain and as `a photo of a ...`, and the class of each."""
    info, texts, classes = ImageNetInfo(), [], []
    for number in range(1000):
        for name in info.index_to_description(number).split(", "):
            texts += [name.lower(), f"a photo of {with_article(name.lower())}"]
            classes += [number, number]
    return texts, torch.tensor(classes)


def right_share(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Contrastive loss with several right answers a row, both ways: every caption whose claims a picture satisfies
    counts as right, so `a red dress` is no error for another red dress."""
    rows = cross_entropy(logits, match / match.sum(1, keepdim=True))
    columns = cross_entropy(logits.T, match.T / match.T.sum(1, keepdim=True))
    return (rows + columns) / 2


def names_loss(
    words: torch.Tensor, rows: torch.Tensor, classes: torch.Tensor, *, scale: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Class names [n, d] against unit classifier rows [1000, d]: their own, and as many others at random."""
    others = torch.from_numpy(rng.choice(len(rows), len(words), replace=False))
    chosen, answers = torch.unique(torch.cat([classes, others]), return_inverse=True)
    return cross_entropy(scale * words @ rows[chosen].T, answers[: len(words)])
