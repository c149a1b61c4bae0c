"""A picture as it came -> RGB pixels of exactly the size that its placement asks for."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from mmrag_pipeline.media.colour import orientation, to_rgb, upright

RATIO_TOLERANCE = 0.03
ENLARGED = 1.25  # up to which nobody sees it
_WHITE = (255, 255, 255)


def open_original(data: bytes) -> Image.Image:
    """Upright, 8-bit sRGB, without transparency."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return to_rgb(upright(picture, orientation(picture)), _WHITE)


def crop_to(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture, as much as there is of it in that ratio, scaled to that size."""
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS, centering=(0.5, 0.5))


def crop_warnings(came: tuple[int, int], wanted: tuple[int, int], *, aspect_ratio: str) -> tuple[str, ...]:
    """What a person should look at: much was cut off, or much enlarged."""
    across, down = wanted[0] / came[0], wanted[1] / came[1]
    size, final = f"{came[0]} x {came[1]}", f"{wanted[0]} x {wanted[1]}"
    warnings = []
    if abs(down / across - 1) > RATIO_TOLERANCE:
        warnings.append(f"asked for {aspect_ratio}, the picture came as {size}, cut to {final}: look at its edges")
    if max(across, down) > ENLARGED:
        warnings.append(f"the picture came as {size} and was enlarged to {final}: it may look soft")
    return tuple(warnings)
