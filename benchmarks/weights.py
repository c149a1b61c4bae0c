"""One set of weights for all sides: a ViT-B/32 with random values, in the formats that each of them reads.

Random values don't change what a picture costs. They do make all vectors alike (see `embed_folder`), so the sides are
compared after the mean vector is taken off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURE = "ViT-B-32"
DIM = 512
SIDE = 224
PREPROCESS = {
    "size": SIDE,
    "mode": "RGB",
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
"""As OpenAI's CLIP."""


@dataclass(frozen=True)
class Weights:
    """The same state dict twice."""

    checkpoint: Path
    """`.pt`, what open_clip and clip-retrieval take as `pretrained`."""
    folder: Path
    """`open_clip_config.json` and safetensors, what `local-dir:` takes."""

    @property
    def model(self) -> str:
        """How our side names it."""
        return f"local-dir:{self.folder}"


def random_vit_b32(data: Path) -> Weights:
    """Write the weights into `data` unless they are there."""
    folder = data / "vit-b32"
    weights = Weights(folder / "checkpoint" / "vit-b32.pt", folder / "model")
    done = folder / "done"
    if not done.exists():
        _write(weights)
        done.touch()
    return weights


def _write(weights: Weights) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(20261121)
    model = open_clip.create_model(ARCHITECTURE)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    for file in (weights.checkpoint, weights.folder / "x"):
        file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, weights.checkpoint)
    save_file(state, weights.folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(ARCHITECTURE), "preprocess_cfg": PREPROCESS}
    (weights.folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))
