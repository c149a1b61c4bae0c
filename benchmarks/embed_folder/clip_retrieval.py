"""`clip-retrieval inference` on a folder, as a fresh process in its own environment.

Its defaults, but for the text that there is none of, and for a batch of 32 instead of 256: it warms its model up with
two batches of pictures and two of texts before it starts, which at 256 takes minutes without a GPU.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import peers
from benchmarks.processes import Cost, run
from benchmarks.weights import ARCHITECTURE

BATCH = 32


def inference(folder: Path, checkpoint: Path, output: Path) -> tuple[Cost, float]:
    """Run it.

    Returns:
        what the process cost, and the seconds by its own account from asking for the first batch to having the last
        vectors (`total_duration` in its stats): without load, warm-up and writing.
    """
    command = [
        peers.clip_retrieval(),
        "inference",
        *("--input_dataset", folder),
        *("--output_folder", output),
        # It splits the name at "/": what follows the architecture is then the checkpoint's absolute path.
        *("--clip_model", f"open_clip:{ARCHITECTURE}/{checkpoint.absolute()}"),
        *("--enable_text", "False"),
        *("--batch_size", str(BATCH)),
    ]
    cost = run(command, env=peers.OFFLINE)
    stats = [json.loads(path.read_text()) for path in sorted((output / "stats").glob("*.json"))]
    return cost, sum(part["total_duration"] for part in stats)
