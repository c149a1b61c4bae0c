"""Which model: presets, names, and what an encoder must offer. Loading happens in `clip.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image

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
    """An encoder whose preprocessing can run elsewhere than its model: what the engine needs."""

    def prepare(self, image: Image.Image) -> Any:
        """One RGB picture -> the model's input; small, so that a batch of them fits in memory."""
        ...

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """Results of `prepare` -> float32 [n, dim], unit norm."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model as a user names it, resolved to what open_clip is asked for."""

    name: str
    architecture: str
    pretrained: str | None
    precision: str
    device: str = "auto"

    @classmethod
    def parse(cls, name: str, *, precision: str = "fp32", device: str = "auto") -> ModelSpec:
        """Read a preset, `<architecture>/<tag>`, `hf-hub:<org>/<repo>` or `local-dir:<folder>`.

        A bare weights file is not accepted: open_clip would guess its preprocessing, and a wrong guess is silent.

        Raises:
            UserError: the name is none of these.
        """
        resolved = PRESETS.get(name, name)
        if resolved.startswith(("hf-hub:", "local-dir:")):
            return cls(name, resolved, None, precision, device)
        architecture, separator, tag = resolved.partition("/")
        if not separator or not architecture or not tag or "/" in tag:
            raise UserError(
                f"MMRAG_CLIP_MODEL={name!r} names no model: use a preset ({', '.join(PRESETS)}), "
                f"<architecture>/<tag> (ViT-B-32/laion2b_s34b_b79k), hf-hub:<org>/<repo> or local-dir:<folder>."
            )
        return cls(name, architecture, tag, precision, device)

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
