"""Which model: presets, names, and what an encoder must offer. Loading happens in `clip.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmrag_pipeline.embedding.precision import PRECISIONS, best_precision
from mmrag_pipeline.embedding.preprocess import TIERS, Tier
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image

    from mmrag_pipeline.media.decode import Pixels

DEMO = "demo"
DEMO_MODEL = Path(__file__).parents[1] / "demo" / "model"

PRESETS = {
    DEMO: f"local-dir:{DEMO_MODEL}",
    "clip-b32": "ViT-B-32/laion2b_s34b_b79k",
    "siglip2-b32": "ViT-B-32-SigLIP2-256/webli",
    "siglip2-b16": "ViT-B-16-SigLIP2-256/webli",
    "ecommerce": "hf-hub:Marqo/marqo-ecommerce-embeddings-B",
    "fashion": "hf-hub:Marqo/marqo-fashionSigLIP",
}


class Encoder(Protocol):
    """Maps pictures and words into one space of unit vectors: what search needs."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures -> float32 [n, dim], unit norm."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences -> float32 [n, dim], unit norm."""
        ...


class BatchEncoder(Encoder, Protocol):
    """An encoder whose preprocessing runs in other threads than its model: what the engine needs.

    All but `fingerprint` and `dim` may load the model: the engine asks for them only when something is to be computed.
    """

    @property
    def batch_size(self) -> int:
        """Pictures a model call."""
        ...

    @property
    def workers(self) -> int:
        """Threads that prepare pictures and call the model."""
        ...

    @property
    def lanes(self) -> int:
        """How many of them may be in the model at once."""
        ...

    @property
    def short_side(self) -> int | None:
        """Pixels that a picture's short side must have at least for `prepare`; None asks for full size."""
        ...

    def start_worker(self) -> None:
        """Called once in each worker thread before anything else."""
        ...

    def prepare(self, pixels: Pixels) -> Any:
        """An upright picture, as it is or reduced -> the model's input, a small one."""
        ...

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """Results of `prepare` -> float32 [n, dim], unit norm."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model as a user names it, resolved to what open_clip is asked for, and how pictures reach it.

    Everything here but `device` is part of the fingerprint.
    """

    name: str
    architecture: str
    pretrained: str | None
    precision: str
    device: str = "auto"
    preprocessing: Tier = "fast"
    background: tuple[int, int, int] = (255, 255, 255)
    """What shows through transparent pixels: the library's `Limits.background`."""

    @classmethod
    def parse(
        cls,
        name: str,
        *,
        precision: str = "auto",
        device: str = "auto",
        preprocessing: Tier = "fast",
        background: tuple[int, int, int] = (255, 255, 255),
    ) -> ModelSpec:
        """Read a preset, `<architecture>/<tag>`, `hf-hub:<org>/<repo>` or `local-dir:<folder>`.

        A bare weights file is not accepted: open_clip would guess its preprocessing, and a wrong guess is silent.

        Args:
            precision: fp32, bf16, or auto for the one that this machine is fast in; the demo's small model is fp32
                then, because its answers lie so near to each other that rounding would tell another story elsewhere.

        Raises:
            UserError: the name, the precision or the preprocessing is none of these.
        """
        if precision == "auto":
            precision = "fp32" if name == DEMO else best_precision(device)
        if precision not in PRECISIONS:
            raise UserError(f"MMRAG_CLIP_PRECISION={precision!r} is none of auto, {', '.join(PRECISIONS)}.")
        if preprocessing not in TIERS:
            raise UserError(f"MMRAG_CLIP_PREPROCESSING={preprocessing!r} is none of {', '.join(TIERS)}.")
        resolved, pretrained = PRESETS.get(name, name), None
        if not resolved.startswith(("hf-hub:", "local-dir:")):
            resolved, _, pretrained = resolved.partition("/")
            if not resolved or not pretrained or "/" in pretrained:
                raise UserError(
                    f"MMRAG_CLIP_MODEL={name!r} names no model: use a preset ({', '.join(PRESETS)}), "
                    f"<architecture>/<tag> (ViT-B-32/laion2b_s34b_b79k), hf-hub:<org>/<repo> or local-dir:<folder>."
                )
        return cls(name, resolved, pretrained, precision, device, preprocessing, background)

    @property
    def slug(self) -> str:
        """Short, path-safe name; the first half of the fingerprint."""
        text = self.name.split(":", 1)[-1].rstrip("/")
        if not self.name.startswith("local-dir:"):
            text = text.replace("/", "-")
        return re.sub(r"[^a-z0-9-]+", "-", text.rsplit("/", 1)[-1].lower()).strip("-")[:40] or "model"

    @property
    def folder(self) -> Path | None:
        """The weights' folder when they are on this machine's disk by name."""
        prefix = "local-dir:"
        return Path(self.architecture.removeprefix(prefix)) if self.architecture.startswith(prefix) else None
