"""No bar: seconds and bytes from `git clone` to the first answer, with pip's cache off.

Ours is `make demo` and `mmrag search` in a fresh clone of this checkout's commit: a virtual environment, the pinned
packages, the packaged library ingested, indexed and pictured. Beside it, what the Milvus tutorial for image search has
its reader install; its reader then fetches a model (some 600 MB), pictures and writes the loop, which is not in the
figure. Bytes are those that pip says it downloads; a model is not among ours, it is in the clone.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.options import Options
from benchmarks.processes import ROOT
from benchmarks.processes import run as run_process
from benchmarks.report import Result

QUERY = "a golden watch"
TUTORIAL = ("torch", "torchvision", "open-clip-torch", "pymilvus[milvus_lite]", "pillow")
OURS, THEIRS = "ours: make demo, mmrag search", "a tutorial's packages"
_UNITS = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
_DOWNLOADING = re.compile(r"Downloading \S+ \(([\d.]+) (bytes|kB|MB|GB)\)")
_ROUNDS = 1


def run(options: Options) -> Result:
    """Measure both; `quick` only clones, and asks pip what it would install."""
    result = Result("first_run", "a clone in an empty folder to the first answer")
    ours, theirs = [], []
    for _ in range(options.rounds(_ROUNDS)):
        ours.append(_ours(options))
        theirs.append(_tutorial(options))
    for unit, at in (("s", 0), ("MB downloaded by pip", 1)):
        sides = {OURS: [each[at] for each in ours], THEIRS: [each[at] for each in theirs]}
        result.add("first run", unit, sides)
    result.notes["clone"] = f"{ours[-1][2]:.1f} MB, the library, the model and the history in it"
    result.notes["network"] = "a package mirror near this machine: over the internet both sides take longer"
    return result


def _ours(options: Options) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory(dir=options.data) as root:
        clone, log = Path(root) / "clone", Path(root) / "pip.log"
        environment = {"PIP_NO_CACHE_DIR": "1", "PIP_LOG": str(log), "MMRAG_STORE": f"{root}/store"}
        started = time.perf_counter()
        run_process(["git", "clone", "--quiet", "--no-local", ROOT, clone])
        size = sum(path.stat().st_size for path in clone.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
        if options.quick:
            return time.perf_counter() - started, 0.0, size
        run_process(["make", "-C", clone, "demo", f"PYTHON={sys.executable}"], env=environment)
        run_process([clone / ".venv" / "bin" / "mmrag", "search", QUERY], env=environment)
        return time.perf_counter() - started, _downloaded(log), size


def _tutorial(options: Options) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=options.data) as root:
        venv, log = Path(root) / "venv", Path(root) / "pip.log"
        started = time.perf_counter()
        run_process([sys.executable, "-m", "venv", venv])
        packages = TUTORIAL[-1:] if options.quick else TUTORIAL
        environment = {"PIP_NO_CACHE_DIR": "1", "PIP_LOG": str(log)}
        run_process([venv / "bin" / "pip", "install", "--quiet", *packages], env=environment)
        return time.perf_counter() - started, _downloaded(log)


def _downloaded(log: Path) -> float:
    """MB, as pip's log says."""
    return sum(float(size) * _UNITS[unit] for size, unit in _DOWNLOADING.findall(log.read_text()))
