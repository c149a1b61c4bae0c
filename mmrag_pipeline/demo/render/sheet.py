"""A contact sheet of a folder of pictures, for people."""

from __future__ import annotations

from pathlib import Path


def write(*, folder: Path, out: Path, columns: int = 10, cell: int = 200) -> None:
    """Every readable picture under `folder`, in rows, with its file name."""
    from PIL import Image, ImageDraw, ImageOps

    cells = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".jpg", ".png"):
            continue
        try:
            with Image.open(path) as picture:
                cells.append((path, ImageOps.exif_transpose(picture).convert("RGB").resize((cell, cell))))
        except OSError:
            cells.append((path, Image.new("RGB", (cell, cell), "#552222")))
    lines = -(-len(cells) // columns)
    page = Image.new("RGB", (columns * cell, lines * (cell + 16)), "white")
    draw = ImageDraw.Draw(page)
    for index, (path, picture) in enumerate(cells):
        x, y = index % columns * cell, index // columns * (cell + 16)
        page.paste(picture, (x, y))
        draw.text((x + 3, y + cell + 2), path.stem[:34], fill="black")
    page.save(out)
