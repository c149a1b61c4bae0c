"""What a service that makes pictures in batches takes, gives and raises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mmrag_pipeline.campaigns.backends.base import GenerationRequest, GenerationResult
from mmrag_pipeline.errors import UserError


@dataclass(frozen=True)
class BatchJob:
    """How a job stands. `done`: it gives no more than `results` has, None where there is nothing to read."""

    name: str
    state: str
    done: bool
    results: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Failed:
    """A request of a job that got no answer. `may_be_billed`: nobody can say whether it was."""

    reason: str
    may_be_billed: bool


class Denied(UserError):
    """A job or a file is not for this key, or not there any more: services say the same of both."""


class BatchService(Protocol):
    """Every method asks once and raises `Unavailable` where asking again may help, `UserError` where it won't; `Denied`
    where it may be gone.

    `submit` alone costs money. After `Unavailable` from it the job may exist: `find` says so.
    """

    def line(self, request: GenerationRequest) -> bytes:
        """A request as it stands in a batch."""
        ...

    def find(self, name: str) -> str | None:
        """The job that was submitted under a name of ours, or None."""
        ...

    def submit(self, name: str, *, model: str, lines: Iterable[bytes]) -> str:
        """Order a batch; returns the job's own name."""
        ...

    def look(self, job: str) -> BatchJob: ...

    def cancel(self, job: str) -> None: ...

    def answers(self, results: str, *, model: str) -> Iterator[tuple[str, GenerationResult | Failed]]:
        """Each answered request by its key, in no order; what is missing was not answered. None where the results are
        gone.
        """
        ...
