"""Play the story; one line an act, a table at the end, exit code 1 when an act failed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmrag_pipeline_tests.e2e.acts import LAST, STORY
from mmrag_pipeline_tests.e2e.faults import FAULTS
from mmrag_pipeline_tests.e2e.screenshots import take_screenshots
from mmrag_pipeline_tests.e2e.stage import Act, Played, play, set_stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mmrag_pipeline_tests.e2e")
    parser.add_argument("--keep", type=Path, help="an empty folder to play in, which is kept; default: a temporary one")
    parser.add_argument("--only", action="append", default=[], help="play acts whose name holds this (repeatable)")
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures of the UI as it is at the end")
    options = parser.parse_args()
    console = Console()
    acts = {
        name: act
        for name, act in (STORY | FAULTS | LAST).items()
        if not options.only or any(word in name for word in options.only)
    }
    if options.screenshots:
        acts["screenshots"] = Act(lambda stage: take_screenshots(stage, options.screenshots))
    played: list[Played] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, set_stage(options.keep or Path(temporary)) as stage:
        console.print(f"the UI is at {stage.dagster.address}, everything else in {stage.root}", highlight=False)
        for name, act in acts.items():
            played.append(play(name, act, stage))
            line = played[-1]
            console.print(f"{line.result:6} {line.seconds:5.0f} s  {name}: {line.told}", highlight=False)
    table = Table("act", "seconds", "messages", "result", title=f"{len(played)} acts")
    table.caption = f"{time.monotonic() - started:.0f} s with start and end"
    for line in played:
        shown = line.result if line.result != "failed" else "[red]failed[/]"
        table.add_row(line.act, f"{line.seconds:.0f}", str(line.messages), shown)
    console.print(table)
    return int(any(line.result == "failed" for line in played))


if __name__ == "__main__":
    sys.exit(main())
