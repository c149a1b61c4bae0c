"""The open_clip encoder: one load a process, and a fingerprint that is known without loading.

The fingerprint is `<slug>-<12 hex>`, a sha256 over the weights, the preprocessing settings that the model carries,
`PREPROCESSING_VERSION` and the numeric precision. It is noted in the store (`models/<key>.json`), so that a night
with nothing to embed imports no torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrag_pipeline.embedding.model import PRESETS, ModelSpec
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import Store, write_json

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

log = logging.getLogger(__name__)

PREPROCESSING_VERSION = 1
"""Raise it when decoding or resizing changes the pixels that a model sees."""


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in memory, ready for inference."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: str
    dtype: Any
    fingerprint: str
    dim: int


class ClipEncoder:
    """An `Encoder` backed by open_clip; nothing is loaded before the first vector is asked for.

    Args:
        spec: which model, at which precision, on which device.
        store: where the model's fingerprint is noted; None keeps it in memory only.
    """

    def __init__(self, spec: ModelSpec, store: Store | None = None):
        self.spec = spec
        self._store = store
        self._given_out: str | None = None

    @property
    def fingerprint(self) -> str:
        self._given_out = self._card()["fingerprint"]
        return self._given_out

    @property
    def dim(self) -> int:
        return self._card()["dim"]

    def noted_fingerprint(self) -> str | None:
        """The fingerprint if the store knows it, without loading anything."""
        noted = self._noted()
        return noted["fingerprint"] if noted and noted["weights"] == _weights_stat(self.spec) else None

    def load(self) -> LoadedModel:
        """The model in memory; loads it on the first call in this process.

        Raises:
            UserError: the name is unknown, its weights can't be had or don't fit, or they are not the ones whose
                fingerprint was noted and given out before (a hub's revision moved): nothing may go under that name.
        """
        loaded = _load(self.spec)
        card = {"fingerprint": loaded.fingerprint, "dim": loaded.dim, "weights": _weights_stat(self.spec)}
        if self._store is not None and self._noted() != card:
            write_json(self._card_path(), card)
        if self._given_out not in (None, loaded.fingerprint):
            raise UserError(
                f"the weights of MMRAG_CLIP_MODEL={self.spec.name!r} are not those of the last run "
                f"({self._given_out} then, {loaded.fingerprint} now): run this again, it will use the new ones."
            )
        return loaded

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures -> float32 [n, dim], unit norm."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def prepare(self, image: Image.Image) -> Any:
        """One RGB picture -> float32 tensor [3, size, size], by the model's own preprocessing."""
        return self.load().preprocess(image)

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """Results of `prepare` -> float32 [n, dim], unit norm."""
        import torch

        loaded = self.load()
        pixels = torch.stack(list(prepared)).to(loaded.device, loaded.dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            vectors = loaded.model.encode_image(pixels)
        return _unit(vectors)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences -> float32 [n, dim], unit norm."""
        import torch

        loaded = self.load()
        with torch.inference_mode():
            vectors = loaded.model.encode_text(loaded.tokenizer(list(texts)).to(loaded.device))
        return _unit(vectors)

    def _card(self) -> dict[str, Any]:
        noted = self._noted()
        if noted is not None and noted["weights"] == _weights_stat(self.spec):
            return noted
        loaded = self.load()
        return {"fingerprint": loaded.fingerprint, "dim": loaded.dim}

    def _card_path(self):
        key = hashlib.sha256(f"{self.spec.architecture}|{self.spec.pretrained}".encode()).hexdigest()[:8]
        version = f"p{PREPROCESSING_VERSION}-{self.spec.precision}"
        return self._store.models / f"{self.spec.slug}-{key}-{version}.json"

    def _noted(self) -> dict[str, Any] | None:
        if self._store is None:
            return None
        try:
            return json.loads(self._card_path().read_text())
        except FileNotFoundError:
            return None


_MODEL_FILES = {".json", ".safetensors", ".bin", ".pt", ".pth", ".txt", ".model"}
"""Config, weights and tokenizer; a changed note or card beside them is no changed model."""


def _weights_stat(spec: ModelSpec) -> list[list[Any]]:
    """Names, sizes and times of a local model's files; empty for a model that comes from a hub."""
    if spec.folder is None:
        return []
    if not spec.folder.is_dir():
        raise UserError(
            f"the model folder {spec.folder} does not exist: set MMRAG_CLIP_MODEL to local-dir:<folder> with "
            f"open_clip_config.json and the weights, or to a preset ({', '.join(PRESETS)})."
        )
    files = sorted(path for path in spec.folder.iterdir() if path.suffix in _MODEL_FILES)
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]


_loading = threading.Lock()


def _load(spec: ModelSpec) -> LoadedModel:
    with _loading:  # two threads that ask at once must not load twice
        return _load_once(spec)


@functools.lru_cache(maxsize=2)
def _load_once(spec: ModelSpec) -> LoadedModel:
    import open_clip
    import torch
    from safetensors import SafetensorError

    _require_own_preprocessing(spec)
    device = _device(spec.device)
    try:
        model, preprocess = open_clip.create_model_from_pretrained(
            spec.architecture, pretrained=spec.pretrained, device=device
        )
        tokenizer = open_clip.get_tokenizer(spec.architecture)
    except (RuntimeError, ValueError, OSError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"the model MMRAG_CLIP_MODEL={spec.name!r} can't be loaded ({reason}): check the name and that its "
            f"weights can be downloaded, or use local-dir:<folder> or a preset ({', '.join(PRESETS)})."
        ) from error
    fingerprint = f"{spec.slug}-{_digest(model, spec.precision)}"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[spec.precision]
    # Convolutions run up to twice as fast with the channels last; transformers don't mind.
    model = model.to(dtype, memory_format=torch.channels_last).eval()
    with torch.inference_mode():
        dim = int(model.encode_text(tokenizer(["a"]).to(device)).shape[-1])
    log.info("loaded %s on %s (%s, %d dimensions)", fingerprint, device, spec.precision, dim)
    return LoadedModel(model, preprocess, tokenizer, device, dtype, fingerprint, dim)


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"MMRAG_CLIP_DEVICE={name!r} can't be used here ({str(error).splitlines()[0].rstrip('.')}): "
            f"set it to auto, cpu or cuda."
        ) from error
    return name


def _require_own_preprocessing(spec: ModelSpec) -> None:
    """Refuse a local model that leaves mean and std to open_clip's defaults: vectors would be silently wrong."""
    if spec.folder is None:
        return
    _weights_stat(spec)  # says so when there is no such folder
    config = spec.folder / "open_clip_config.json"
    try:
        preprocess = json.loads(config.read_text()).get("preprocess_cfg", {})
    except (OSError, ValueError) as error:
        raise UserError(
            f"the model folder {spec.folder} has no readable open_clip_config.json: add the file that open_clip "
            f"writes beside the weights (model_cfg and preprocess_cfg)."
        ) from error
    missing = [key for key in ("mean", "std") if key not in preprocess]
    if missing:
        raise UserError(
            f"{config} does not give preprocess_cfg.{' and .'.join(missing)}: add the values that the model was "
            f"trained with, a guess would make every vector wrong without an error."
        )


def _digest(model: Any, precision: str) -> str:
    """12 hex digits over weights, preprocessing and precision."""
    import open_clip
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    settings = open_clip.get_model_preprocess_cfg(model)
    digest.update(json.dumps([settings, PREPROCESSING_VERSION, precision], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:12]


def _unit(vectors: Any) -> np.ndarray:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
