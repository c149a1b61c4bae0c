"""Writes the finished towers as an open_clip `local-dir`: one JSON file and one safetensors file in fp16."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from mmrag_pipeline.demo.train.text import CONFIG, TextTower
from mmrag_pipeline.demo.train.tower import DIMENSIONS, SIZE

MODEL = {
    "model_cfg": {
        "embed_dim": DIMENSIONS,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": SIZE,
        },
        "text_cfg": CONFIG,
    },
    "preprocess_cfg": {
        "size": SIZE,
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    },
}


def vision_state(*, trunk: nn.Module, project: nn.Linear) -> dict[str, torch.Tensor]:
    """The image tower's tensors under open_clip's names."""
    state = {
        f"visual.trunk.{name}": value
        for name, value in trunk.state_dict().items()
        if not name.startswith("classifier.") and not name.endswith("num_batches_tracked")
    }
    return state | {f"visual.head.proj.{name}": value for name, value in project.state_dict().items()}


def export(*, out: Path, trunk: nn.Module, project: nn.Linear, text: TextTower, scale: torch.Tensor) -> None:
    """Writes both files; the weights last."""
    out.mkdir(parents=True, exist_ok=True)
    state = vision_state(trunk=trunk, project=project) | text.open_clip_state() | {"logit_scale": scale.detach()}
    (out / "open_clip_config.json").write_text(json.dumps(MODEL, indent=2) + "\n")
    half = {name: value.half().contiguous() for name, value in sorted(state.items())}
    weights = out / "open_clip_model.safetensors"
    save_file(half, weights)
    weights.chmod(0o644)  # safetensors writes private files


def recipe_model(weights: Path, folder: Path) -> str:
    """The recipe's model of ../shared/data/clip-weights, copied to `folder`, as the name of a `local-dir:` model.

    Raises:
        FileNotFoundError: it is not there.
    """
    config = json.loads((weights / "demo-lite0-clip.json").read_text())
    described = {"model_cfg": config, "preprocess_cfg": MODEL["preprocess_cfg"]}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    shutil.copy(weights / "demo-lite0-clip.fp16.pt", folder / "open_clip_pytorch_model.bin")
    return f"local-dir:{folder.absolute()}"
