"""Approved pictures for whoever places them: the very bytes, under names that people understand, with a list.

`DIR/<campaign>__<occurrence>/<campaign>_<product>_<scene>_<placement>_<locale>_<n>.<ext>` and `manifest.csv` beside.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from upath import UPath

from mmrag_pipeline.campaigns.decisions import (
    APPROVED,
    EXPORTED,
    PENDING,
    REJECTED,
    Decision,
    Review,
    read_decisions,
    record_decision,
    review_of,
)
from mmrag_pipeline.campaigns.plan_table import find_plan
from mmrag_pipeline.campaigns.review import OnFile, occurrences, pictures_of
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.campaigns.sidecar import GENERATED
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import Store, write_bytes

MANIFEST = "manifest.csv"
COLUMNS = (
    "file", "campaign", "occurrence", "product", "sku", "scene", "placement", "locale", "number", "width", "height",
    "mime", "bytes", "sha256", "key", "model", "approved_by", "approved_at", "note",
)  # fmt: skip


@dataclass(frozen=True)
class OccurrenceExport:
    """One occurrence as it lies in `folder` now. `withdrawn` are files there whose picture is no longer approved."""

    occurrence: Occurrence
    source: UPath
    folder: UPath
    files: tuple[str, ...]
    pending: int
    withdrawn: tuple[str, ...]
    previews: int


def export_approved(
    store: Store, target: UPath, *, by: str, at: datetime, occurrence: str | None = None
) -> list[OccurrenceExport]:
    """Write every approved picture of the named occurrence, else of all of them; again is the same again.

    Where the brief says `approval: none`, pictures that nobody decided about go too.

    Raises:
        UserError: an approved picture's file is gone or altered; the folder can't be written; nothing is approved.
    """
    done = []
    for place, folder in occurrences(store, occurrence):
        decisions = read_decisions(folder)
        reviewed = [(one, review_of(decisions.get(one.key, ()), one.look)) for one in pictures_of(folder, place)]
        done.append(_export(place, folder, target / place.key, reviewed, by=by, at=at))
    if not any(one.files for one in done):
        where = occurrence or "any occurrence"
        pending, previews = sum(one.pending for one in done), sum(one.previews for one in done)
        raise UserError(
            f"nothing in {where} is approved, so nothing was exported ({pending} pictures wait for a decision; "
            f"{previews} previews, which are never exported): approve pictures with mmrag campaign approve KEY."
        )
    return done


def file_names(pictures: Sequence[OnFile]) -> dict[str, str]:
    """Key -> `golden-hour_golden-watch_suit_feed_en-GB_1.jpg`.

    Where a changed brief gave a number twice, the picture that was made later has the start of its key behind it.
    """
    names: dict[str, str] = {}
    for picture in sorted(pictures, key=lambda one: (one.sidecar["created_at"], one.key)):
        name = _name(picture)
        if name in names.values():
            whole = PurePosixPath(name)
            name = f"{whole.stem}-{picture.key[:8]}{whole.suffix}"
        names[picture.key] = name
    return names


def _name(picture: OnFile) -> str:
    asked = picture.sidecar["variant"]
    parts = (picture.occurrence.campaign, *(asked[p] for p in ("product", "scene", "placement", "locale", "number")))
    suffix = PurePosixPath(picture.sidecar["picture"]["file"]).suffix
    return "_".join(_plain(str(part)) for part in parts) + suffix


def _export(
    place: Occurrence,
    source: UPath,
    target: UPath,
    reviewed: Sequence[tuple[OnFile, Review]],
    *,
    by: str,
    at: datetime,
) -> OccurrenceExport:
    rows, withdrawn, pending = [], [], 0
    made = [(picture, review) for picture, review in reviewed if picture.sidecar["status"] == GENERATED]
    real = [(picture, review) for picture, review in made if not picture.sidecar["preview"]]
    names = file_names([picture for picture, _ in real])
    unasked = _needs_no_approval(source)
    for picture, review in real:
        name = names[picture.key]
        if review.state in (APPROVED, EXPORTED) or (unasked and review.state == PENDING):
            _copy(picture, target / name)
            rows.append(_row(picture, review, name))
            if review.state != EXPORTED and not _handed_over(picture, review):
                note = Decision(picture.key, EXPORTED, by, at.isoformat(), f"to {target / name}", picture.look)
                record_decision(picture.folder, note)
            continue
        pending += review.state != REJECTED
        if (target / name).exists():
            withdrawn.append(name)
    if rows or (target / MANIFEST).exists():
        rows.sort(key=lambda row: row["file"])
        write_bytes(target / MANIFEST, _csv(rows))
    files, previews = tuple(row["file"] for row in rows), len(made) - len(real)
    return OccurrenceExport(place, source, target, files, pending, tuple(sorted(withdrawn)), previews)


def _needs_no_approval(folder: UPath) -> bool:
    """The brief said `approval: none`."""
    plan = find_plan(folder / "plan.parquet")
    return plan is not None and plan.approval == "none"


def _handed_over(picture: OnFile, review: Review) -> bool:
    """It was exported without an approval before: that is noted once."""
    noted = any(one.verdict == EXPORTED and one.picture_sha256 == picture.look for one in review.history)
    return review.state == PENDING and noted


def _copy(picture: OnFile, target: UPath) -> None:
    """The file as it is: decoding and encoding again would lose its credentials."""
    file = picture.folder / "images" / picture.sidecar["picture"]["file"]
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise UserError(
            f"the approved picture {file} is gone or was altered: run campaign_images for "
            f"{picture.occurrence.key} again."
        )
    try:
        if not target.exists() or target.read_bytes() != data:
            write_bytes(target, data)
    except OSError as error:
        raise UserError(f"{target} can't be written ({error.strerror or error}): give a folder that can.") from error


def _row(picture: OnFile, review: Review, name: str) -> dict[str, Any]:
    asked, file = picture.sidecar["variant"], picture.sidecar["picture"]
    wanted, size = (asked["width"], asked["height"]), (file["width"], file["height"])
    approved = review.last if review.state != PENDING else None
    return {
        "file": name,
        "campaign": picture.occurrence.campaign,
        "occurrence": picture.occurrence.name,
        "key": picture.key,
        "model": picture.sidecar["model"],
        "approved_by": approved.by if approved else "",
        "approved_at": approved.at if approved else "",
        "note": "" if size == wanted else f"the placement asks for {wanted[0]} x {wanted[1]}",
        **{name: asked[name] for name in ("product", "sku", "scene", "placement", "locale", "number")},
        **{name: file[name] for name in ("width", "height", "mime", "bytes", "sha256")},
    }


def _csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return sink.getvalue().encode()


def _cell(value: Any) -> Any:
    """Text from a catalogue must not become a formula in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", text).strip("-") or "x"
