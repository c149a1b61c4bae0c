"""Trains the text tower that is shipped: against the finished picture vectors, and to say what the teacher says.

The captions teach it the shop's words exactly; the wide phrases, which no picture goes with, teach it where all the
other words belong.
"""

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn
from torch.nn.functional import normalize

from mmrag_pipeline.demo.train.captions import Batches, CaptionPool, imagenet_phrases, names_loss, right_share
from mmrag_pipeline.demo.train.joint import run
from mmrag_pipeline.demo.train.text import CONTEXT, VOCABULARY, TextTower

NAMES, DISTILLED = 0.5, 6.0
"""How much the class names and the likeness to the teacher count."""


class StudentTraining:
    """`images` are unit vectors [views, pictures, 512]; `targets` the teacher's, one a wide phrase."""

    def __init__(
        self,
        *,
        words: torch.Tensor,
        images: torch.Tensor,
        rows: torch.Tensor,
        pool: CaptionPool,
        phrases: list[str],
        targets: torch.Tensor,
        weights: np.ndarray,
        scale: torch.Tensor,
        seed: int,
    ) -> None:
        tokenizer = SimpleTokenizer(context_length=CONTEXT)
        names, self.classes = imagenet_phrases()
        self.captions, self.names, self.phrases = map(tokenizer, (pool.texts, names, phrases))
        used = torch.cat([tokens.flatten() for tokens in (self.captions, self.names, self.phrases)])
        self.text = TextTower(words=words, used=used, dimensions=images.shape[-1])
        self.images, self.rows, self.targets, self.pool = images, rows, targets, pool
        self.batches = Batches(pool, weights=weights, views=len(images), seed=seed)
        self.rng = np.random.default_rng(seed + 1)
        self.scale = nn.Parameter(scale.detach().clone())

    def with_noise(self, tokens: torch.Tensor, *, share: float = 0.25) -> torch.Tensor:
        """Some captions with one foreign word in them: words that it does not know must not confuse it."""
        tokens = tokens.clone()
        lengths = (tokens != 0).sum(1)
        for row in np.flatnonzero((self.rng.random(len(tokens)) < share) & (lengths.numpy() < CONTEXT)):
            place = int(self.rng.integers(1, lengths[row]))
            tokens[row, place + 1 :] = tokens[row, place:-1].clone()
            tokens[row, place] = int(self.rng.integers(512, VOCABULARY - 2))
        return tokens

    def loss(self, size: int) -> torch.Tensor:
        """Captions against pictures, class names against the classifier's rows, phrases against the teacher."""
        pictures, views, captions = self.batches.draw(size)
        scale = self.scale.exp()
        words = self.text(self.with_noise(self.captions[captions]))
        loss = right_share(scale * self.images[views, pictures] @ words.T, self.pool.matches(pictures, captions))
        chosen = torch.from_numpy(self.rng.choice(len(self.names), size // 2, replace=False))
        named = self.text(self.names[chosen])
        loss = loss + NAMES * names_loss(named, self.rows, self.classes[chosen], scale=scale, rng=self.rng)
        chosen = torch.from_numpy(self.rng.choice(len(self.phrases), 2 * size, replace=False))
        unlike = 1 - (self.text(self.phrases[chosen]) * self.targets[chosen]).sum(1)
        return loss + DISTILLED * unlike.mean()

    def fit(self, *, steps: int, size: int = 256, rate: float = 2e-3) -> None:
        """AdamW with warm-up and cosine decay."""
        self.text.train()
        groups = [
            {"params": list(self.text.parameters()), "lr": rate, "weight_decay": 0.01},
            {"params": [self.scale], "lr": rate, "weight_decay": 0.0},
        ]
        run(self.loss, groups, steps=steps, size=size, name="words")
        self.text.eval()


def class_rows(*, classifier: nn.Linear, project: nn.Linear) -> torch.Tensor:
    """ImageNet's classifier in the space of the pictures: unit vectors [1000, 512]."""
    weight = classifier.weight.detach()
    return normalize((weight - weight.mean(0)) @ project.weight.detach().T, dim=-1)
