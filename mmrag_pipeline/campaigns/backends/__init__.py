"""Who makes the pictures: `preview` draws offline, `gemini` asks Google and is billed."""

from __future__ import annotations

from pydantic import SecretStr

from mmrag_pipeline.campaigns.backends.base import ImageBackend, backend_info
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.prices import Prices

__all__ = ["ImageBackend", "open_backend"]


def open_backend(
    name: str,
    *,
    api_key: SecretStr | None,
    base_url: str,
    timeout_s: float,
    prices: Prices = Prices(),  # noqa: B008 - frozen
) -> ImageBackend:
    """The backend of that name; what only gemini needs is ignored by preview.

    Raises:
        UserError: the name is unknown, or gemini's key or address can't be one.
    """
    if backend_info(name).name == "preview":
        return PreviewBackend()
    return GeminiBackend(api_key=api_key or "", base_url=base_url, timeout_s=timeout_s, prices=prices)
