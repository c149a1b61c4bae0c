"""The ways from JPEG bytes to a model's input, float32 [3, 224, 224], that are measured beside each other."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.weights import PREPROCESS


@dataclass(frozen=True)
class Picture:
    """A JPEG in memory, and (height, width), so that the lower bound need not look for them."""

    data: bytes
    size: tuple[int, int]

    @classmethod
    def of(cls, data: bytes) -> Picture:
        import simplejpeg

        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return cls(data, (height, width))


Path = Callable[[Picture], Any]


def ours(tier: str) -> Path:
    """Our decoder and preprocessing at `exact` or `fast`."""
    import torch

    from mmrag_pipeline.embedding.preprocess import Preprocess
    from mmrag_pipeline.media.decode import decode_pixels
    from mmrag_pipeline.media.rules import Limits

    preprocess, limits = Preprocess.from_config(PREPROCESS), Limits()
    short_side = preprocess.short_side(tier)

    def path(picture: Picture) -> Any:
        pixels = preprocess(decode_pixels(picture.data, limits, short_side=short_side))
        return preprocess.normalise(pixels[None], torch.float32)[0]

    return path


def open_clip() -> Path:
    """Pillow's decoder and open_clip's transform, as its README does it."""
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    transform = image_transform_v2(PreprocessCfg(**PREPROCESS), is_train=False)
    return lambda picture: transform(Image.open(io.BytesIO(picture.data)))


def entropy_decode() -> Path:
    """What no decoder can go below: all of the file read, one pixel of 64 made, nothing resized."""
    import simplejpeg

    def path(picture: Picture) -> Any:
        height, width = picture.size
        return simplejpeg.decode_jpeg(picture.data, min_height=height // 8, min_width=width // 8)

    return path


def levels(model_input: Any) -> Any:
    """A model input as the 0..255 levels that it was before mean and std, int16 [3, 224, 224]."""
    import torch

    mean, std = (torch.tensor(PREPROCESS[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((model_input * std + mean) * 255).round().to(torch.int16)
