"""One picture at a time with stock open_clip, as Milvus' tutorial on image search does; as a fresh process.

The tutorial inserts each vector into Milvus; here they go into one parquet file at the end, which is cheaper.
`--only-new` is what its reader adds to run it again: a path that is there already is skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder of parquet files")
    parser.add_argument("--only-new", action="store_true", help="leave out paths that the output has, add the others")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()

    import open_clip
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from PIL import Image

    from benchmarks.weights import ARCHITECTURE

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _, preprocess = open_clip.create_model_and_transforms(
        ARCHITECTURE, pretrained=options.checkpoint, device=device
    )
    model.eval()
    started = time.perf_counter()
    files = sorted(options.output.glob("*.parquet"))
    known = {path for file in files if options.only_new for path in pq.read_table(file)["path"].to_pylist()}
    names, vectors = [], []
    for path in sorted(options.folder.rglob("*.jpg")):
        name = path.relative_to(options.folder).as_posix()
        if name in known:
            continue
        with torch.no_grad():
            features = model.encode_image(preprocess(Image.open(path).convert("RGB")).unsqueeze(0).to(device))
            features /= features.norm(dim=-1, keepdim=True)
        names.append(name)
        vectors.append(features.squeeze().cpu().tolist())
    pq.write_table(pa.table({"path": names, "embedding": vectors}), options.output / f"part-{len(files):03d}.parquet")
    options.report.write_text(json.dumps({"seconds": time.perf_counter() - started, "rows": len(names)}))


if __name__ == "__main__":
    main()
