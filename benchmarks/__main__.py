"""`python -m benchmarks [--quick] [WORKLOAD ...]`: run the workloads, print one table, keep the raw numbers as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import Result

WORKLOADS = ("embed_folder",)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=WORKLOADS, metavar="WORKLOAD")
    parser.add_argument("--quick", action="store_true", help="few repeats: does it run, do both sides agree")
    options = parser.parse_args()
    processor = platform.processor() or platform.machine()
    machine = f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"machine: {machine}")
    for name in options.workloads:
        result: Result = importlib.import_module(f"benchmarks.{name}.run").run(quick=options.quick)
        print(result.table())
        if not options.quick:
            RESULTS.mkdir(exist_ok=True)
            record = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine,
                **result.to_json(),
            }
            (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
