"""Our side as a fresh process: one drop from files to parquet, as the two assets of a night do it, without Dagster.

`--load-first` loads the model before anything else, to have what comes after it by itself; without it the model is
loaded when the first vector is needed, which in a quiet night is never.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.drop import DROP  # noqa: E402
from mmrag_pipeline.embedding.clip import ClipEncoder  # noqa: E402
from mmrag_pipeline.embedding.manifest import embed_manifest  # noqa: E402
from mmrag_pipeline.embedding.model import ModelSpec  # noqa: E402
from mmrag_pipeline.embedding.store import EmbeddingStore  # noqa: E402
from mmrag_pipeline.media.library import MediaLibrary  # noqa: E402
from mmrag_pipeline.media.manifest_store import ManifestStore  # noqa: E402
from mmrag_pipeline.media.rules import Limits  # noqa: E402
from mmrag_pipeline.media.scan import scan_drop  # noqa: E402
from mmrag_pipeline.store import Store  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True, help="holds bench/1/**")
    parser.add_argument("--store", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--tier", default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--load-first", action="store_true")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    report = run(options)
    options.report.write_text(json.dumps(report))


def run(options: argparse.Namespace) -> dict[str, Any]:
    clock = _Clock()
    store = Store(options.store)
    spec = ModelSpec.parse(
        options.model, precision=options.precision, device=options.device, preprocessing=options.tier
    )
    encoder = ClipEncoder(spec, store)
    clock.lap("imports")
    loaded_at, loaded_mb = 0.0, 0.0
    if options.load_first:
        loaded_at, loaded_mb = _load(encoder)
        clock.lap("load")
    manifests, limits = ManifestStore(store), Limits()
    previous = manifests.find(DROP.key)
    library = MediaLibrary(options.library)
    scan = scan_drop(library, DROP, previous=previous, limits=limits, now=datetime.now(UTC))
    if scan.changed:
        manifests.write(DROP.key, scan.table)
    clock.lap("scan")
    embedded = embed_manifest(
        scan.table,
        library.folder(DROP),
        drop=DROP.key,
        encoder=encoder,
        store=EmbeddingStore(store),
        limits=limits,
    )
    clock.lap("embed")
    return {
        "seconds": clock.wall,
        "cpu_seconds": clock.cpu,
        "stage_seconds": embedded.summary.stage_seconds,
        "counts": scan.counts,
        "hashed": scan.hashed,
        "scan_changed": scan.changed,
        "embeddings_changed": embedded.changed,
        "rows": embedded.summary.rows,
        "computed": embedded.summary.computed,
        "reused": embedded.summary.reused,
        "fingerprint": embedded.summary.fingerprint,
        "precision": spec.precision,
        "torch_imported": "torch" in sys.modules,
        "loaded_at": loaded_at,
        "loaded_mb": loaded_mb,
    }


def _load(encoder: ClipEncoder) -> tuple[float, float]:
    """(time.time(), resident MB) with the model in memory and one batch through it, as any run has to hold."""
    import gc

    from PIL import Image

    from benchmarks.processes import reset_peak_memory

    encoder.encode_images([Image.new("RGB", (224, 224))])
    gc.collect()
    resident = reset_peak_memory()
    return time.time(), resident


class _Clock:
    """Wall and processor seconds of each stage, the first one since the process began to import."""

    def __init__(self) -> None:
        self._last = _STARTED, 0.0
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[stage], self.cpu[stage] = (round(b - a, 4) for a, b in zip(self._last, now, strict=True))
        self._last = now


if __name__ == "__main__":
    main()
