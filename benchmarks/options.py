"""What a workload is run with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """`quick` asks whether everything runs and both sides agree; its figures are held against no bar."""

    quick: bool
    data: Path
    """Where pictures and weights are made, and looked for first."""
    repeats: int | None = None

    def rounds(self, usual: int = 5) -> int:
        """How often each side is measured."""
        return self.repeats or (1 if self.quick else usual)
