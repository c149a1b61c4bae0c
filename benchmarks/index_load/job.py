"""One side as a fresh process: its time from the first file to the first answer, and what it then finds."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.index_library import Library
from benchmarks.index_load.sides import SIDES
from benchmarks.index_place import Place
from mmrag_pipeline.index.pymilvus_import import import_pymilvus

TOKEN = "MMRAG_MILVUS_TOKEN"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", required=True, choices=list(SIDES))
    parser.add_argument("--library", type=Path, required=True, help="folder of a library of benchmarks.index_library")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--fingerprint", required=True)
    parser.add_argument("--uri", required=True, help=f"of Milvus; its token is in {TOKEN}")
    parser.add_argument("--name", required=True, help="of the new collection")
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    options.report.write_text(json.dumps(run(options)))


def run(options: argparse.Namespace) -> dict[str, Any]:
    import_pymilvus()
    library = Library(options.library, options.rows, options.fingerprint)
    place = Place(options.uri, os.environ.get(TOKEN, ""))
    (media_id, *_), (vector, *_) = library.sample()
    queries = library.queries(options.queries)
    started, used = time.perf_counter(), time.process_time()
    with SIDES[options.side](library, place, options.name) as collection:
        collection.prove(media_id, vector)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
        nearest = [collection.nearest(query) for query in queries]
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "rows": collection.count(),
            "nearest": nearest,
        }


if __name__ == "__main__":
    main()
