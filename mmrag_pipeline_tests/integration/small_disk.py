"""A disk that is soon full: a tmpfs, where the machine lets us mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PAGE = 4096


class NoMount(RuntimeError):
    """This machine or user mounts nothing; says why."""


@dataclass(frozen=True)
class SmallDisk:
    """A mounted disk. `fill` leaves so many bytes free, `make_room` takes that back."""

    folder: Path

    def fill(self, *, leave: int = 0) -> None:
        with open(self._ballast, "ab") as file:
            free = os.statvfs(self.folder).f_bavail * _PAGE
            file.write(bytes(max(0, free - leave) // _PAGE * _PAGE))

    def make_room(self) -> None:
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / ".ballast"


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mount an empty one of that size on `folder`; it is gone on the way out.

    Raises:
        NoMount: not here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        size = f"size={megabytes}m"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise NoMount(f"no tmpfs can be mounted: {error}") from error
    except subprocess.CalledProcessError as error:
        raise NoMount(f"no tmpfs can be mounted: {error.stderr.strip()}") from error
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # lazy: a killed process may still have a file open
