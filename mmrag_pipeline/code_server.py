"""`dagster code-server start` that lets its runs end when it is asked to stop, with the same options.

    python -m mmrag_pipeline.code_server --module-name=mmrag_pipeline.definitions --host=0.0.0.0 --port=4000

Dagster's own waits thirty seconds for them (dagster 1.13.27, `GrpcServerProcess.wait`) and ends; where it is the first
process of a container, every run ends with it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from mmrag_pipeline.processes import is_run_worker, run_workers

LOOK_S = 0.5


def serve(options: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT, then until the last run has ended; returns the exit status."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask)
    server = subprocess.Popen([sys.executable, "-m", "dagster", "code-server", "start", *options])
    while not asked:
        if server.poll() is not None:
            return server.returncode
        time.sleep(LOOK_S)
    runs = run_workers(server.pid)  # when it has ended they are no longer its children
    print(f"asked to stop: {len(runs)} runs are waited for", file=sys.stderr, flush=True)
    server.terminate()  # it takes no further run
    while server.poll() is None:
        runs |= run_workers(server.pid)
        time.sleep(LOOK_S)
    while any(map(is_run_worker, runs)):
        time.sleep(LOOK_S)
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
