"""`python -m benchmarks [WORKLOAD ...]`: run the workloads, keep every repeat as JSON, write the tables from it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, readme_table, tables
from benchmarks.options import Options

WORKLOADS = (
    "image_path", "embed_folder", "roofline", "nightly", "memory",
    "index_load", "index_search", "index_reconcile", "drop_sensor", "library_night", "orchestration", "campaigns",
    "first_run", "gpu",
)  # fmt: skip
DATA = "MMRAG_BENCH_DATA"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="does it run, do both sides agree; writes no result")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of each side; default: as the workload says")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the JSON goes; default: results/")
    parser.add_argument("--tables", action="store_true", help="only write RESULTS.md and the README's table again")
    options = parser.parse_args()
    unknown = sorted(set(options.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"there is no workload {', '.join(unknown)}: choose from {', '.join(WORKLOADS)}")
    failed: list[str] = []
    if not options.tables:
        results = options.results or (None if options.quick else tables.RESULTS)
        with _data() as data:
            given = Options(quick=options.quick, repeats=options.repeats, data=data)
            failed = [name for name in options.workloads or WORKLOADS if not _ran(name, given, results)]
    if options.tables or not (options.quick or options.results):
        tables.write_page()
        readme_table.write_table()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _ran(name: str, options: Options, results: Path | None) -> bool:
    """Run one workload; its failure is shown and does not cost the results of the hours after it."""
    try:
        _run(name, options, results)
    except Exception:
        traceback.print_exc()
        return False
    return True


def _run(name: str, options: Options, results: Path | None) -> None:
    started, before = datetime.now(UTC), machine.load()
    result = importlib.import_module(f"benchmarks.{name}.run").run(options)
    print(result.text(), flush=True)
    if results is None:
        return
    record = {
        "at": started.isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine.describe(),
        "load_before": before,
        "load_after": machine.load(),
        **result.to_json(),
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def _data() -> Iterator[Path]:
    """$MMRAG_BENCH_DATA, which stays; else a temporary folder."""
    given = os.environ.get(DATA)
    if given:
        folder = Path(given).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mmrag-bench-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
