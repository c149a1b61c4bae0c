"""Pixels -> what the image tower takes, by the model's own configuration and nothing else.

The same arithmetic as open_clip's `image_transform`, on uint8 tensors instead of Pillow pictures: torch's antialiased
resize is several times faster there and differs by at most 1/255 in photographs (2/255 in one value of 100,000 at
contrived hard edges). Pictures stay uint8 until they are in the model's device, a quarter of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

    from mmrag_pipeline.media.decode import Pixels

Tier = Literal["fast", "exact"]
TIERS: tuple[Tier, ...] = ("fast", "exact")

_OVERSAMPLING = 3
"""The fast tier never reads a picture smaller than this many times the model's input. Measured on 65 real pictures,
each right at the ratio: 3 keeps 50 dB beside the exact tier (weaves and printed text are the worst), 2 only 42."""
_INTERPOLATIONS = ("bicubic", "bilinear")
_RESIZE_MODES = ("shortest", "longest", "squash")


@dataclass(frozen=True)
class Preprocess:
    """A model's `preprocess_cfg`, checked. `size` is (height, width) in pixels; mean and std are of values in 0..1."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str
    fill_color: int | tuple[int, ...] = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocess:
        """Read what open_clip says of a model (`get_model_preprocess_cfg`); no value has a default here.

        Raises:
            UserError: a value is missing or none that this code knows: a guess would make every vector wrong.
        """
        size = config.get("size")
        size = (size, size) if isinstance(size, int) else tuple(size or ())
        mean, std = (_three(config.get(key)) for key in ("mean", "std"))
        interpolation, resize_mode = config.get("interpolation"), config.get("resize_mode")
        wrong = [
            name
            for name, right in {
                "size": len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size),
                "mean": len(mean) == 3,
                "std": len(std) == 3 and all(std),
                "interpolation": interpolation in _INTERPOLATIONS,
                "resize_mode": resize_mode in _RESIZE_MODES,
                "mode": config.get("mode", "RGB") == "RGB",
            }.items()
            if not right
        ]
        if wrong:
            given = ", ".join(f"{name}={config.get(name)!r}" for name in wrong)
            raise UserError(
                f"the model's preprocess_cfg can't be used ({given}): correct it in the model's open_clip_config.json "
                f"to the values that the model was trained with."
            )
        fill = config.get("fill_color") or 0
        return cls(size, mean, std, interpolation, resize_mode, fill if isinstance(fill, int) else tuple(fill))

    def short_side(self, tier: Tier) -> int | None:
        """Pixels that a picture's short side must have at least before `__call__`; None is full size."""
        return None if tier == "exact" else _OVERSAMPLING * max(self.size)

    def __call__(self, pixels: Pixels) -> torch.Tensor:
        """An upright picture, as it is or reduced -> uint8 tensor [3, *size]."""
        import torch

        rgb = pixels.rgb if pixels.rgb.flags.writeable else pixels.rgb.copy()  # Pillow's are not: torch warns of them
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None]  # a view: channels last is what the resize is fast on
        return self._cropped_or_padded(self._resized(image, pixels))

    def _resized(self, image: torch.Tensor, pixels: Pixels) -> torch.Tensor:
        """uint8 [1, 3, h, w] -> [3, h', w'] as the whole picture would be, however small it was decoded."""
        from torch.nn.functional import interpolate

        height, width = self.resized(pixels.height, pixels.width)
        if pixels.by == 1:
            target = {"size": (height, width)}
        else:
            # By factor, not by size: the decoder's last row and column may be partly outside of the picture, and
            # stretching them in would shift everything. The output's size is the input's times this, rounded down.
            factors = height / (pixels.height / pixels.by), width / (pixels.width / pixels.by)
            target = {"scale_factor": tuple(factor * (1 + 1e-9) for factor in factors), "recompute_scale_factor": False}
        return interpolate(image, mode=self.interpolation, antialias=True, align_corners=False, **target)[0]

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) before the crop, rounded as torchvision and open_clip do."""
        if self.resize_mode == "squash":
            return self.size
        target_height, target_width = self.size
        if self.resize_mode == "shortest" and target_height == target_width:
            if width <= height:
                return int(target_width * height / width), target_width
            return target_height, int(target_height * width / height)
        ratios = height / target_height, width / target_width
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def normalise(self, batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """uint8 [n, 3, h, w] -> `dtype`, (value / 255 - mean) / std, channels last, on the batch's device."""
        import torch

        scaled = batch.to(torch.float32).div_(255)
        mean, std = (torch.tensor(values, device=batch.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return scaled.sub_(mean).div_(std).to(dtype, memory_format=torch.channels_last)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _cropped_or_padded(self, image: torch.Tensor) -> torch.Tensor:
        """The middle of [3, h, w] in `size`; where it is smaller (`longest`), `fill_color` around it."""
        from torchvision.transforms.v2 import functional

        target_height, target_width = self.size
        height, width = image.shape[-2:]
        missing = max(0, target_height - height), max(0, target_width - width)
        if any(missing):
            top, left = missing[0] // 2, missing[1] // 2
            padding = [left, top, missing[1] - left, missing[0] - top]
            fill = list(self.fill_color) if isinstance(self.fill_color, tuple) else self.fill_color
            image = functional.pad(image, padding, fill=fill)
            height, width = image.shape[-2:]
        top, left = round((height - target_height) / 2), round((width - target_width) / 2)
        return image[:, top : top + target_height, left : left + target_width].contiguous()


def _three(values: Any) -> tuple[float, ...]:
    """One number for all channels or one each."""
    if isinstance(values, int | float):
        return (float(values),) * 3
    return tuple(map(float, values)) if isinstance(values, Sequence) and not isinstance(values, str) else ()
