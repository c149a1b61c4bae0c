"""What every image backend takes, gives and raises. No backend's own wire or drawing belongs here.

A backend makes one call for one request and never retries: waiting and asking again is retry.py's work,
paying and keeping is maker.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mmrag_pipeline.errors import UserError


@dataclass(frozen=True)
class BackendInfo:
    """`version` is part of every idempotency key: raise it when the same request would give another
    picture.
    """

    name: str
    version: str
    paid: bool
    batches: bool = False


BACKENDS: Mapping[str, BackendInfo] = {
    "preview": BackendInfo("preview", version="1", paid=False),
    "gemini": BackendInfo("gemini", version="1", paid=True, batches=True),
    "vertex": BackendInfo("vertex", version="1", paid=True),
}


def backend_info(name: str) -> BackendInfo:
    """Raises UserError naming the backends there are."""
    if name not in BACKENDS:
        raise UserError(f"image backend {name!r} is not known: set MMRAG_IMAGE_BACKEND to {' or '.join(BACKENDS)}.")
    return BACKENDS[name]


@dataclass(frozen=True)
class ReferencePicture:
    """One reference exactly as it is sent: `data` hashes to `sha256`."""

    data: bytes = field(repr=False)
    mime: str
    sha256: str
    label: str
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """What the campaign says of the picture besides its prompt: drawn by preview, never sent."""

    title: str
    message: str
    product: str
    scene: str
    placement: str
    locale: str
    number: str
    excerpt: str
    cost: str
    palette: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class GenerationRequest:
    """One picture to make. `pixels` is the final width and height, `image_size` the model's own size
    class.
    """

    key: str
    model: str
    prompt: str
    system_instruction: str
    references: tuple[ReferencePicture, ...]
    aspect_ratio: str
    image_size: str
    pixels: tuple[int, int]
    seed: int
    temperature: float
    card: Card


@dataclass(frozen=True)
class Usage:
    """What the answer says it used, and its price in US dollars where that can be told, by `price_table`."""

    tokens: Mapping[str, int]
    usd: float | None
    price_table: str = ""


@dataclass(frozen=True)
class Answer:
    """Where an answer came from, for the sidecar."""

    model_version: str | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    text: str | None = None
    retires: str | None = None


@dataclass(frozen=True)
class Ok:
    """A picture. `images_returned` counts the candidates; the last that isn't a thought is `picture`."""

    picture: bytes = field(repr=False)
    format: Literal["png", "jpeg", "webp"]
    width: int
    height: int
    images_returned: int = 1
    usage: Usage | None = None
    answer: Answer = Answer()


@dataclass(frozen=True)
class NoImage:
    """An answer without a picture. `blocked` is never asked for again; `empty` may go better another time; `disabled`
    is about the account: nothing is answered before Google lifts it.
    """

    kind: Literal["blocked", "empty", "disabled"]
    reason: str
    usage: Usage | None = None
    answer: Answer = Answer()


GenerationResult = Ok | NoImage


class BackendError(Exception):
    """A call without an answer; the text is one sentence without a secret."""


class Throttled(BackendError):
    """Not billed, may go better after `retry_after_s` seconds (None: the backend did not say)."""

    def __init__(self, message: str, *, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unreachable(Throttled):
    """Nothing was sent: the backend could not be connected to."""


class Exhausted(BackendError):
    """Not billed, and no picture will be made before the quota or the spend limit is lifted: stop the run."""


class Ambiguous(BackendError):
    """Nobody can say whether it was billed: counts as spent, is not sent again."""


class Rejected(BackendError):
    """Not billed: this very request is refused, others may go through."""


class ImageBackend(Protocol):
    info: BackendInfo

    def generate(self, request: GenerationRequest) -> GenerationResult:
        """Make one picture with one call.

        Raises:
            Throttled, Exhausted, Ambiguous, Rejected: no answer; each says what may follow.
            UserError: no request can go through (key, model); names the setting.
        """
        ...
