"""Who makes the pictures: `preview` draws offline, `gemini` and `vertex` ask Google and are billed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from mmrag_pipeline.campaigns.backends.base import ImageBackend, backend_info
from mmrag_pipeline.campaigns.backends.batches import BatchService
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.gemini_batch import GeminiBatches
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.backends.vertex import VertexBackend
from mmrag_pipeline.campaigns.prices import Prices

__all__ = ["BatchService", "ImageBackend", "batches_of", "closing", "open_backend"]


def open_backend(
    name: str,
    *,
    api_key: SecretStr | None,
    base_url: str,
    timeout_s: float,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    project: str | None = None,
    location: str = "global",
) -> ImageBackend:
    """The backend of that name; what it does not need is ignored.

    Raises:
        UserError: the name is unknown, or a key, address, project or location can't be one.
    """
    match backend_info(name).name:
        case "preview":
            return PreviewBackend()
        case "vertex":
            where = {"project": project or "", "location": location}
            return VertexBackend(**where, api_key=api_key or "", timeout_s=timeout_s, prices=prices)
        case _:
            return GeminiBackend(api_key=api_key or "", base_url=base_url, timeout_s=timeout_s, prices=prices)


@contextmanager
def closing(backend: ImageBackend) -> Iterator[ImageBackend]:
    """The backend for as long as it is needed; its connections, where it has any, are closed then."""
    try:
        yield backend
    finally:
        if isinstance(backend, GeminiBackend):
            backend.close()


def batches_of(backend: ImageBackend) -> BatchService | None:
    """The backend's batches, if it has them."""
    return GeminiBatches(backend) if backend.info.batches and isinstance(backend, GeminiBackend) else None
