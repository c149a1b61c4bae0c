"""Search as people use it: words or a picture in, hits and a contact sheet out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from upath import UPath

from mmrag_pipeline import wiring
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.copies import NO_COPIES
from mmrag_pipeline.index.filter import IN_LIBRARY, Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.search import Explanation, SearchRequest, answer, why_empty
from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import MediaError
from mmrag_pipeline.media.sheet import SheetItem, contact_sheet
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store


@dataclass(frozen=True)
class Results:
    """The hits, best first, and how they were found; `why_empty` is a sentence when there are none."""

    query: str
    hits: list[Hit]
    explanation: Explanation
    why_empty: str


def find(
    settings: Settings,
    *,
    text: str | None = None,
    image: Path | None = None,
    where: Filter = IN_LIBRARY,
    near_duplicates: bool = False,
    **options: Any,
) -> Results:
    """Search the live collection with the settings in force; `options` are further fields of `SearchRequest`.

    Of near-duplicates the best hit stands for all, unless `near_duplicates` asks for each.

    Raises:
        UserError: nothing to look for, an unreadable picture, or no collection made with the model in force.
    """
    if not (text and text.strip()) and image is None:
        raise UserError('there is nothing to look for: give words (mmrag search "a red dress") or --image FILE.')
    request = SearchRequest(
        text=text.strip() if text else None,
        image=_open(image, settings) if image else None,
        where=replace(where, drop=Drop.parse(where.drop).key) if where.drop else where,
        copies=NO_COPIES if near_duplicates else NearDuplicateStore(Store(settings.store)).copies(),
        **options,
    )
    encoder = wiring.encoder(settings)
    encoder.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
    with connect(wiring.milvus(settings)) as milvus:
        found = answer(milvus, encoder, request)
        reason = "" if found.hits else why_empty(milvus, request)
    query = " + ".join(part for part in (request.text, image and image.name) if part)
    return Results(query=query, hits=found.hits, explanation=found.explanation, why_empty=reason)


def write_sheet(settings: Settings, results: Results, path: Path) -> None:
    """Write the contact sheet: the query as title, the hits side by side with name and similarity.

    Raises:
        UserError: the file can't be written there, or its name has no picture's ending.
    """
    limits, items = wiring.limits(settings), []
    for hit in results.hits:
        name = PurePosixPath(hit.path).name
        note = f"{name}   {hit.score:.3f}"
        try:
            picture = load_picture(_folder(settings, hit.drop), hit.path, hit.frame_ms, limits)
        except (MediaError, Unavailable):
            picture, note = Image.new("RGB", (224, 224), "lightgrey"), f"the file is gone   {hit.score:.3f}"
        items.append(SheetItem(image=picture, caption=hit.title or name, note=note))
    try:
        contact_sheet(items, title=results.query).save(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the sheet {path} can't be written ({error}): give a file such as hits.png in a folder that exists."
        ) from error


def _folder(settings: Settings, drop: str) -> UPath:
    """Where the files of a drop lie: in the library, or in the store where a campaign made them."""
    store = Store(settings.store)
    manifest = ManifestStore(store).find(drop)
    generated = generated_in(manifest) if manifest is not None else None
    return store.root / generated if generated else wiring.library(settings).folder(Drop.parse(drop))


def _open(path: Path, settings: Settings) -> Image.Image:
    try:
        return open_picture(path.read_bytes(), wiring.limits(settings))
    except OSError as error:
        raise UserError(f"--image {path} can't be read: {error.strerror}.") from error
    except MediaError as error:
        raise UserError(
            f"--image {path} is not a usable picture ({error}): give a JPEG, PNG, WebP or similar."
        ) from error
