"""A campaign brief: the YAML a marketer writes, its meaning, and its mistakes said so that they can be
mended.

What needs the index (does the product line exist, is there a reference?) is asked in plan.py.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    ValidationError,
    field_validator,
    model_validator,
)
from upath import UPath

from mmrag_pipeline import times
from mmrag_pipeline.campaigns import schedule as due
from mmrag_pipeline.campaigns import templates
from mmrag_pipeline.campaigns.banned import banned_in, said_in
from mmrag_pipeline.campaigns.brief_files import BesideBrief, read_beside
from mmrag_pipeline.campaigns.brief_where import Where
from mmrag_pipeline.campaigns.finishing.check import overlay_mistakes
from mmrag_pipeline.campaigns.finishing.overlay import LogoFile, Overlay
from mmrag_pipeline.campaigns.mistakes import sentences
from mmrag_pipeline.campaigns.registry import ImageModel, default_model, image_model
from mmrag_pipeline.campaigns.strict_yaml import YamlMistake, read_yaml
from mmrag_pipeline.errors import UserError

MAX_BYTES = 256 * 1024
MAX_VARIANTS = 2000
RATIO_TOLERANCE = 0.03
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


class BriefError(UserError):
    """The mistakes of one brief, one sentence each, in `sentences`."""

    def __init__(self, mistakes: list[str]):
        self.sentences = tuple(mistakes)
        super().__init__("\n".join(mistakes))


@dataclass(frozen=True)
class BriefProblem:
    """A brief that can't be used, and one sentence why."""

    file: str
    sentence: str


@dataclass(frozen=True)
class Briefs:
    """What a folder of briefs holds: the usable ones sorted by campaign, and what is wrong with the
    others.
    """

    good: tuple[Brief, ...]
    problems: tuple[BriefProblem, ...]

    def get(self, campaign: str) -> Brief:
        """Raises UserError naming the campaigns there are, or what is wrong with that one's file."""
        for brief in self.good:
            if brief.campaign == campaign:
                return brief
        own = [p.sentence for p in self.problems if UPath(p.file).stem == campaign]
        known = ", ".join(brief.campaign for brief in self.good) or "none"
        raise UserError("\n".join(own) or f"there is no usable brief for campaign {campaign!r}; there are: {known}.")


def load_brief(path: UPath | str, *, model: str | None = None) -> Brief:
    """Read one brief; ratios, sizes and budget are checked against its own model, else `model`, else the
    default.

    Raises:
        BriefError: every mistake in the file, one sentence each (file, key, fix).
    """
    path = UPath(path)
    file = path.name
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BriefError([f"the brief {path} can't be read ({error.strerror}): check the path."]) from None
    try:
        if len(data) > MAX_BYTES:
            raise YamlMistake(f"{len(data)} bytes are more than a brief may have ({MAX_BYTES})")
        raw = read_yaml(data.decode("utf-8-sig"))
    except (YamlMistake, UnicodeDecodeError) as error:
        raise BriefError([f"{file} is not readable as YAML: {error}; correct it there."]) from None
    if not isinstance(raw, dict):
        raise BriefError([f"{file} holds no brief: write keys such as title, products, scenes and placements."])
    try:
        brief = Brief.model_validate({"campaign": path.stem, **raw}, context={"folder": path.parent})
    except ValidationError as error:
        raise BriefError(sentences(error, Brief, file)) from None
    mistakes = model_mistakes(brief, brief.model or model or default_model())
    files: dict[str, bytes] = {}
    for name, key in brief.file_names.items():
        try:
            files[name] = read_beside(path.parent, name)
        except ValueError as error:
            mistakes.append(f"{key}: {error}.")
    if mistakes:
        raise BriefError([f"{file}: {mistake}" for mistake in mistakes])
    return brief.with_files(files)


def load_briefs(folder: UPath | str, *, model: str | None = None) -> Briefs:
    """Read every `*.yaml` and `*.yml` of a folder; one bad brief never hides a good one."""
    folder = UPath(folder)
    good: dict[str, Brief] = {}
    problems: list[BriefProblem] = []
    try:
        files = sorted(
            (f for f in folder.iterdir() if f.suffix in (".yaml", ".yml") and not f.name.startswith(".")),
            key=lambda f: f.name,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        sentence = (
            f"the folder of briefs {folder} can't be read ({error.strerror}): set MMRAG_CAMPAIGNS to yours, "
            f"or run `mmrag demo` for the demo briefs."
        )
        return Briefs((), (BriefProblem(folder.name, sentence),))
    for file in files:
        try:
            brief = load_brief(file, model=model)
        except BriefError as error:
            problems += [BriefProblem(file.name, sentence) for sentence in error.sentences]
            continue
        if brief.campaign in good:
            sentence = f"{file.name}: campaign {brief.campaign!r} is already that of another file; rename one."
            problems.append(BriefProblem(file.name, sentence))
        else:
            good[brief.campaign] = brief
    return Briefs(tuple(good[name] for name in sorted(good)), tuple(problems))


def model_mistakes(brief: Brief, model_name: str) -> list[str]:
    """What the model would refuse in this brief, and whether the budget buys one picture of it."""
    try:
        model = image_model(model_name)
    except UserError as error:
        return [f"model: {error}"]
    mistakes = []
    for at, placement in enumerate(brief.placements):
        where = f"placements[{at}]"
        try:
            model.require(
                ratio=placement.aspect_ratio,
                size=placement.image_size,
                references=brief.references.most,
                where=where,
            )
        except UserError as error:
            mistakes.append(str(error))
            continue
        if placement.pixels and not _fits(placement, model):
            width, height = placement.pixels
            mistakes.append(
                f"{where}.pixels: {width} x {height} is not {placement.aspect_ratio}; "
                f"change the pixels or the aspect_ratio."
            )
    return mistakes or overlay_mistakes(brief, model) or _budget_mistakes(brief, model)


def _fits(placement: Placement, model: ImageModel) -> bool:
    width, height = placement.pixels or (1, 1)
    across, down = (int(side) for side in placement.aspect_ratio.split(":"))
    return abs(width * down / (height * across) - 1) <= RATIO_TOLERANCE


def _budget_mistakes(brief: Brief, model: ImageModel) -> list[str]:
    price = min(
        model.ceiling(placement.image_size, references=1, text_tokens=0)  # a plan knows the words, and then it's more
        for placement in brief.placements
    )
    how = ""
    if brief.mode == "batch":
        price, how = price * model.batch_factor, " in a batch"
    return [
        f"{key}: {budget:g} USD is below the price of one picture{how} ({model.id} needs {price:.4f} USD set aside for "
        f"it); "
        f"raise it to at least {math.ceil(price * 100) / 100:.2f}."
        for key, budget in (
            ("budget_usd", brief.budget_usd),
            ("budget_usd_per_occurrence", brief.budget_usd_per_occurrence),
        )
        if budget is not None and budget < price
    ]
