"""The bad and odd files that a real delivery brings: two broken, one duplicate, one sideways, one misnamed."""

from __future__ import annotations

from pathlib import Path

Rows = dict[str, list[dict[str, str]]]

TRUNCATED = ("bags/2026-08/harbor-tote-tan-front.jpg", "bags/2026-08/harbor-tote-tan-side-upload.jpg")
NOT_A_PICTURE = "shoes/2026-09/dash-sneaker-navy-packshot.png"
DUPLICATE = ("watches/2026-08/aurora-silver-front.jpg", "watches/2026-08/aurora-silver-copy.jpg")
MISNAMED = {"home/2026-09/dawn-mug-blue-front.jpg": "home/2026-09/dawn-mug-blue-front.png"}
"""What it should be called -> what the JPEG is called."""
SIDEWAYS = "lunar/2026-09/selene-gown-red-three-quarter.jpg"

_NOTE = "The packshot is still with the retoucher, please ask studio@aurora.example for the file.\n"


def add_defects(out: Path, rows: Rows) -> None:
    """Write the defects from good files; metadata.csv describes the duplicate and the sideways picture."""
    source, broken = (out / name for name in TRUNCATED)
    data = source.read_bytes()
    broken.write_bytes(data[: len(data) * 2 // 5])
    (out / NOT_A_PICTURE).write_text(_NOTE)
    (out / DUPLICATE[1]).write_bytes((out / DUPLICATE[0]).read_bytes())
    drop, name = DUPLICATE[0].rsplit("/", 1)
    row = next(r for r in rows[drop] if r["path"] == name)
    rows[drop].append(row | {"path": DUPLICATE[1].rsplit("/", 1)[1]})
    _lay_sideways(out / SIDEWAYS)


def _lay_sideways(path: Path) -> None:
    """Store a picture turned by 90 degrees, with the EXIF tag that turns it back (6: clockwise)."""
    from PIL import Image

    with Image.open(path) as picture:
        exif = picture.getexif()
        if exif.get(0x0112) == 6:
            return
        exif[0x0112] = 6
        turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(path, quality=92, exif=exif)
