"""Daft with an open_clip UDF, as its documentation and its own benchmark of image models are written; a fresh process.

It runs in Daft's environment (see peers.py). Daft reads and decodes, `apply` has open_clip's transform, a class UDF
embeds in batches, and all of it streams to parquet.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import daft
import numpy as np
import open_clip
import torch
from daft import DataType, Series, col
from PIL import Image

from benchmarks.weights import ARCHITECTURE, DIM, SIDE

BATCH = 32
_INPUT = DataType.tensor(DataType.float32(), shape=(3, SIDE, SIDE))
_PREFIX = "file://"


@daft.cls(max_concurrency=1)
class Clip:
    """Loaded when the query runs; it writes down when it was ready."""

    def __init__(self, checkpoint: str, ready: str):
        model, _, _ = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=checkpoint)
        self.model = model.eval()
        Path(ready).write_text(str(time.time()))

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), DIM), batch_size=BATCH)
    def embed(self, pictures: Series) -> list[np.ndarray]:
        if not len(pictures):
            return []
        with torch.inference_mode():
            features = self.model.encode_image(torch.from_numpy(np.stack(pictures.to_pylist())))
            features /= features.norm(dim=-1, keepdim=True)
        return list(features.numpy())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder of parquet files")
    parser.add_argument("--on-error", choices=("raise", "null"), default="raise", help="Daft's own word for both steps")
    parser.add_argument("--only-new", action="store_true", help="leave out paths that the output has, add the others")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()

    started, ready = time.time(), options.report.with_suffix(".ready")
    transform = open_clip.image_transform(SIDE, is_train=False)
    root = _PREFIX + str(options.folder.absolute()) + "/"
    frame = daft.from_glob_path(f"{options.folder.absolute()}/**/*.jpg").select("path")
    frame = frame.with_column("path", col("path").apply(lambda path: path.removeprefix(root), DataType.string()))
    if options.only_new:
        frame = frame.join(daft.read_parquet(f"{options.output}/*.parquet").select("path"), on="path", how="anti")
    frame = frame.with_column("bytes", (root + col("path")).download(on_error=options.on_error))
    frame = frame.with_column("picture", col("bytes").decode_image(mode="RGB", on_error=options.on_error))
    frame = frame.select("path", "picture").where(col("picture").not_null())
    frame = frame.with_column(
        "input", col("picture").apply(lambda pixels: transform(Image.fromarray(pixels)).numpy(), return_dtype=_INPUT)
    )
    clip = Clip(options.checkpoint, str(ready))
    frame = frame.with_column("embedding", clip.embed(col("input"))).select("path", "embedding")
    frame.write_parquet(str(options.output), write_mode="append")
    ended = time.time()
    loaded = float(ready.read_text()) if ready.exists() else started
    options.report.write_text(json.dumps({"seconds": ended - max(started, loaded), "query_seconds": ended - started}))


if __name__ == "__main__":
    main()
