"""The image tower by itself on a GPU: as our engine calls it, and every way to run it that might be faster.

One process; each way runs for a while on inputs that lie ready. Ours begins with uint8 pictures in the machine's
memory, as the engine's threads hand them over; the others begin with normalised tensors on the device.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.report import taking_turns

BATCHES = (128, 256, 512, 1024)
OURS = "ours, as the engine calls it"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()

    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch._dynamo.config.recompile_limit = 8 * len(BATCHES)  # past it, it would quietly stop compiling
    encoder = _encoder(options.model)
    loaded = encoder.load()
    failed: dict[str, str] = {}
    ways: dict[str, Callable[[], float]] = {OURS: lambda: _ours(encoder, options.seconds)}
    with torch.inference_mode():
        for name, forward, dtype in _towers(loaded.model):
            for batch in BATCHES:
                pixels = torch.randn(batch, 3, *loaded.preprocess.size, device=loaded.device, dtype=dtype)
                pixels = pixels.contiguous(memory_format=torch.channels_last)
                try:
                    for _ in range(3):
                        forward(pixels)
                except Exception as error:  # a compiler that is not there is a result, not a failure
                    failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
                    break
                ways[f"{name}, batch {batch}"] = lambda f=forward, p=pixels: _rate(f, p, options.seconds)
        rates = taking_turns(ways, options.rounds)
    options.report.write_text(json.dumps({"rates": rates, "failed": failed, "batch": encoder.batch_size}))


def _encoder(model: str) -> Any:
    from mmrag_pipeline.embedding.clip import ClipEncoder
    from mmrag_pipeline.embedding.model import ModelSpec

    return ClipEncoder(ModelSpec.parse(model))


def _towers(model: Any) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    import copy

    import torch

    fp32 = copy.deepcopy(model.visual).float()
    bf16 = copy.deepcopy(model.visual).bfloat16()
    yield "fp32 (TF32)", fp32, torch.float32
    yield "bf16", bf16, torch.bfloat16
    yield "bf16, compiled", torch.compile(bf16, dynamic=False), torch.bfloat16
    yield "bf16, compiled for most speed", torch.compile(bf16, mode="max-autotune", dynamic=False), torch.bfloat16


def _rate(forward: Callable[[Any], Any], pixels: Any, seconds: float) -> float:
    """Pictures a second."""
    import torch

    forward(pixels)
    torch.cuda.synchronize()
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            forward(pixels)
        torch.cuda.synchronize()
        calls += 10
    return calls * len(pixels) / (time.perf_counter() - started)


def _ours(encoder: Any, seconds: float) -> float:
    """Pictures a second through `encode_prepared`, in as many threads as the engine lets in at once."""
    import torch

    size = encoder.load().preprocess.size
    prepared = list(torch.randint(0, 256, (encoder.batch_size, 3, *size), dtype=torch.uint8))
    encoder.encode_prepared(prepared)
    started = time.perf_counter()

    def lane(_: int) -> int:
        encoder.start_worker()
        done = 0
        while time.perf_counter() - started < seconds:
            encoder.encode_prepared(prepared)
            done += len(prepared)
        return done

    with ThreadPoolExecutor(encoder.lanes) as pool:
        done = sum(pool.map(lane, range(encoder.lanes)))
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
