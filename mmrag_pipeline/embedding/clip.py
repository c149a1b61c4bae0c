"""The open_clip encoder: one load a process, and a fingerprint that is known without loading.

The fingerprint is `<slug>-<12 hex>` (see `loading`). It is noted in the store (`models/<key>.json`), so that a night
with nothing to embed imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmrag_pipeline.embedding.loading import PREPROCESSING_VERSION, LoadedModel, load_model, weights_stat
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import Pixels
from mmrag_pipeline.store import Store, write_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

_CPU_BATCH = 8  # what one core's cache holds: twice as fast as 32 with a convolutional tower, the same with a ViT
_CUDA_BATCH = 256


class ClipEncoder:
    """A `BatchEncoder` backed by open_clip; nothing is loaded before the first vector is asked for.

    Args:
        spec: which model, at which precision, on which device, with which preprocessing.
        store: where the model's fingerprint is noted; None keeps it in memory only.
        batch_size: pictures a model call; None chooses by device.
        workers: threads that decode and encode; None is one a core, two more beside a GPU.
    """

    def __init__(
        self, spec: ModelSpec, store: Store | None = None, *, batch_size: int | None = None, workers: int | None = None
    ):
        self.spec = spec
        self._store = store
        self._batch_size, self._workers = batch_size, workers
        self._given_out: str | None = None
        self._loaded: LoadedModel | None = None

    @property
    def fingerprint(self) -> str:
        self._given_out = self._card()["fingerprint"]
        return self._given_out

    @property
    def dim(self) -> int:
        return self._card()["dim"]

    @property
    def batch_size(self) -> int:
        return self._batch_size or (_CPU_BATCH if self._on_cpu else _CUDA_BATCH)

    @property
    def workers(self) -> int:
        return self._workers or _cores() + (0 if self._on_cpu else 2)

    @property
    def lanes(self) -> int:
        """On a CPU every worker runs the model on its own core: better than sharing the cores within each call."""
        return self.workers if self._on_cpu else 2

    @property
    def short_side(self) -> int | None:
        return self.load().preprocess.short_side(self.spec.preprocessing)

    def noted_fingerprint(self) -> str | None:
        """The fingerprint if the store knows it, without loading anything."""
        noted = self._noted()
        return noted["fingerprint"] if noted and noted["weights"] == weights_stat(self.spec) else None

    def load(self) -> LoadedModel:
        """The model in memory; loads it on the first call in this process.

        Raises:
            UserError: the name is unknown, its weights can't be had or don't fit, or they are not the ones whose
                fingerprint was noted and given out before (a hub's revision moved): nothing may go under that name.
        """
        if self._loaded is not None:
            return self._loaded
        weights = weights_stat(self.spec)  # before: what is replaced while it loads is looked at again
        loaded = load_model(self.spec)
        card = {"fingerprint": loaded.fingerprint, "dim": loaded.dim, "weights": weights}
        if self._store is not None and self._noted() != card:
            write_json(self._card_path(), card)
        if self._given_out not in (None, loaded.fingerprint):
            raise UserError(
                f"the weights of MMRAG_CLIP_MODEL={self.spec.name!r} are not those of the last run "
                f"({self._given_out} then, {loaded.fingerprint} now): run this again, it will use the new ones."
            )
        self._loaded = loaded
        return loaded

    def load_for_words(self) -> LoadedModel:
        """As `load`, and the tokenizer with it, which pictures do without."""
        loaded = self.load()
        _ = loaded.tokenizer
        return loaded

    def start_worker(self) -> None:
        """One core a worker on a CPU; threads that ran before keep their number, the main one too."""
        import torch

        if self._on_cpu:
            torch.set_num_threads(1)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures -> float32 [n, dim], unit norm."""
        return self.encode_prepared([self.prepare(Pixels.of(image)) for image in images])

    def prepare(self, pixels: Pixels) -> torch.Tensor:
        """An upright picture, as it is or reduced -> uint8 tensor [3, h, w], by the model's own preprocessing."""
        return self.load().preprocess(pixels)

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> np.ndarray:
        """Results of `prepare` -> float32 [n, dim], unit norm."""
        import torch

        loaded = self.load()
        with torch.inference_mode():
            batch = torch.stack(list(prepared)).to(loaded.device)
            vectors = loaded.model.encode_image(loaded.preprocess.normalise(batch, loaded.dtype))
            return _unit(vectors)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences -> float32 [n, dim], unit norm."""
        import torch

        loaded = self.load()
        with torch.inference_mode():
            return _unit(loaded.model.encode_text(loaded.tokenizer(list(texts)).to(loaded.device)))

    @property
    def _on_cpu(self) -> bool:
        return self.load().device == "cpu"

    def _card(self) -> dict[str, Any]:
        if self._loaded is None:  # else what is in memory makes the vectors, whatever lies on the disk by now
            noted = self._noted()
            if noted is not None and noted["weights"] == weights_stat(self.spec):
                return noted
        loaded = self.load()
        return {"fingerprint": loaded.fingerprint, "dim": loaded.dim}

    def _card_path(self):
        spec = self.spec
        # With the files' times: machines that share a store have each their own copy of the model, and their own card.
        named = f"{spec.architecture}|{spec.pretrained}|{spec.background}|{weights_stat(spec)}"
        key = hashlib.sha256(named.encode()).hexdigest()[:8]
        how = f"p{PREPROCESSING_VERSION}-{spec.preprocessing}-{spec.precision}"
        return self._store.models / f"{spec.slug}-{key}-{how}.json"

    def _noted(self) -> dict[str, Any] | None:
        if self._store is None:
            return None
        try:
            return json.loads(self._card_path().read_text())
        except FileNotFoundError:
            return None


def _cores() -> int:
    """Cores that this process may use: fewer than the machine has, in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unit(vectors: torch.Tensor) -> np.ndarray:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
