"""Trains the last stages of the image tower, its projection and the text teacher, so that words and pictures meet.

Three things hold the tower back from learning these few thousand pictures by heart: ImageNet's class names must keep
meeting the classifier's rows, the classifier must keep seeing in every picture what it saw, and the weights are pulled
to where they started.
"""

import logging
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import kl_div, log_softmax, normalize

from mmrag_pipeline.demo.train.captions import Batches, CaptionPool, imagenet_phrases, names_loss, right_share
from mmrag_pipeline.demo.train.sentences import sentence_vectors
from mmrag_pipeline.demo.train.teacher import Teacher
from mmrag_pipeline.demo.train.tower import ImageTower, features_of

log = logging.getLogger(__name__)

NAMES, MEMORY, PULL = 0.5, 0.5, 0.003
"""How much the three count."""


class JointTraining:
    """The towers, the data and the scale of the cosines. `maps` holds a float16 array [pictures, *MAPS] a view."""

    def __init__(
        self,
        *,
        tower: ImageTower,
        maps: list[np.ndarray],
        pool: CaptionPool,
        sentences: torch.Tensor,
        weights: np.ndarray,
        seed: int,
    ) -> None:
        self.tower, self.maps, self.pool, self.sentences = tower, maps, pool, sentences
        self.teacher = Teacher()
        self.batches = Batches(pool, weights=weights, views=len(maps), seed=seed)
        self.rng = np.random.default_rng(seed + 1)
        self.scale = nn.Parameter(torch.tensor(20.0).log())
        names, self.classes = imagenet_phrases()
        self.names = sentence_vectors(names)
        classifier = tower.trunk.classifier
        self.rows = classifier.weight.detach() - classifier.weight.detach().mean(0)
        self.before = torch.stack([features_of(tower, view).half() for view in maps])  # [views, pictures, 1280]
        self.trained = [p for stage in tower.trained_stages() for p in stage.parameters()]
        self.started = [p.detach().clone() for p in (*self.trained, tower.project.weight)]

    def maps_of(self, pictures: np.ndarray, views: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(
            np.stack([self.maps[v][p] for p, v in zip(pictures, views, strict=True)]).astype(np.float32)
        )

    def loss(self, size: int) -> torch.Tensor:
        """One batch of all of it."""
        pictures, views, captions = self.batches.draw(size)
        maps, scale = self.maps_of(pictures, views), self.scale.exp()
        features = self.tower.features(maps)
        images = normalize(self.tower.project(nn.functional.dropout(features, 0.1)), dim=-1)
        words = self.teacher(self.sentences[captions])
        loss = right_share(scale * images @ words.T, self.pool.matches(pictures, captions))
        chosen = torch.from_numpy(self.rng.choice(len(self.names), size // 2, replace=False))
        rows = normalize(self.rows @ self.tower.project.weight.T, dim=-1)
        loss = loss + NAMES * names_loss(
            self.teacher(self.names[chosen]), rows, self.classes[chosen], scale=scale, rng=self.rng
        )
        before = self.before[views, pictures].float()
        return loss + MEMORY * self._forgotten(before, features) + PULL * self._moved()

    def _forgotten(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """Learning without forgetting (Li and Hoiem 2016): the classifier's answers now against those before."""
        classifier = self.tower.trunk.classifier
        answers, kept = log_softmax(classifier(now), 1), log_softmax(classifier(before), 1)
        return kl_div(answers, kept, reduction="batchmean", log_target=True)

    def _moved(self) -> torch.Tensor:
        """L2-SP (Li et al. 2018): the squared distance from where training started."""
        current = (*self.trained, self.tower.project.weight)
        return sum((now - start).square().sum() for now, start in zip(current, self.started, strict=True))

    def fit(self, *, steps: int, size: int = 160, rate: float = 1e-3, image_rate: float = 1.5e-4) -> None:
        """AdamW with warm-up and cosine decay."""
        self.tower.eval().requires_grad_(False)  # batch normalisation keeps ImageNet's statistics
        for parameter in (*self.trained, *self.tower.project.parameters()):
            parameter.requires_grad_(True)
        groups = [
            {"params": list(self.teacher.parameters()), "lr": rate, "weight_decay": 0.02},
            {"params": [self.scale], "lr": rate, "weight_decay": 0.0},
            {"params": [*self.trained, *self.tower.project.parameters()], "lr": image_rate, "weight_decay": 0.0},
        ]
        run(self.loss, groups, steps=steps, size=size, name="pictures")
        self.teacher.eval()


def run(loss_of, groups: list[dict], *, steps: int, size: int, name: str) -> None:
    """AdamW over `groups`, one cycle of the rates; a line of progress every 50 steps."""
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in groups], total_steps=steps, pct_start=0.08
    )
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        loss = loss_of(size)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 50 == 0:
            log.info("%s: step %d of %d, loss %.3f, %.0f s", name, step, steps, total / 50, time.monotonic() - started)
            total = 0.0
