"""kill -9 while a drop is scanned and embedded by a real model: what is left is whole, little is repeated."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FILES, KILLS, ROWS_A_SHARD, DIM = 2000, 10, 250, 512
LOOKAHEAD = 2 * 2 * 8  # batches under way beyond the shard in hand: two a worker, eight pictures each
INGEST = f"""
import os, sys
from datetime import UTC, datetime
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.store import Store

media, root, tally = sys.argv[1:]

class Tallied(ClipEncoder):
    def encode_prepared(self, prepared):
        vectors = super().encode_prepared(prepared)
        with open(tally, "a") as file:
            file.write(f"{{len(prepared)}}\\n")
        return vectors

if __name__ == "__main__":
    library, drop, store, limits = MediaLibrary(media), Drop("lunar", "drop"), Store(root), Limits()
    manifests = ManifestStore(store)
    scan = scan_drop(
        library, drop, previous=manifests.find(drop.key), limits=limits, now=datetime(2026, 9, 1, tzinfo=UTC)
    )
    manifests.write(drop.key, scan.table)
    encoder = Tallied(ModelSpec.parse("demo", precision="fp32", device="cpu"), store, workers=2)
    report = embed_manifest(
        scan.table, library.folder(drop), drop=drop.key, encoder=encoder, store=EmbeddingStore(store),
        limits=limits, shard_bytes={ROWS_A_SHARD * DIM * 4},
    )
    print(report.summary.rows)
"""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media" / "lunar" / "drop"
    folder.mkdir(parents=True)
    colours = np.random.default_rng(7).integers(0, 256, (FILES, 3, 3, 3), dtype=np.uint8)
    for number, colour in enumerate(colours):
        Image.fromarray(colour).resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")
    return tmp_path / "media"


def start(tmp_path: Path, media: Path, store: str) -> subprocess.Popen:
    script = tmp_path / "ingest.py"
    script.write_text(INGEST)
    arguments = [str(media), str(tmp_path / store), str(tmp_path / f"{store}.tally")]
    return subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)


def finish(tmp_path: Path, media: Path, store: str) -> None:
    process = start(tmp_path, media, store)
    said, _ = process.communicate(timeout=600)
    assert (process.returncode, said.strip()) == (0, str(FILES))


def computed(tmp_path: Path, store: str) -> int:
    tally = tmp_path / f"{store}.tally"
    return sum(map(int, tally.read_text().split())) if tally.exists() else 0


def parquet(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("embeddings/**/*.parquet")}


@pytest.mark.slow
def test_ten_kills_and_a_clean_run(tmp_path: Path, media: Path) -> None:
    chance = random.Random(11)
    finish(tmp_path, media, "undisturbed")
    assert computed(tmp_path, "undisturbed") == FILES

    interrupted = 0
    for _ in range(KILLS):
        process = start(tmp_path, media, "killed")
        before = computed(tmp_path, "killed")
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0.1, 4))  # while it scans or loads
        else:
            while process.poll() is None and computed(tmp_path, "killed") == before:
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        interrupted += process.returncode == -signal.SIGKILL
    assert interrupted >= KILLS // 2  # else they came too late to show anything
    finish(tmp_path, media, "killed")

    repeated = computed(tmp_path, "killed") - FILES
    assert 0 < repeated <= interrupted * (ROWS_A_SHARD + LOOKAHEAD)
    assert parquet(tmp_path / "killed") == parquet(tmp_path / "undisturbed")
    assert [path for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".tmp-")] == []
