"""Trains the text tower together with the image tower's tail, so that words and pictures meet in one space.

Three losses: pictures against captions (every caption whose claims a picture satisfies counts as right, so
`a red dress` is no error for another red dress), ImageNet class names against the classifier's rows (so that
a thousand other things keep their place), and, once the convolutions move, the frozen classifier's opinion of
the same picture.
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
from torch.nn.functional import cross_entropy, kl_div, normalize

from mmrag_pipeline.demo.train.pictures import Picture
from mmrag_pipeline.demo.train.text import CONTEXT, VOCABULARY, TextTower
from mmrag_pipeline.demo.train.tower import Tail
from mmrag_pipeline.demo.train.words import Caption, with_article

log = logging.getLogger(__name__)


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
    """The two towers, the data and the optimiser; `fit` may be called for several phases."""

    def __init__(
        self,
        *,
        tail: Tail,
        text: TextTower,
        classifier: nn.Linear,
        pool: CaptionPool,
        middle: np.ndarray,
        pooled: torch.Tensor,
        seed: int,
    ) -> None:
        self.tail, self.text, self.classifier, self.pool = tail, text, classifier, pool
        self.middle, self.pooled = middle, pooled
        self.rng = np.random.default_rng(seed)
        self.scale = nn.Parameter(torch.tensor(np.log(20.0), dtype=torch.float32))
        self.names, self.classes = imagenet_phrases()
        rows = classifier.weight.detach()
        self.rows = rows - rows.mean(0)
        self.start = tail.proj.weight.detach().clone()
        self.mean = self.pooled[0].mean(0)

    def centre(self) -> None:
        """Starts the projection's bias so that the average picture lies at the origin."""
        with torch.no_grad():
            self.tail.proj.bias.copy_(-self.tail.proj.weight @ self.mean * 0.8)

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pictures, the view of each and a caption for each."""
        pictures = self.rng.choice(len(self.pool.of_picture), size, replace=False)
        views = self.rng.integers(len(self.middle), size=size)
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
        things = normalize(self.rows[classes] @ self.tail.proj.weight.T, dim=-1)
        return cross_entropy(self.scale.exp() * self.text(self.names[chosen]) @ things.T, answers[:size])

    def step_loss(self, *, size: int, deep: bool) -> torch.Tensor:
        """One batch of all losses."""
        pictures, views, captions = self.batch(size)
        if deep:
            middle = torch.from_numpy(self.middle[views, pictures]).float()
            pooled = self.tail.pooled(middle)
        else:
            pooled = self.pooled[views, pictures]
        images = normalize(self.tail.proj(nn.functional.dropout(pooled, 0.1)), dim=-1)
        words = self.text(self.with_noise(self.pool.tokens[captions]))
        loss = right_share(self.scale.exp() * images @ words.T, self.pool.matches(pictures, captions))
        loss = loss + 0.5 * self.names_loss(size // 2)
        loss = loss + 20 * (self.tail.proj.weight - self.start).square().mean()
        if deep:
            before = self.classifier(self.pooled[views, pictures]).log_softmax(1)
            after = self.classifier(pooled).log_softmax(1)
            loss = loss + 0.5 * kl_div(after, before, log_target=True, reduction="batchmean")
        return loss

    def fit(self, *, steps: int, size: int, rate: float, deep: bool, image_rate: float) -> None:
        """AdamW with warm-up and cosine decay; `deep` moves the convolutions too."""
        self.tail.train()
        self.text.train()
        self.tail.layers.requires_grad_(deep)
        groups = [
            {
                "params": [p for p in self.text.parameters() if p.requires_grad],
                "lr": rate,
                "weight_decay": 0.02,
            },
            {"params": [self.scale], "lr": rate, "weight_decay": 0.0},
            {"params": self.tail.proj.parameters(), "lr": image_rate, "weight_decay": 0.0},
        ]
        if deep:
            groups.append(
                {"params": self.tail.layers.parameters(), "lr": image_rate / 2, "weight_decay": 0.0}
            )
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, [group["lr"] for group in groups], total_steps=steps, pct_start=0.08
        )
        started, total = time.monotonic(), 0.0
        for step in range(1, steps + 1):
            optimiser.zero_grad()
            loss = self.step_loss(size=size, deep=deep)
            loss.backward()
            optimiser.step()
            schedule.step()
            self.scale.data.clamp_(max=np.log(60.0))
            total += loss.item()
            if step % 50 == 0:
                log.info(
                    "step %d loss %.3f scale %.1f %.0f s",
                    step,
                    total / 50,
                    self.scale.exp(),
                    time.monotonic() - started,
                )
                total = 0.0
        self.tail.eval()
        self.text.eval()
