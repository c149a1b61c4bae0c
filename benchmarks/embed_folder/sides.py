"""The ways from a folder of pictures to vectors, each a fresh process with the same weights.

What is timed leaves load and warm-up out: from the first file that is touched, model loaded, to the last vector. For
ours that is scan and embedding to the last byte on disk, for the loop its loop with the file. clip-retrieval's is
`total_duration` of its own stats: what it writes at its end is left out, in its favour. Daft reads and decodes while
its model is being loaded; its clock starts when the model is there, in its favour too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers, vectors
from benchmarks.drop import drop_folder
from benchmarks.peers import NoPeers
from benchmarks.processes import Cost, run, run_module, run_ours
from benchmarks.vectors import Rows
from benchmarks.weights import ARCHITECTURE, Weights

BATCH = 32
"""clip-retrieval's batch, instead of 256: it warms its model up with two batches of pictures and two of texts, which at
256 takes minutes without a GPU."""


@dataclass(frozen=True)
class Embedded:
    """What a side took, and what it left."""

    seconds: float
    cost: Cost
    rows: Rows
    said: str
    """All that it says about single files: what it printed, or what it keeps for that."""


Side = Callable[[Path], Embedded]
"""Embed the drop of this library."""
OURS, CLIP_RETRIEVAL, DAFT, TUTORIAL = "ours", "clip-retrieval", "Daft, open_clip UDF", "one at a time"


def all_sides(weights: Weights, *, install: bool) -> tuple[dict[str, Side], list[str]]:
    """Every side that can run here, and why others can't."""
    sides: dict[str, Side] = {OURS: partial(ours, weights)}
    missing = []
    try:
        sides[CLIP_RETRIEVAL] = partial(clip_retrieval, peers.clip_retrieval(install=install), weights)
    except NoPeers as why:
        missing.append(f"clip-retrieval: {why}")
    try:
        sides[DAFT] = partial(daft, peers.DAFT.python(install=install), weights)
    except NoPeers as why:
        missing.append(f"Daft: {why}")
    sides[TUTORIAL] = partial(tutorial, weights)
    return sides, missing


def ours(weights: Weights, library: Path) -> Embedded:
    """Scan and embedding, as the two assets of a night do them."""
    with tempfile.TemporaryDirectory() as store:
        cost = run_ours(
            "benchmarks.job", "--library", library, "--store", store, "--model", weights.model, "--load-first"
        )
        seconds = cost.report["seconds"]
        rows = vectors.of_ours(Path(store), cost.report["fingerprint"])
        return Embedded(seconds["scan"] + seconds["embed"], cost, rows, vectors.quarantined(Path(store)))


def clip_retrieval(command: Path, weights: Weights, library: Path, **limits: Any) -> Embedded:
    """`clip-retrieval inference` with its defaults, but for the text that there is none of, and for the batch."""
    folder = drop_folder(library).absolute()
    with tempfile.TemporaryDirectory() as output:
        options = (
            *("--input_dataset", folder),
            *("--output_folder", output),
            # It splits the name at "/": what follows the architecture is then the checkpoint's absolute path.
            *("--clip_model", f"open_clip:{ARCHITECTURE}/{weights.checkpoint.absolute()}"),
            *("--enable_text", "False"),
            *("--batch_size", str(BATCH)),
        )
        cost = run([command, "inference", *options], env=peers.OFFLINE, **limits)
        stats = [json.loads(path.read_text()) for path in sorted((Path(output) / "stats").glob("*.json"))]
        rows = vectors.of_clip_retrieval(Path(output), folder)
        return Embedded(sum(part["total_duration"] for part in stats), cost, rows, cost.output)


def daft(
    python: Path,
    weights: Weights,
    library: Path,
    *,
    output: Path | None = None,
    options: tuple[str, ...] = (),
    **limits: Any,
) -> Embedded:
    """daft_udf.py, into a folder that is thrown away or into `output`."""
    module = "benchmarks.embed_folder.daft_udf"
    return _into_parquet(
        partial(run_module, python, module, env=peers.OFFLINE), weights, library, output, options, limits
    )


def tutorial(
    weights: Weights, library: Path, *, output: Path | None = None, options: tuple[str, ...] = (), **limits: Any
) -> Embedded:
    """tutorial.py, into a folder that is thrown away or into `output`."""
    return _into_parquet(
        partial(run_module, Path(sys.executable), "benchmarks.embed_folder.tutorial"),
        weights,
        library,
        output,
        options,
        limits,
    )


def _into_parquet(
    start: Callable[..., Cost],
    weights: Weights,
    library: Path,
    output: Path | None,
    options: tuple[str, ...],
    limits: dict[str, Any],
) -> Embedded:
    with tempfile.TemporaryDirectory() as root:
        folder = output or Path(root)
        given = ("--folder", drop_folder(library), "--checkpoint", weights.checkpoint, "--output", folder)
        cost = start(*given, *options, **limits)
        return Embedded(cost.report.get("seconds", 0.0), cost, vectors.of_parquet(folder), cost.output)
