"""From a `ModelSpec` to a model in memory, and the fingerprint that its vectors go by.

The fingerprint is `<slug>-<12 hex>`, a sha256 over the weights, the preprocessing settings that the model carries,
`PREPROCESSING_VERSION`, the tier, the background colour and the numeric precision.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag_pipeline.embedding.model import PRESETS, ModelSpec
from mmrag_pipeline.embedding.preprocess import Preprocess
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PREPROCESSING_VERSION = 2
"""Raise it when decoding or resizing changes the pixels that a model sees."""


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in memory, ready for inference on `device` (cpu, cuda[:n]) in `dtype`."""

    spec: ModelSpec
    model: Any
    preprocess: Preprocess
    device: str
    dtype: torch.dtype
    fingerprint: str
    dim: int

    @functools.cached_property
    def tokenizer(self) -> Any:
        """Texts -> token numbers. Made when words are first encoded: pictures need none, and some are downloaded.

        Raises:
            UserError: it can't be had.
        """
        import open_clip

        try:
            return open_clip.get_tokenizer(self.spec.architecture)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise _not_loaded(self.spec, error) from error


_CONFIG = "open_clip_config.json"
_MODEL_FILES = {".json", ".safetensors", ".bin", ".pt", ".pth", ".txt", ".model"}
"""Config, weights and tokenizer; a changed note or card beside them is no changed model."""


def weights_stat(spec: ModelSpec) -> list[list[Any]]:
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


def load_model(spec: ModelSpec) -> LoadedModel:
    """The model of `spec`, loaded once a process.

    Raises:
        UserError: the name is unknown, or its weights or its configuration can't be had or used.
    """
    with _loading:  # two threads that ask at once must not load twice
        return _load_once(spec, json.dumps(weights_stat(spec)))


@functools.lru_cache(maxsize=2)
def _load_once(spec: ModelSpec, files: str) -> LoadedModel:
    """`files` is what lies on the disk: a folder whose weights were replaced is another model."""
    import open_clip
    import torch
    from safetensors import SafetensorError

    from mmrag_pipeline.embedding.blank import no_random_weights

    _require_own_preprocessing(spec)
    device = _device(spec.device)
    try:
        with no_random_weights():
            model, _ = open_clip.create_model_from_pretrained(
                spec.architecture, pretrained=spec.pretrained, device=device
            )
    except (RuntimeError, ValueError, OSError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise _not_loaded(spec, error) from error
    preprocess = Preprocess.from_config(open_clip.get_model_preprocess_cfg(model))
    model.eval()
    with ThreadPoolExecutor(1) as beside:  # hashing 600 MB leaves the interpreter to others
        digest = beside.submit(_digest, model, preprocess, spec)
        with torch.inference_mode():
            black = torch.zeros((1, 3, *preprocess.size), device=device)
            dim = int(model.encode_image(black).shape[-1])  # sooner had than by the text tower and its tokenizer
        fingerprint = f"{spec.slug}-{digest.result()}"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[spec.precision]
    # Convolutions run up to twice as fast with the channels last; transformers don't mind.
    model = model.to(dtype, memory_format=torch.channels_last)
    log.info("loaded %s on %s (%s, %d dimensions)", fingerprint, device, spec.precision, dim)
    return LoadedModel(spec, model, preprocess, device, dtype, fingerprint, dim)


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
    """Refuse a model that leaves mean and std to open_clip's defaults: its vectors would be silently wrong.

    Where its configuration lies is known for folders and hub repositories; of `<architecture>/<tag>` open_clip itself
    must know the tag, or it would look for a file of that name and guess.
    """
    import open_clip

    hub = "hf-hub:"
    if spec.folder is not None:
        weights_stat(spec)  # says so when there is no such folder
        config = spec.folder / _CONFIG
    elif spec.architecture.startswith(hub):
        config = _hub_config(spec, spec.architecture.removeprefix(hub))
    else:
        known = open_clip.list_pretrained_tags_by_model(spec.architecture)
        if spec.pretrained not in known:
            have = f"the weights {', '.join(known)}" if known else "no weights"
            raise _not_loaded(spec, ValueError(f"open_clip knows {have} of {spec.architecture}"))
        return
    try:
        preprocess = json.loads(config.read_text()).get("preprocess_cfg") or {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"the model {spec.name} has no readable {_CONFIG}: add the file that open_clip writes beside the weights "
            f"(model_cfg and preprocess_cfg)."
        ) from error
    missing = [key for key in ("mean", "std") if preprocess.get(key) is None]
    if missing:
        raise UserError(
            f"{config} does not give preprocess_cfg.{' and .'.join(missing)}: add the values that the model was "
            f"trained with, a guess would make every vector wrong without an error."
        )


def _hub_config(spec: ModelSpec, repository: str) -> Path:
    """The file that open_clip itself downloads, before it fills in what is missing."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, _CONFIG))
    except (OSError, ValueError, RuntimeError) as error:  # the hub's own errors are of these kinds
        raise _not_loaded(spec, error) from error


def _not_loaded(spec: ModelSpec, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return UserError(
        f"the model MMRAG_CLIP_MODEL={spec.name!r} can't be loaded ({reason}): check the name and that its weights "
        f"can be downloaded, or use local-dir:<folder> or a preset ({', '.join(PRESETS)})."
    )


def _digest(model: Any, preprocess: Preprocess, spec: ModelSpec) -> str:
    """12 hex digits over everything that a vector depends on besides its picture."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    how = [preprocess.as_dict(), PREPROCESSING_VERSION, spec.preprocessing, spec.background, spec.precision]
    digest.update(json.dumps(how, sort_keys=True).encode())
    return digest.hexdigest()[:12]
