"""One night as a fresh process: the job `nightly_reindex`, through Dagster, on the settings of the environment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    with DagsterRuns(load_settings()) as runs:
        outcome = runs.run("nightly_reindex")
    staged, live = outcome.metadata["staged_media_index"], outcome.metadata["media_index"]
    options.report.write_text(
        json.dumps(
            {
                "seconds": outcome.seconds,
                "mode": staged["mode"],
                "upserted": staged["upserted"],
                "deleted": staged["deleted"],
                "rows": live["rows"],
            }
        )
    )


if __name__ == "__main__":
    main()
