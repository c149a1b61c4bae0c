"""A folder of JPEGs -> vectors on disk: our engine beside the loop of the Milvus tutorial (one picture at a time).

Same process, same loaded demo model, fp32. The folder is made of the packaged library's pictures, enlarged to about
one megapixel and made distinct, so that nothing can be reused.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from upath import UPath

from benchmarks.report import Result, interleaved
from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.engine import embed_drop
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.store import Store


def run(*, quick: bool) -> Result:
    """Measure both sides; asserts that they agree (cosine >= 0.999)."""
    encoder = ClipEncoder(ModelSpec.parse("demo"))
    encoder.load()
    count, repeats = (24, 1) if quick else (200, 5)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "pictures"
        names = _make_pictures(folder, count)
        ours: dict[str, np.ndarray] = {}
        theirs: dict[str, np.ndarray] = {}
        seconds = interleaved(
            {
                "mmrag_pipeline": lambda: _ours(folder, names, encoder, ours),
                "one picture at a time": lambda: _tutorial(folder, names, encoder, theirs),
            },
            repeats,
        )
    cosine = min(float(ours[name] @ theirs[name]) for name in names)
    assert cosine >= 0.999, f"the sides disagree: cosine {cosine}"
    return Result("embed_folder", "pictures", count, seconds, {"cosine, least": round(cosine, 6)})


def _make_pictures(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    sources = sorted(path for path in PACKAGED_LIBRARY.rglob("*.jpg"))
    names: list[str] = []
    for source in sources * (count // len(sources) + 2):
        if len(names) == count:
            break
        try:
            image = Image.open(source).convert("RGB").resize((1024, 1024))
        except OSError:
            continue  # the library's broken files are there on purpose
        image.putpixel((0, 0), (len(names) % 256, len(names) // 256, 0))
        names.append(f"{len(names):05d}.jpg")
        image.save(folder / names[-1], quality=90)
    return names


def _ours(folder: Path, names: list[str], encoder: ClipEncoder, vectors: dict[str, np.ndarray]) -> float:
    with tempfile.TemporaryDirectory() as root:
        store, limits = EmbeddingStore(Store(root)), Limits()
        started = time.perf_counter()
        embed_drop(
            {name: lambda name=name: load_picture(UPath(folder), name, None, limits) for name in names},
            drop="bench__1",
            encoder=encoder,
            store=store,
        )
        seconds = time.perf_counter() - started
        for batch in store.batches(encoder.fingerprint, "bench__1"):
            vectors.update(
                zip(batch["content_id"].to_pylist(), np.asarray(batch["embedding"].to_pylist()), strict=True)
            )
    return seconds


def _tutorial(folder: Path, names: list[str], encoder: ClipEncoder, vectors: dict[str, np.ndarray]) -> float:
    with tempfile.TemporaryDirectory() as root:
        started = time.perf_counter()
        rows = []
        for name in names:
            vector = encoder.encode_images([Image.open(folder / name).convert("RGB")])[0]
            rows.append({"path": name, "embedding": vector.tolist()})
            vectors[name] = vector
        (Path(root) / "rows.json").write_text(json.dumps(rows))
        return time.perf_counter() - started
