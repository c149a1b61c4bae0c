"""The peers' own virtual environment: what they need is older than what we need, so they can't share ours.

`.venv/peers` is made from peers.txt when it is first asked for; MMRAG_BENCH_PEERS names the python of one that is
there already.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "peers.txt"
VARIABLE = "MMRAG_BENCH_PEERS"
_DEFAULT = Path(__file__).parents[1] / ".venv" / "peers"
_INSTALLED = ".installed"
_SHOWN = ("clip-retrieval", "all-clip", "torch", "open-clip-torch", "pillow", "numpy")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled"}


class NoPeers(Exception):
    """Why there are no peers to measure beside, in one sentence."""


@functools.cache
def python() -> Path:
    """The peers' python; installs them on the first call.

    Raises:
        NoPeers: they can't be installed or don't run here.
    """
    given = os.environ.get(VARIABLE)
    if given:
        path = Path(given)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise NoPeers(f"{VARIABLE}={given} is no python: give the path of the peers' bin/python, or unset it.")
        return path
    path = _DEFAULT / "bin" / "python"
    if not (_DEFAULT / _INSTALLED).exists():
        _install()
    return path


def clip_retrieval() -> Path:
    """The `clip-retrieval` command.

    Raises:
        NoPeers: see `python`; or it is not installed there.
    """
    command = python().with_name("clip-retrieval")
    if not command.exists():
        raise NoPeers(
            f"there is no clip-retrieval beside {python()}: install {REQUIREMENTS} there, or unset {VARIABLE}."
        )
    return command


def versions() -> dict[str, str]:
    """Versions on the peers' side; empty when there are no peers (and then none are installed)."""
    if not os.environ.get(VARIABLE) and not (_DEFAULT / _INSTALLED).exists():
        return {}
    code = (
        "import json, platform\nfrom importlib.metadata import version\n"
        f"print(json.dumps({{n: version(n) for n in {_SHOWN}}} | {{'python': platform.python_version()}}))"
    )
    try:
        done = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=True)
    except (NoPeers, OSError, subprocess.CalledProcessError):
        return {}
    return json.loads(done.stdout)


def _install() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        raise NoPeers(
            f"clip-retrieval 2.45 needs Python 3.11 or 3.12, this is {sys.version_info[0]}.{sys.version_info[1]}: "
            f"install {REQUIREMENTS} with one of those and set {VARIABLE} to its python."
        )
    print(f"making {_DEFAULT} from {REQUIREMENTS.name} (some 6 GB, a few minutes)", flush=True)
    pip = [_DEFAULT / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", _DEFAULT],
        [*pip, "setuptools<81", "wheel"],
        [*pip, "--requirement", REQUIREMENTS],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = next(
                (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), done.stderr
            )
            raise NoPeers(
                f"the peers can't be installed in {_DEFAULT} ({reason.strip()[-300:]}): check that pip can reach its "
                f"registry, or set {VARIABLE} to the python of an environment that has {REQUIREMENTS.name}."
            )
    (_DEFAULT / _INSTALLED).touch()
