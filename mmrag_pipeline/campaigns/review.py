"""People look at pictures: pending -> approved | rejected -> exported, told by any unambiguous start of a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from upath import UPath

from mmrag_pipeline.campaigns.decisions import (
    APPROVED,
    EXPORTED,
    REJECTED,
    Decision,
    Review,
    read_decisions,
    record_decision,
    review_of,
)
from mmrag_pipeline.campaigns.schedule import ON_DEMAND, Occurrence
from mmrag_pipeline.campaigns.sidecar import GENERATED, PREVIEW_PREFIX, is_whole, look_of
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import Store

LEAST_DIGITS = 6
MAX_REASON = 500
_PREFIX = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},32}}")
_SIDECAR = re.compile(rf"(?:{PREVIEW_PREFIX})?([0-9a-f]{{32}})\.json")


@dataclass(frozen=True)
class OnFile:
    """A variant that was attempted: its sidecar, in the folder of its occurrence."""

    key: str
    occurrence: Occurrence
    folder: UPath
    sidecar: dict[str, Any]

    @property
    def name(self) -> str:
        """As the plan calls it: `golden-watch · suit · feed · en-GB · 1`."""
        asked = self.sidecar["variant"]
        return " · ".join(str(asked[part]) for part in ("product", "scene", "placement", "locale", "number"))

    @property
    def sha256(self) -> str:
        return (self.sidecar.get("picture") or {}).get("sha256", "")

    @property
    def look(self) -> str:
        """Hash of what is seen of it: decisions are about that."""
        return look_of(self.sidecar)

    def review(self) -> Review:
        return review_of(read_decisions(self.folder).get(self.key, ()), self.look)


@dataclass(frozen=True)
class Reviewed:
    """One key after a decision; `changed` is False where it stood like that already."""

    picture: OnFile
    review: Review
    changed: bool


def decide(
    store: Store,
    keys: Sequence[str],
    verdict: Literal["approved", "rejected"],
    *,
    by: str,
    at: datetime,
    reason: str = "",
    occurrence: str | None = None,
) -> list[Reviewed]:
    """Note what somebody decided about these pictures; nothing is noted unless all of the keys can be.

    Raises:
        UserError: a key names no picture or several; a preview; nothing was made; a rejection without a reason.
    """
    reason = " ".join(reason.split())
    if verdict == REJECTED and not reason:
        raise UserError("a rejection needs a reason, which is kept beside the picture: give --reason TEXT.")
    if len(reason) > MAX_REASON:
        raise UserError(f"the reason has {len(reason)} characters: say it in {MAX_REASON}.")
    pictures = list(
        {picture.key: picture for picture in (find_picture(store, key, occurrence) for key in keys)}.values()
    )
    for picture in pictures:
        _require_a_picture(picture, verdict)
    done = []
    for picture in pictures:
        before = picture.review()
        stands = before.state == verdict or (verdict == APPROVED and before.state == EXPORTED)
        if not stands:
            record_decision(picture.folder, Decision(picture.key, verdict, by, at.isoformat(), reason, picture.look))
        done.append(Reviewed(picture, picture.review(), not stands))
    return done


def find_picture(store: Store, key: str, occurrence: str | None = None) -> OnFile:
    """The one attempted variant whose key begins with `key`, in any occurrence unless one is named.

    Raises:
        UserError: there is none, there are several, or `key` is no start of a key.
    """
    wanted = key.strip().lower()
    if _PREFIX.fullmatch(wanted) is None:
        raise UserError(
            f"{key!r} is not the start of a key: give {LEAST_DIGITS} hex digits or more, as the gallery shows."
        )
    found = [
        (place, folder, file, whole)
        for place, folder in occurrences(store, occurrence)
        for file, whole in _sidecars(folder)
        if whole.startswith(wanted)
    ]
    where = f"in {occurrence}" if occurrence else "in any occurrence"
    if not found:
        raise UserError(f"no picture {where} has a key that begins with {wanted}: its gallery names them.")
    if len(found) > 1:
        which = ", ".join(f"{whole} in {place.key}" for place, _, _, whole in found[:5])
        raise UserError(f"{len(found)} keys begin with {wanted} ({which}): give more digits, or --occurrence.")
    place, folder, file, whole = found[0]
    return _open(place, folder, file, whole)


def pictures_of(folder: UPath, occurrence: Occurrence) -> Iterator[OnFile]:
    """Every attempted variant of one occurrence, by name of its sidecar."""
    for file, key in sorted(_sidecars(folder), key=lambda one: one[1]):
        yield _open(occurrence, folder, file, key)


def occurrences(store: Store, named: str | None = None) -> list[tuple[Occurrence, UPath]]:
    """The named occurrence, else all that have a folder, in order.

    Raises:
        UserError: the named one has no folder.
    """
    if named is not None:
        occurrence = Occurrence.parse(named)
        folder = store.occurrence(occurrence.campaign, occurrence.name)
        if not folder.exists():
            raise UserError(f"there is no occurrence {named} in {store.root}: look at the folders under campaigns/.")
        return [(occurrence, folder)]
    root, found = store.root / "campaigns", []
    for campaign in root.iterdir() if root.exists() else ():
        for folder in campaign.iterdir() if campaign.is_dir() else ():
            if (folder / "images").exists():
                found.append((Occurrence(campaign.name, folder.name), folder))
            elif campaign.name == ON_DEMAND:
                inner = [each for each in folder.iterdir() if (each / "images").exists()] if folder.is_dir() else []
                found += [(Occurrence(campaign.name, f"{folder.name}/{each.name}"), each) for each in inner]
    return sorted(found, key=lambda one: one[0])


def _sidecars(folder: UPath) -> Iterator[tuple[UPath, str]]:
    images = folder / "images"
    for file in images.iterdir() if images.exists() else ():
        if match := _SIDECAR.fullmatch(file.name):
            yield file, match[1]


def _open(occurrence: Occurrence, folder: UPath, file: UPath, key: str) -> OnFile:
    try:
        sidecar = json.loads(file.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise UserError(f"the sidecar {file} can't be read: run campaign_images for {occurrence.key} again.") from None
    return OnFile(key, occurrence, folder, sidecar)


def _require_a_picture(picture: OnFile, verdict: str) -> None:
    sidecar = picture.sidecar
    if sidecar["preview"]:
        raise UserError(
            f"{picture.key[:12]} ({picture.name}) is a preview and can't be {verdict}: nothing was generated. Change "
            "the brief, or plan it with a backend that makes real pictures."
        )
    if sidecar["status"] != GENERATED:
        said = f" ({sidecar['reason']})" if sidecar["reason"] else ""
        raise UserError(
            f"{picture.key[:12]} ({picture.name}) can't be {verdict}: it has no picture but is "
            f"{sidecar['status'].replace('_', ' ')}{said}. Run campaign_images for {picture.occurrence.key} again."
        )
    if verdict == APPROVED and not is_whole(picture.folder / "images", sidecar):
        raise UserError(
            f"{picture.key[:12]} ({picture.name}) can't be approved: its file is gone or was altered. Run "
            f"campaign_images for {picture.occurrence.key} again."
        )
