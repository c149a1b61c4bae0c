"""Which processes of this machine run."""

from __future__ import annotations

import os
from pathlib import Path

_CLOCK_S = 2.0
"""The time of boot, and so of a process's beginning, is told in whole seconds."""


def still_runs(pid: int, *, seen_at: float, command: str) -> bool:
    """Whether the process that had this number at a time (seconds since the epoch) still runs.

    Numbers are given again, soon in a container that was restarted. So one that began later counts as another, unless
    its command line holds `command`: a clock that was set must not make a process that lives look like another.
    Without /proc any process of the number counts.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    if not Path("/proc/stat").exists():
        return True
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        line = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it went just now
        return False
    state, *fields = rest.split()
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    began = float(boot.split()[1]) + int(fields[18]) / os.sysconf("SC_CLK_TCK")
    return state != "Z" and (began <= seen_at + _CLOCK_S or command in line)
