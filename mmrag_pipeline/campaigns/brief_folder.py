"""Files of briefs -> briefs, and their mistakes said so that they can be mended."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ValidationError
from upath import UPath

from mmrag_pipeline.campaigns.brief import Brief, Placement
from mmrag_pipeline.campaigns.brief_files import read_beside
from mmrag_pipeline.campaigns.finishing.check import overlay_mistakes
from mmrag_pipeline.campaigns.mistakes import sentences
from mmrag_pipeline.campaigns.registry import ImageModel, default_model, image_model
from mmrag_pipeline.campaigns.strict_yaml import YamlMistake, read_yaml
from mmrag_pipeline.errors import UserError

MAX_BYTES = 256 * 1024
RATIO_TOLERANCE = 0.03


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
