"""The peers' own virtual environments: what they need is older than what we need, and than what the other one needs.

`.venv/peers` (clip-retrieval) and `.venv/peers-daft` are made from peers.txt and peers-daft.txt when a measurement
first asks for them. A quick run installs nothing. A variable names the python of an environment that is there already.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled", "DO_NOT_TRACK": "1"}
_INSTALLED = ".installed"


class NoPeers(Exception):
    """Why there is no such peer to measure beside, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """One environment."""

    what: str
    requirements: Path
    variable: str
    folder: Path
    shown: tuple[str, ...]
    """Packages whose versions go into the results."""
    latest: tuple[int, int]
    """The last Python that it runs on; 3.11 is the first."""

    @functools.cache  # noqa: B019 (there are two, for as long as the process lives)
    def python(self, *, install: bool) -> Path:
        """Its python; installs it first where that is allowed and was not done yet.

        Raises:
            NoPeers: it is not there, can't be installed or does not run here.
        """
        given = os.environ.get(self.variable)
        if given:
            path = Path(given)
            if not os.access(path, os.X_OK) or path.is_dir():
                raise NoPeers(
                    f"{self.variable}={given} is no python: give the path of a bin/python that has "
                    f"{self.requirements.name} installed, or unset it"
                )
            return path
        if not (self.folder / _INSTALLED).exists():
            if not install:
                raise NoPeers(f"not installed in {self.folder.name}; a run without --quick does that")
            self._install()
        return self.folder / "bin" / "python"

    def versions(self) -> dict[str, str]:
        """Versions of `shown` and its python; empty where it is not installed."""
        code = (
            "import json, platform\nfrom importlib.metadata import version\n"
            f"print(json.dumps({{n: version(n) for n in {self.shown}}} | {{'python': platform.python_version()}}))"
        )
        try:
            python = self.python(install=False)
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        except (NoPeers, OSError, subprocess.CalledProcessError):
            return {}
        return json.loads(done.stdout)

    def _install(self) -> None:
        if not (3, 11) <= sys.version_info[:2] <= self.latest:
            raise NoPeers(
                f"{self.what} needs Python 3.11 to {self.latest[0]}.{self.latest[1]}, this is "
                f"{sys.version_info[0]}.{sys.version_info[1]}: install {self.requirements.name} with one of those and "
                f"set {self.variable} to its python"
            )
        print(f"making {self.folder} from {self.requirements.name} (some 6 GB, a few minutes)", flush=True)
        pip = [self.folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", self.folder],
            [*pip, "setuptools<81", "wheel"],
            [*pip, "--requirement", self.requirements],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = next(
                    (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), done.stderr
                )
                raise NoPeers(
                    f"it can't be installed in {self.folder} ({reason.strip()[-300:]}): check that pip can reach its "
                    f"registry, or set {self.variable} to the python of an environment that has "
                    f"{self.requirements.name}"
                )
        (self.folder / _INSTALLED).touch()


_HERE = Path(__file__).parent
CLIP_RETRIEVAL = Peers(
    what="clip-retrieval 2.45",
    requirements=_HERE / "peers.txt",
    variable="MMRAG_BENCH_PEERS",
    folder=_HERE.parent / ".venv" / "peers",
    shown=("clip-retrieval", "all-clip", "torch", "open-clip-torch", "pillow", "numpy"),
    latest=(3, 12),
)
DAFT = Peers(
    what="Daft 0.7",
    requirements=_HERE / "peers-daft.txt",
    variable="MMRAG_BENCH_DAFT",
    folder=_HERE.parent / ".venv" / "peers-daft",
    shown=("daft", "torch", "open-clip-torch", "pillow", "numpy", "pyarrow"),
    latest=(3, 13),
)


def clip_retrieval(*, install: bool) -> Path:
    """The `clip-retrieval` command.

    Raises:
        NoPeers: see `Peers.python`; or it is not installed there.
    """
    python = CLIP_RETRIEVAL.python(install=install)
    command = python.with_name("clip-retrieval")
    if not command.exists():
        raise NoPeers(
            f"there is no clip-retrieval beside {python}: install {CLIP_RETRIEVAL.requirements.name} there, "
            f"or unset {CLIP_RETRIEVAL.variable}"
        )
    return command


def versions() -> dict[str, str]:
    """Versions on the peers' sides; a peer that is not installed is not in it (and is not installed for it)."""
    return CLIP_RETRIEVAL.versions() | {f"{name} (Daft)": version for name, version in DAFT.versions().items()}
