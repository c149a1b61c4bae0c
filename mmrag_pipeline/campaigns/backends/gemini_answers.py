"""A Gemini answer of HTTP 200 -> a picture, or why there is none. Nothing here raises for what the model
did.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from mmrag_pipeline.campaigns.backends.base import Answer, GenerationResult, NoImage, Ok, Usage
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.registry import image_model

if TYPE_CHECKING:
    from google.genai import types

logger = logging.getLogger(__name__)

# May go better another time; every other reason, the ones still unknown too, is never sent again.
SOFT = frozenset(
    {"STOP", "NO_IMAGE", "IMAGE_OTHER", "OTHER", "MALFORMED_RESPONSE", "MAX_TOKENS", "CONTINUATION",
     "FINISH_REASON_UNSPECIFIED", "MALFORMED_FUNCTION_CALL", ""}
)  # fmt: skip
ACCOUNT = "PUP_LIMITED_DISABLED"  # the account is limited: neither the picture's fault nor to be helped by another one
FORMATS = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}
MAX_PIXELS = 100_000_000


def read_answer(
    response: types.GenerateContentResponse,
    *,
    model: str,
    finish_message: str | None = None,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    in_batch: bool = False,
) -> GenerationResult:
    """The last picture that is not a thought; without one, the reason in the model's own words.

    `in_batch`: the answer is a line of a batch, and priced as such.
    """
    candidate = response.candidates[0] if response.candidates else None
    parts = (candidate.content.parts if candidate and candidate.content else None) or []
    said = " ".join(part.text for part in parts if part.text and not part.thought).strip()
    finish = _name(candidate.finish_reason) if candidate else ""
    retires = getattr(response.model_status, "retirement_time", None) if response.model_status else None
    answer = Answer(
        model_version=response.model_version,
        response_id=response.response_id,
        finish_reason=finish or None,
        text=(finish_message or said or "")[:500] or None,
        retires=str(retires) if retires else None,
    )
    pictures = [
        part.inline_data.data for part in parts if part.inline_data and part.inline_data.data and not part.thought
    ]
    usage = _usage(response, model, prices, pictures=len(pictures), in_batch=in_batch)
    if pictures:
        opened = _open(pictures[-1])
        if opened:
            return Ok(pictures[-1], *opened, images_returned=len(pictures), usage=usage, answer=answer)
        return NoImage("empty", "the answer holds data that is not a picture", usage, answer)
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        return NoImage("blocked", f"the prompt was blocked: {_name(feedback.block_reason)}", usage, answer)
    words = f": {answer.text}" if answer.text else ""
    if finish == ACCOUNT:
        why = "Google has limited or disabled this account for its prohibited use policy"
        return NoImage("disabled", f"{why} ({finish}{words}): ask Google to lift it, or use another", usage, answer)
    if finish not in SOFT:
        return NoImage("blocked", f"the picture was refused: {finish}{words}", usage, answer)
    return NoImage("empty", f"the answer holds no picture ({finish or 'no candidate'}){words}", usage, answer)


def _name(enum: Any) -> str:
    return str(getattr(enum, "value", enum) or "")


def _open(data: bytes) -> tuple[Any, int, int] | None:
    """Format and size by decoding: the answer's own mime type is often wrong."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format not in FORMATS or image.width * image.height > MAX_PIXELS:
                return None
            found = FORMATS[image.format], image.width, image.height
            image.load()
            return found
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        logger.warning("a Gemini answer could not be decoded: %s", error)
        return None


def _usage(
    response: types.GenerateContentResponse, model: str, prices: Prices, *, pictures: int, in_batch: bool
) -> Usage | None:
    """Tokens by kind, and their price; one that is not known is None."""
    meta = response.usage_metadata
    if meta is None:
        return None
    raw = meta.model_dump(mode="json", by_alias=True, exclude_none=True)
    tokens = {name: count for name, count in raw.items() if isinstance(count, int)}
    for side in ("promptTokensDetails", "candidatesTokensDetails"):
        for detail in raw.get(side) or []:
            tokens[f"{side}.{detail.get('modality')}"] = detail.get("tokenCount") or 0
    bill = prices.bill(raw, model, pictures=pictures)
    if bill is None:
        logger.warning("no price for the usage of %s: what was reserved counts as spent", model)
        return Usage(tokens, None)
    return Usage(tokens, bill.usd * (image_model(model).batch_factor if in_batch else 1), bill.table)
