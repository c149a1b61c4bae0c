"""Whose prices hold: an own file's, else Google's list as bundled in genai-prices, else the registry's.

Three amounts hang on them. The estimate of a plan is what an ordinary answer stays below (`ImageModel.price`); the
ceiling is what one request can't pass (`ImageModel.ceiling`), and is reserved before it is sent; the bill is what the
usage in an answer came to, and is settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from upath import UPath

from mmrag_pipeline.campaigns.mistakes import sentences
from mmrag_pipeline.campaigns.registry import ImageModel, image_model
from mmrag_pipeline.campaigns.strict_yaml import YamlMistake, read_yaml
from mmrag_pipeline.errors import UserError

SETTING = "MMRAG_PRICES"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TokenPrices(_Part):
    """US dollars for a million tokens: `input`, `output` (words and thinking) and `image` (pictures answered)."""

    input: float = Field(gt=0)
    output: float = Field(gt=0)
    image: float = Field(gt=0)


class PriceFile(_Part):
    """What an own price file holds; `version` is what sidecars call it."""

    version: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    usd_per_million_tokens: dict[str, TokenPrices] = Field(min_length=1)


@dataclass(frozen=True)
class Bill:
    """What an answer cost, in US dollars, and by whose prices."""

    usd: float
    table: str


@dataclass(frozen=True)
class Prices:
    """The prices in force. `own` by model id, `version` that of the own file."""

    own: Mapping[str, TokenPrices] = field(default_factory=dict)
    version: str = ""

    def of(self, model: ImageModel) -> ImageModel:
        """The model with the prices in force, its estimates moved along with them."""
        rates, table = self._rates(model)
        was = model.usd_per_mtok
        dearer = {name: rates[name] / was[name] for name in was}
        return replace(
            model,
            usd_per_image={size: usd * dearer["image"] for size, usd in model.usd_per_image.items()},
            usd_per_reference=model.usd_per_reference * dearer["input"],
            usd_overhead=model.usd_overhead * max(dearer["input"], dearer["output"]),
            usd_per_mtok=rates,
            price_table=table,
        )

    def bill(self, usage: Mapping[str, Any], model: str, *, pictures: int) -> Bill | None:
        """What a usage as Gemini writes it comes to; None where it can't be priced, and the reservation has to stand.

        `pictures` were answered: where the usage doesn't say which tokens they were, all that were answered are.
        """
        from genai_prices import extract_usage
        from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice

        if not usage.get("totalTokenCount"):
            return None
        try:
            priced = self.of(image_model(model))
        except UserError:
            return None
        rates = {name: Decimal(str(usd)) for name, usd in priced.usd_per_mtok.items()}
        prices = ModelPrice(input_mtok=rates["input"], output_mtok=rates["output"], output_image_mtok=rates["image"])
        info = ModelInfo(id=model, match=ClauseEquals(equals=model), prices=prices)
        try:
            found = extract_usage({"usageMetadata": _attributed(usage, pictures)}, provider_id="google")
            return Bill(float(found.calc_price(model=info).total_price), priced.price_table)
        except (LookupError, ValueError):
            return None

    def _rates(self, model: ImageModel) -> tuple[Mapping[str, float], str]:
        if model.id in self.own:
            return self.own[model.id].model_dump(), f"{SETTING} {self.version}"
        if listed := _listed(model.id):
            return listed
        return model.usd_per_mtok, model.price_table


def load_prices(path: str | None) -> Prices:
    """The prices in force, with those of an own file in front where there is one.

    Raises:
        UserError: the first mistake in the file, in one sentence.
    """
    if not path:
        return Prices()
    file = UPath(path)
    try:
        raw = read_yaml(file.read_text("utf-8"))
        own = PriceFile.model_validate(raw)
    except OSError as error:
        raise UserError(f"{SETTING}={path} can't be read ({error.strerror or error}): check the path.") from None
    except (YamlMistake, UnicodeDecodeError) as error:
        raise UserError(f"{SETTING}={path} is not readable as YAML: {error}; correct it there.") from None
    except ValidationError as error:
        raise UserError(f"{SETTING}: {sentences(error, PriceFile, file.name)[0]}") from None
    for model in own.usd_per_million_tokens:
        try:
            image_model(model)
        except UserError as error:
            raise UserError(f"{SETTING}: {file.name}: usd_per_million_tokens: {error}") from None
    return Prices(own.usd_per_million_tokens, own.version)


def _listed(model: str) -> tuple[Mapping[str, float], str] | None:
    """Rates of Google's list, the highest of a kind where there are tiers; None where it lacks the picture's."""
    from genai_prices import Usage, __version__, calc_price

    try:
        price = calc_price(Usage(input_tokens=1), model, provider_id="google").model_price
    except LookupError:
        return None
    names = {"input": "input_mtok", "output": "output_mtok", "image": "output_image_mtok"}
    found = {name: _highest(getattr(price, unit, None)) for name, unit in names.items()}
    if not all(found.values()):
        return None
    return found, f"genai-prices {__version__}"


def text_ceiling(model: str, *, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens of a text model cost at most, in US dollars.

    Raises:
        UserError: Google's list has no price of the model.
    """
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(input_tokens=1), model, provider_id="google").model_price
    except LookupError:
        raise UserError(
            f"MMRAG_GEMINI_JUDGE={model}: nobody knows what it costs, so it is not asked: name a text model that "
            f"genai-prices knows, for example gemini-2.5-flash."
        ) from None
    return (input_tokens * _highest(price.input_mtok) + output_tokens * _highest(price.output_mtok)) / 1e6


def text_bill(usage: Mapping[str, Any], model: str) -> float | None:
    """What a text model's usage comes to, in US dollars; None where it can't be priced."""
    from genai_prices import extract_usage

    if not usage.get("totalTokenCount"):
        return None
    try:
        found = extract_usage({"usageMetadata": usage, "modelVersion": model}, provider_id="google")
        return float(found.calc_price().total_price)
    except (LookupError, ValueError):
        return None


def _highest(price: Any) -> float:
    tiers = [tier.price for tier in getattr(price, "tiers", ())]
    return float(max([getattr(price, "base", price) or 0, *tiers]))


def _attributed(usage: Mapping[str, Any], pictures: int) -> Mapping[str, Any]:
    details = usage.get("candidatesTokensDetails") or []
    if not pictures or any(detail.get("modality") == "IMAGE" for detail in details):
        return usage
    answered = usage.get("candidatesTokenCount") or 0
    return {**usage, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": answered}]}
