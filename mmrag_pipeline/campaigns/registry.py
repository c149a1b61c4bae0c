"""What image models accept and cost, read from registry.yaml: asked before anything is sent.

Knows no backend: `preview` draws offline for nothing, and reports what the model named in the plan would
cost.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

import yaml

from mmrag_pipeline.campaigns.tokens import text_tokens
from mmrag_pipeline.errors import UserError

SIZE_FACTOR = {"512": 0.5, "1K": 1.0, "2K": 2.0, "4K": 4.0}
REFERENCE_TOKENS = 1120
SPARE_TOKENS = 3072
"""Room in an answer beside the picture: for thinking, words, or more pictures than were asked for."""


@dataclass(frozen=True)
class ImageModel:
    """One model: ratios and sizes it accepts, prices in US dollars, retirement date (None: none
    announced).
    """

    id: str
    title: str
    usd_per_image: Mapping[str, float]
    usd_per_reference: float
    usd_overhead: float
    usd_per_mtok: Mapping[str, float]
    max_references: int
    ratios: Mapping[str, tuple[int, int]]
    sends_size: bool = True
    batch_factor: float = 1.0
    """What a picture of a batch costs of that made online."""
    retired: date | None = None
    successor: str | None = None
    price_table: str = ""
    """Whose prices these are."""

    @property
    def sizes(self) -> list[str]:
        return list(self.usd_per_image)

    def price(self, size: str, *, references: int) -> float:
        """Estimate in US dollars of one picture: what an ordinary answer stays below."""
        return self.usd_per_image[size] + references * self.usd_per_reference + self.usd_overhead

    def output_limit(self, size: str) -> int:
        """Most tokens that an answer may have, thinking included: sent along, so that the bill has an end."""
        return math.ceil(round(self.usd_per_image[size] / self.usd_per_mtok["image"] * 1e6, 3)) + SPARE_TOKENS

    def ceiling(self, size: str, *, references: int, text_tokens: int) -> float:
        """Upper bound in US dollars of one request with so many tokens of text at most, whatever is answered.

        Every token of the answer at the dearest rate: which of them are pictures is for the model to say.
        """
        rates = self.usd_per_mtok
        sent = text_tokens + references * REFERENCE_TOKENS
        return (sent * rates["input"] + self.output_limit(size) * max(rates["image"], rates["output"])) / 1e6

    def request_ceiling(self, size: str, *, system: str, prompt: str, labels: Sequence[str]) -> float:
        """The same of one request with these words, and a reference behind each label."""
        count = len(labels)
        return self.ceiling(
            size, references=count, text_tokens=text_tokens([system, prompt, *labels], references=count)
        )

    def pixels(self, ratio: str, size: str) -> tuple[int, int]:
        """Width and height that the model answers with."""
        width, height = self.ratios[ratio]
        factor = SIZE_FACTOR[size]
        return round(width * factor), round(height * factor)

    def require(self, *, ratio: str, size: str, references: int, where: str) -> None:
        """Check one placement.

        Raises:
            UserError: this model does not take the ratio, the size or so many references; says which it
            takes.
        """
        if ratio not in self.ratios:
            raise UserError(
                f"{where}: {self.id} makes no aspect_ratio {ratio!r}; write one of {', '.join(self.ratios)}."
            )
        if size not in self.usd_per_image:
            raise UserError(f"{where}: {self.id} makes no image_size {size!r}; write one of {', '.join(self.sizes)}.")
        if references > self.max_references:
            raise UserError(
                f"{where}: {references} references are more than the {self.max_references} that "
                f"{self.id} takes; "
                f"lower references.max_per_product."
            )

    def require_alive(self, today: date) -> None:
        """Raises UserError from the retirement date on, naming the successor."""
        if self.retired and today >= self.retired:
            raise UserError(
                f"image model {self.id} was shut down on {self.retired}: set `model` in the brief "
                f"(or MMRAG_GEMINI_MODEL) to {self.successor or default_model()}."
            )


@dataclass(frozen=True)
class Registry:
    version: str
    default: str
    models: Mapping[str, ImageModel]

    def model(self, name: str) -> ImageModel:
        """Raises UserError naming the known models and the nearest one."""
        if name in self.models:
            return self.models[name]
        near = difflib.get_close_matches(name, self.models, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known models: {', '.join(self.models)}."
        raise UserError(f"image model {name!r} is not in the registry: {hint}")


@cache
def load_registry() -> Registry:
    raw = yaml.safe_load(resources.files(__package__).joinpath("registry.yaml").read_text("utf-8"))
    ratios = {name: (width, height) for name, (width, height) in raw["ratios"].items()}
    table = f"registry {raw['version']}"
    models = {name: _model(name, entry, ratios, table) for name, entry in raw["models"].items()}
    return Registry(version=raw["version"], default=raw["default"], models=models)


def image_model(name: str) -> ImageModel:
    """The model of that id; raises UserError where there is none."""
    return load_registry().model(name)


def default_model() -> str:
    return load_registry().default


def _model(name: str, entry: dict[str, Any], ratios: dict[str, tuple[int, int]], table: str) -> ImageModel:
    fields = dict(entry)
    without = set(fields.pop("without_ratios", ()))
    fields["usd_per_image"] = {str(size): usd for size, usd in fields["usd_per_image"].items()}
    kept = {k: v for k, v in ratios.items() if k not in without}
    return ImageModel(id=name, ratios=kept, price_table=table, **fields)
