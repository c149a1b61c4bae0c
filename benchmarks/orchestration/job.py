"""One side as a process of its own; settings come from the environment. It prints the rows that are live at its end."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from mmrag_pipeline import wiring
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_status
from mmrag_pipeline.settings import Settings, load_settings

BARE, RUNS, BACKFILL, PROCESSES = "bare", "runs", "backfill", "processes"


def bare(settings: Settings) -> None:
    """Scan, embed and sync every drop, one after the other."""
    from mmrag_pipeline.embed import embed_drops
    from mmrag_pipeline.embedding.store import EmbeddingStore
    from mmrag_pipeline.index.sync import sync_drop
    from mmrag_pipeline.media.manifest_store import ManifestStore
    from mmrag_pipeline.store import Store

    done = embed_drops(settings).done
    store = Store(settings.store)
    encoder = wiring.encoder(settings, store)
    with connect(wiring.milvus(settings)) as milvus:
        for drop in (each.drop for each in done):
            sync_drop(
                milvus,
                drop=drop,
                manifest=ManifestStore(store).read(drop.key),
                vectors=EmbeddingStore(store).batches(encoder.fingerprint, drop.key),
                fingerprint=encoder.fingerprint,
                dim=encoder.dim,
                now=datetime.now(UTC),
            )


def runs(settings: Settings, *, processes: bool) -> None:
    """Ticks of the sensor until it finds nothing more, and a run a drop; `processes`: each in a fresh one."""
    from mmrag_pipeline.dagster_runs import DagsterRuns

    with DagsterRuns(settings) as dagster:
        while found := dagster.sense_drops():  # a tick asks for 25 at most
            for key in found:
                if processes:
                    subprocess.run([sys.executable, "-m", __spec__.name, "--drop", key], check=True)
                else:
                    dagster.run("ingest_drop", key)


def one_run(settings: Settings, drop: str) -> None:
    from mmrag_pipeline.dagster_runs import DagsterRuns

    with DagsterRuns(settings) as dagster:
        dagster.run("ingest_drop", drop)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=(BARE, RUNS, BACKFILL, PROCESSES))
    parser.add_argument("--drop", help="one run of ingest_drop, no report")
    parser.add_argument("--report", type=Path)
    options, settings = parser.parse_args(), load_settings()
    if options.drop:
        one_run(settings, options.drop)
        return
    if options.side == BARE:
        bare(settings)
    elif options.side == BACKFILL:
        from mmrag_pipeline.backfill import backfill

        backfill(settings, "*")
    else:
        runs(settings, processes=options.side == PROCESSES)
    with connect(wiring.milvus(settings)) as milvus:
        options.report.write_text(json.dumps({"rows": live_status(milvus).rows}))


if __name__ == "__main__":
    main()
