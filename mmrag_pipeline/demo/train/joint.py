"""Trains the text tower together with the image tower's projection, so that words and pictures meet.

Two losses: pictures against captions (every caption whose claims a picture satisfies counts as right, so
`a red dress` is no error for another red dress), and ImageNet class names against the classifier's rows (so
that a thousand other things keep their place).
"""

import logging
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from timm.data import ImageNetInfo
from torch import nn
from torch.nn.functional import cross_entropy, dropout, normalize

from mmrag_pipeline.demo.train.pictures import Picture
from mmrag_pipeline.demo.train.text import CONTEXT, VOCABULARY, TextTower
from mmrag_pipeline.demo.train.words import Caption, with_article

log = logging.getLogger(__name__)


#: how strongly the projection is held to where it started
PULL = 0.001


@dataclass
class CaptionPool:
    """All captions of all training pictures, tokenised once, with their claims as tag numbers."""

    tokens: torch.Tensor  # captions x CONTEXT
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
        tokens = SimpleTokenizer(context_length=CONTEXT)([caption.text for caption in numbers])
        return cls(tokens, claims, tags, of_picture)

    def matches(self, pictures: np.ndarray, captions: np.ndarray) -> torch.Tensor:
        """pictures x captions: 1 where the picture has every tag that the caption claims."""
        claims = self.claims[captions]
        return (self.tags[pictures] @ claims.T >= claims.sum(1)).float()


def imagenet_phrases() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of the ImageNet class names, plain and as `a photo of a ...`, and the class of each."""
    info, texts, classes = ImageNetInfo(), [], []
    for number in range(1000):
        for name in info.index_to_description(number).split(", "):
            texts += [name.lower(), f"a photo of {with_article(name.lower())}"]
            classes += [number, number]
    return SimpleTokenizer(context_length=CONTEXT)(texts), torch.tensor(classes)


def right_share(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Contrastive loss with several right answers a row, both ways."""
    rows = cross_entropy(logits, match / match.sum(1, keepdim=True))
    columns = cross_entropy(logits.T, match.T / match.T.sum(1, keepdim=True))
    return (rows + columns) / 2


class JointTraining:
    """Both towers, the data and the scale of the cosines."""

    def __init__(
        self,
        *,
        project: nn.Linear,
        text: TextTower,
        classifier: nn.Linear,
        pool: CaptionPool,
        features: torch.Tensor,
        weights: np.ndarray,
        seed: int,
    ) -> None:
        self.project, self.text, self.pool, self.features = project, text, pool, features
        self.weights = weights / weights.sum()
        self.rng = np.random.default_rng(seed)
        self.scale = nn.Parameter(torch.tensor(20.0).log())
        self.names, self.classes = imagenet_phrases()
        self.rows = classifier.weight.detach() - classifier.weight.detach().mean(0)
        self.start = project.weight.detach().clone()

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pictures, the view of each and a caption for each."""
        pictures = self.rng.choice(len(self.weights), size, replace=False, p=self.weights)
        views = self.rng.integers(len(self.features), size=size)
        captions = np.array([self.rng.choice(self.pool.of_picture[i]) for i in pictures])
        return pictures, views, captions

    def with_noise(self, tokens: torch.Tensor, *, share: float = 0.25) -> torch.Tensor:
        """Some captions with one foreign word in them: words that it does not know must not confuse it."""
        tokens = tokens.clone()
        lengths = (tokens != 0).sum(1)
        for row in np.flatnonzero((self.rng.random(len(tokens)) < share) & (lengths.numpy() < CONTEXT)):
            place = int(self.rng.integers(1, lengths[row]))
            tokens[row, place + 1 :] = tokens[row, place:-1].clone()
            tokens[row, place] = int(self.rng.integers(512, VOCABULARY - 2))
        return tokens

    def names_loss(self, size: int) -> torch.Tensor:
        """ImageNet names against the classifier's rows, projected: their own, and as many at random."""
        chosen = torch.from_numpy(self.rng.choice(len(self.names), size, replace=False))
        others = torch.from_numpy(self.rng.choice(1000, size, replace=False))
        classes, answers = torch.unique(torch.cat([self.classes[chosen], others]), return_inverse=True)
        things = normalize(self.rows[classes] @ self.project.weight.T, dim=-1)
        return cross_entropy(self.scale.exp() * self.text(self.names[chosen]) @ things.T, answers[:size])

    def loss(self, size: int) -> torch.Tensor:
        """One batch of both losses, and a pull of the projection towards where it started."""
        pictures, views, captions = self.batch(size)
        seen = dropout(self.features[views, pictures], 0.1)
        images = normalize(self.project(seen), dim=-1)
        words = self.text(self.with_noise(self.pool.tokens[captions]))
        loss = right_share(self.scale.exp() * images @ words.T, self.pool.matches(pictures, captions))
        pull = (self.project.weight - self.start).square().sum()
        return loss + 0.5 * self.names_loss(size // 2) + PULL * pull

    def fit(self, *, steps: int, size: int = 256, rate: float = 2e-3, image_rate: float = 3e-4) -> None:
        """AdamW with warm-up and cosine decay."""
        self.text.train()
        groups = [
            {"params": list(self.text.parameters()), "lr": rate, "weight_decay": 0.02},
            {"params": [self.scale], "lr": rate, "weight_decay": 0.0},
            {"params": list(self.project.parameters()), "lr": image_rate, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, [group["lr"] for group in groups], total_steps=steps, pct_start=0.08
        )
        started, total = time.monotonic(), 0.0
        for step in range(1, steps + 1):
            optimiser.zero_grad()
            loss = self.loss(size)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            if step % 50 == 0:
                log.info("step %d loss %.3f %.0f s", step, total / 50, time.monotonic() - started)
                total = 0.0
        self.text.eval()
