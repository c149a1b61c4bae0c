"""The text teacher: MiniLM's sentence vectors through a small head into the space of the pictures.

It is trained with the image tower, and only there: MiniLM knows what a carryall is though no caption says so, and the
text tower that is shipped learns that from it (`student`).
"""

import torch
from torch import nn
from torch.nn.functional import normalize

from mmrag_pipeline.demo.train.sentences import WIDTH
from mmrag_pipeline.demo.train.tower import DIMENSIONS


class Teacher(nn.Module):
    """Sentence vectors [n, 384] -> unit vectors [n, 512]; a straight path carries words that were never trained on."""

    def __init__(self, hidden: int = 768):
        super().__init__()
        self.straight = nn.Linear(WIDTH, DIMENSIONS)
        self.bent = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(WIDTH, hidden), nn.GELU(), nn.Dropout(0.2), nn.Linear(hidden, DIMENSIONS)
        )
        nn.init.zeros_(self.bent[-1].weight)

    def forward(self, sentences: torch.Tensor) -> torch.Tensor:
        scaled = sentences * WIDTH**0.5
        return normalize(self.straight(scaled) + self.bent(scaled), dim=-1)
