"""One stage by itself on inputs that lie ready in memory, on some or all cores at once.

A process a core (or one with many threads) loads everything, says that it is ready, and works for a while when told
to start; the rates of processes that work side by side are added up. So the ceiling holds for all cores together,
also where two of them share a clock or a cache.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import ROOT

STAGES = ("decode", "model")


def rate(
    stage: str, *, library: Path, model: str, processes: int, threads: int = 1, batch: int | None = None, seconds: float
) -> dict[str, float]:
    """Run `processes` processes side by side, each with `threads` threads in a model call.

    Returns:
        `wall`: pictures a second of all together; `cpu`: pictures a second of processor time.
    """
    options = ["--library", library, "--model", model, "--threads", threads, "--seconds", seconds]
    options += ["--batch", batch] if batch else []
    command = [sys.executable, "-m", "benchmarks.roofline.alone", stage, *map(str, options)]
    workers = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        for worker in workers:
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError(f"{stage} alone did not start: {' '.join(command)}")
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        found = [json.loads(worker.communicate()[0]) for worker in workers]
        pictures, cpu = (sum(each[key] for each in found) for key in ("pictures", "cpu"))
        return {"wall": sum(each["pictures"] / each["wall"] for each in found), "cpu": pictures / cpu}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    work, pictures = (_decode if options.stage == "decode" else _model)(options)
    work()
    print("ready", flush=True)
    sys.stdin.readline()
    done, started, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < options.seconds:
        work()
        done += pictures
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    print(json.dumps({"pictures": done, "wall": wall, "cpu": cpu}), flush=True)


def _decode(options: argparse.Namespace) -> tuple[Callable[[], object], int]:
    """Decodes and prepares one picture of the folder after another, without reading it from disk."""
    from benchmarks.drop import drop_folder
    from mmrag_pipeline.media.decode import decode_pixels
    from mmrag_pipeline.media.rules import Limits

    encoder, limits = _encoder(options), Limits()
    files = sorted(drop_folder(options.library).iterdir())[:64]
    pictures = itertools.cycle([file.read_bytes() for file in files])

    def work() -> object:
        return encoder.prepare(decode_pixels(next(pictures), limits, short_side=encoder.short_side))

    return work, 1


def _model(options: argparse.Namespace) -> tuple[Callable[[], object], int]:
    """One batch of prepared pictures through the tower, to unit vectors."""
    import torch

    encoder = _encoder(options)
    batch = options.batch or encoder.batch_size
    prepared = list(torch.randint(0, 256, (batch, 3, *encoder.load().preprocess.size), dtype=torch.uint8))
    return lambda: encoder.encode_prepared(prepared), batch


def _encoder(options: argparse.Namespace):
    from mmrag_pipeline.embedding.clip import ClipEncoder
    from mmrag_pipeline.embedding.model import ModelSpec

    return ClipEncoder(ModelSpec.parse(options.model))


if __name__ == "__main__":
    main()
