"""`mmrag generate`: one picture now, after a look at what it is made from and what it may cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from mmrag_pipeline.cli_output import err, out, plain, told_plainly
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import load_settings

if TYPE_CHECKING:
    from mmrag_pipeline.generate import GeneratedPicture, PlannedPicture


@told_plainly
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in words.")],
    find: Annotated[list[str] | None, typer.Option(help="A product to look for; may be given several times.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture of your own to send along; several too.")] = None,
    product_line: Annotated[str | None, typer.Option(help="Look in this product line only.")] = None,
    ratio: Annotated[str, typer.Option(help="Width to height, as the model has it.")] = "1:1",
    size: Annotated[str, typer.Option(help="The model's size class.")] = "1K",
    backend: Annotated[str | None, typer.Option(help="Who makes it; default: MMRAG_IMAGE_BACKEND.")] = None,
    model: Annotated[str | None, typer.Option(help="Default: MMRAG_GEMINI_MODEL.")] = None,
    another: Annotated[bool, typer.Option("--another", help="One more of the same, paid for again.")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Copy picture and sidecar there.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Make one picture now, with references found in the library. The same again is free: it is there already, unless
    it was rejected.
    """
    from mmrag_pipeline.generate import generate_picture

    def agree(planned: PlannedPicture) -> bool:
        _show(planned)
        if yes:
            return True
        if not at_a_terminal():
            raise UserError("nobody is there to be asked, so nothing was made: give --yes to make it.")
        if not typer.confirm("Make it?"):
            out.print("Nothing was made, nothing was spent.")
            raise typer.Exit(1)
        return True

    picture = generate_picture(
        prompt,
        find=find or (),
        images=image or (),
        product_line=product_line,
        aspect_ratio=ratio,
        image_size=size,
        backend=backend,
        model=model,
        another=another,
        agree=agree,
        settings=load_settings(),
        progress=lambda said: err.print(plain(said), highlight=False),
    )
    _tell(picture)
    if folder is not None:
        _copy(picture, folder)


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _show(planned: PlannedPicture) -> None:
    from mmrag_pipeline.campaigns.plan_words import likeness, place

    table = Table("#", "similarity", "title", "sku", Column("file", overflow="fold"))
    for reference in planned.references:
        cells = (likeness(reference), reference.title, reference.sku, place(reference))
        table.add_row(str(reference.order), *map(plain, cells))
    out.print(table)
    variant, plan = planned.variant, planned.plan
    paid = f"about {planned.usd:.4f} USD, at most {planned.at_most_usd:.4f} USD"
    cost = paid if planned.usd else f"nothing (with {plan.model} about {variant.price_usd:.4f} USD)"
    size = f"{variant.width} x {variant.height}"
    out.print(plain(f"{size} by {plan.backend}, {plan.model}: costs {cost}"), highlight=False)


def _tell(picture: GeneratedPicture) -> None:
    how = f"made for {picture.usd:.4f} USD" if picture.made_now else "made before, so it is free"
    stamp = "PREVIEW, " if picture.preview else ""
    out.print(plain(f"{stamp}{picture.width} x {picture.height}, {how}: {picture.file}"), highlight=False)
    out.print(plain(f"key {picture.key}, sidecar {picture.sidecar.name}"), highlight=False)


def _copy(picture: GeneratedPicture, folder: Path) -> None:
    from upath import UPath

    from mmrag_pipeline.store import write_bytes

    for file in (picture.file, picture.sidecar):
        try:
            write_bytes(UPath(folder) / file.name, file.read_bytes())
        except OSError as error:
            raise UserError(
                f"{folder} can't be written ({error.strerror or error}): give a folder that can; the picture is kept "
                f"as {picture.file}."
            ) from error
    out.print(plain(f"copied to {folder}"), highlight=False)
