"""A campaign brief: what the YAML that a marketer writes may say, and what it means.

brief_folder.py reads it. What needs the index (does the product line exist, is there a reference?) is asked in
planner.py.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from mmrag_pipeline import times
from mmrag_pipeline.campaigns import schedule as due
from mmrag_pipeline.campaigns import templates
from mmrag_pipeline.campaigns.banned import banned_in, said_in
from mmrag_pipeline.campaigns.brief_files import BesideBrief
from mmrag_pipeline.campaigns.brief_where import Where
from mmrag_pipeline.campaigns.finishing.overlay import LogoFile, Overlay

MAX_VARIANTS = 2000
UNNAMED = "the product"
"""What prompts call a product that only the catalogue names: its words are data, never part of a sentence."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Product(_Part):
    """Which product: by `sku`; by a `query`, an `image` or both, whose best hit decides; or several, by `where`."""

    name: Text | None = Field(None, description="What the brand calls it; scenes use it as {{ product.name }}.")
    sku: Text | None = None
    query: Text | None = None
    image: BesideBrief | None = Field(None, description="A picture to look for, a file beside the brief.")
    where: Where | None = None
    product_line: Text | None = None
    min_score: float | None = Field(None, ge=-1, le=1, description="Hits below it are not references.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        looked_for = self.query is not None or self.image is not None
        if (self.sku is not None) + looked_for + (self.where is not None) != 1:
            raise ValueError("a product is found by sku, by query or image, or by where; write exactly one of these.")
        if not looked_for and self.min_score is not None:
            raise ValueError("min_score only means something with query or image; delete it.")
        if self.where is not None and self.product_line is not None:
            raise ValueError("product_line stands beside where; write it inside.")
        return self

    @property
    def id(self) -> str:
        """Stable name inside the campaign, fit for files and keys."""
        words = self.sku or self.name or self.query or self.image or self._of_where or ""
        return re.sub(r"[^\w.]+", "-", words.lower()).strip("-")[:60] or "product"

    @property
    def shown(self) -> str:
        return self.name or self.query or self.sku or UNNAMED

    @property
    def most(self) -> int:
        """Products that this entry stands for at most."""
        return self.where.limit if self.where else 1

    @property
    def _of_where(self) -> str:
        where = self.where
        return " ".join(filter(None, [where.product_line, where.drop, *where.tags, *where.sku])) if where else ""


class Scene(_Part):
    name: Slug
    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=templates.MAX_SCENE)]

    @field_validator("prompt")
    @classmethod
    def _renders(cls, prompt: str) -> str:
        templates.check(prompt)
        return prompt


class Placement(_Part):
    """Where the picture goes. `pixels` is the final width and height; default: what the model answers
    with.
    """

    name: Slug
    aspect_ratio: str
    image_size: Annotated[str, BeforeValidator(lambda v: str(v) if v == 512 else v)] = "1K"
    pixels: tuple[Annotated[int, Field(ge=64, le=8192)], Annotated[int, Field(ge=64, le=8192)]] | None = None
    overlay: bool = Field(True, description="false: neither the logo nor the lines of the overlay go on it.")


class Colour(_Part):
    """A colour in words, which go into prompts, and optionally in hex, which only our own drawing uses."""

    words: Text
    hex: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_words(cls, value: object) -> object:
        return {"words": value} if isinstance(value, str) else value


class Brand(_Part):
    logo: LogoFile | None = None
    palette: list[Colour] = Field(default_factory=list, max_length=8)
    tone: Text | None = None
    do: list[Text] = Field(default_factory=list, max_length=20)
    dont: list[Text] = Field(default_factory=list, max_length=20)
    banned: list[Text] = Field(
        default_factory=list, max_length=200, description="Words that no text of a picture may have."
    )


class References(_Part):
    """Which pictures are sent along: views of the product, then pictures whose style counts and nothing else."""

    max_per_product: int = Field(3, ge=1, le=14)
    min_score: float | None = Field(None, ge=-1, le=1, description="For products that name no min_score.")
    views: Literal["spread", "nearest"] = Field(
        "spread", description="After the best hit: the views least like each other, or the next best hits."
    )
    style: list[BesideBrief] = Field(
        default_factory=list, max_length=4, description="Pictures of the style, files beside the brief."
    )

    @property
    def most(self) -> int:
        """References of one picture at most."""
        return self.max_per_product + len(self.style)


class Schedule(_Part):
    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _cron(cls, cron: str) -> str:
        times.check_cron(cron)
        return cron

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, timezone: str) -> str:
        times.check_timezone(timezone)
        return timezone

    def occurrence(self, at: datetime) -> str:
        """Name of the occurrence due at an aware time: the local date, with the time where it is needed."""
        local = at.astimezone(ZoneInfo(self.timezone))
        return local.strftime("%Y-%m-%dT%H%M" if due.due_more_than_daily(self.cron, self.timezone) else "%Y-%m-%d")


