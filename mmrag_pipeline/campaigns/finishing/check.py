"""What is wrong with a brief's overlay, known before anything is paid: no words for a locale, or no room for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmrag_pipeline.campaigns.finishing.layout import DoesNotFit, lay_out
from mmrag_pipeline.campaigns.finishing.overlay import MAX_LETTERS, Overlay, locale_mistakes, open_logo
from mmrag_pipeline.campaigns.finishing.recipe import Finishing, Line

if TYPE_CHECKING:
    from mmrag_pipeline.campaigns.brief import Brief, Placement
    from mmrag_pipeline.campaigns.registry import ImageModel


def final_size(placement: Placement, model: ImageModel) -> tuple[int, int]:
    """Width and height of the finished picture."""
    return placement.pixels or model.pixels(placement.aspect_ratio, placement.image_size)


def finishing_of(brief: Brief) -> Finishing:
    """What a plan of this brief keeps for finishing its pictures."""
    overlay = brief.overlay or Overlay()
    lines = (
        Line(name, locale, text)
        for locale in brief.locales
        for name in MAX_LETTERS
        if (text := overlay.words(name, locale))
    )
    return Finishing(
        lines=tuple(lines),
        bare=tuple(placement.name for placement in brief.placements if not placement.overlay),
        logo=brief.brand.logo.data if brief.brand.logo else b"",
    )


def overlay_mistakes(brief: Brief, model: ImageModel) -> list[str]:
    """A sentence for each line that lacks words or room on a placement, in any locale."""
    return list(locale_mistakes(brief.overlay or Overlay(), brief.locales)) or list(_misfits(brief, model))


def _misfits(brief: Brief, model: ImageModel) -> Iterator[str]:
    finishing = finishing_of(brief)
    logo = open_logo(finishing.logo).size if finishing.logo else None
    told = set()
    for placement in brief.placements:
        size = final_size(placement, model)
        for locale in brief.locales:
            recipe = finishing.recipe(
                placement=placement.name, locale=locale, width=size[0], height=size[1], palette=()
            )
            try:
                for edge in ("bottom", "top"):
                    lay_out(size, recipe.lines, logo if recipe.logo_sha256 else None, edge=edge)
            except DoesNotFit as error:
                text = recipe.lines.get(error.name, "")
                if (placement.name, error.name, text) not in told:
                    told.add((placement.name, error.name, text))
                    yield _say(error.name, text, locale, placement, size)


def _say(name: str, text: str, locale: str, placement: Placement, size: tuple[int, int]) -> str:
    where = f"placement {placement.name} ({size[0]} x {size[1]})"
    if name == "logo":
        return f"brand.logo: it has no room on {where}; give larger pixels, or `overlay: false` there."
    shown = text if len(text) <= 40 else text[:39] + "…"
    return (
        f"overlay.{name}: {shown!r} ({locale}) has no room on {where} even in small letters; shorten it, or write "
        f"`overlay: false` there."
    )
