"""One picture at a time with stock open_clip, as Milvus' tutorial on image search does; as a fresh process.

The tutorial inserts each vector into Milvus; here they go into one parquet file at the end, which is cheaper.
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
    parser.add_argument("--output", type=Path, required=True)
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
    names, vectors = [], []
    for path in sorted(options.folder.glob("*.jpg")):
        with torch.no_grad():
            features = model.encode_image(preprocess(Image.open(path).convert("RGB")).unsqueeze(0).to(device))
            features /= features.norm(dim=-1, keepdim=True)
        names.append(path.name)
        vectors.append(features.squeeze().cpu().tolist())
    pq.write_table(pa.table({"path": names, "embedding": vectors}), options.output)
    options.report.write_text(json.dumps({"seconds": time.perf_counter() - started, "rows": len(names)}))


if __name__ == "__main__":
    main()