class Brief(_Part):
    """One campaign. Unknown keys are errors; what is optional has the default shown."""

    campaign: Slug
    title: Text
    objective: Text
    audience: Text | None = Field(None, description="Who the picture is for; it is part of the prompt.")
    message: Text | None = None
    products: list[Product] = Field(min_length=1, max_length=200)
    scenes: list[Scene] = Field(min_length=1, max_length=50)
    placements: list[Placement] = Field(min_length=1, max_length=50)
    locales: list[Locale] = Field(default_factory=lambda: ["en"], min_length=1, max_length=100)
    n: int = Field(1, ge=1, le=20, description="Pictures of each combination.")
    brand: Brand = Field(default_factory=Brand)
    overlay: Overlay | None = None
    references: References = Field(default_factory=References)
    backend: Literal["preview", "gemini", "vertex"] | None = Field(None, description="Default: MMRAG_IMAGE_BACKEND.")
    mode: Literal["online", "batch"] = Field("online", description="batch: half price, made within a day.")
    model: str | None = Field(None, description="Default: MMRAG_GEMINI_MODEL.")
    seed: Literal["fixed", "per_occurrence"] = Field(
        "per_occurrence", description="fixed: every occurrence starts from the same seeds (models promise nothing)."
    )
    approval: Literal["none", "required"] = Field(
        "required", description="Whether a person has to approve a picture before it is exported."
    )
    schedule: Schedule | None = None
    budget_usd: float = Field(gt=0, description="Most that this campaign may spend, all occurrences together.")
    budget_usd_per_occurrence: float | None = Field(None, gt=0)
    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @field_validator("campaign")
    @classmethod
    def _not_that_of_single_pictures(cls, campaign: str) -> str:
        if campaign == due.ON_DEMAND:
            raise ValueError(
                f"{campaign!r} is the campaign of `mmrag generate`; give the brief another name (without the key "
                f"'campaign' it is that of its file)."
            )
        return campaign

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for key, names in (
            ("products", [product.id for product in self.products]),
            ("scenes", [scene.name for scene in self.scenes]),
            ("placements", [placement.name for placement in self.placements]),
            ("locales", self.locales),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key}: {twice[0]!r} is there twice; give each its own name.")
        if self.variants > MAX_VARIANTS:
            raise ValueError(
                f"the brief asks for {self.variants} pictures an occurrence, {MAX_VARIANTS} is the most; "
                f"split it or lower n."
            )
        return self

    @model_validator(mode="after")
    def _no_banned_word(self) -> Self:
        for key, text in said_in(self.model_dump()) if self.brand.banned else ():
            if word := banned_in(text, self.brand.banned):
                raise ValueError(f"{key} has {word!r}, which brand.banned rules out; word it differently.")
        return self

    @property
    def variants(self) -> int:
        """Pictures an occurrence, if every product has references."""
        products = sum(product.most for product in self.products)
        return products * math.prod(map(len, (self.scenes, self.placements, self.locales))) * self.n

    def file(self, name: str) -> bytes:
        """A picture beside the brief, as it was when the brief was loaded."""
        return self._files[name]

    def with_files(self, files: Mapping[str, bytes]) -> Brief:
        """The same brief with the pictures that it names."""
        brief = self.model_copy()
        brief._files = dict(files)
        return brief

    @property
    def file_names(self) -> dict[str, str]:
        """Every picture beside the brief, and the key that names it."""
        named = {product.image: f"products[{at}].image" for at, product in enumerate(self.products) if product.image}
        return named | {name: f"references.style[{at}]" for at, name in enumerate(self.references.style)}

    @property
    def shape_sha256(self) -> str:
        """Hash of everything that a plan depends on: all but when it is due, what it may cost, how it is ordered and
        finished, and who approves it.

        What is at its default is left out: a key that briefs may have from some day on makes no plan anew.
        """
        finishing = {"overlay": True, "brand": {"logo"}, "placements": {"__all__": {"overlay", "pixels"}}}
        apart = {
            "schedule": True,
            "budget_usd": True,
            "budget_usd_per_occurrence": True,
            "approval": True,
            "mode": True,
            **finishing,
        }
        kept = self.model_dump_json(exclude=apart, exclude_defaults=True)
        files = [name + hashlib.sha256(data).hexdigest() for name, data in sorted(self._files.items())]
        return hashlib.sha256("\0".join([kept, *files]).encode()).hexdigest()

    def occurrence(self, at: datetime) -> due.Occurrence:
        """The occurrence due at an aware time; a brief without a schedule has one a UTC day."""
        name = self.schedule.occurrence(at) if self.schedule else Schedule(cron="0 0 * * *").occurrence(at)
        return due.Occurrence(self.campaign, name)
