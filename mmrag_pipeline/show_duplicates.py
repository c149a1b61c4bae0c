"""`mmrag duplicates`: the groups that `near_duplicates` found, as a page."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from upath import UPath

from mmrag_pipeline import wiring
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.quality.duplicates_page import render_duplicates
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store, write_bytes


@dataclass(frozen=True)
class Duplicates:
    """The table of groups, and the page that shows them."""

    table: pa.Table
    page: UPath

    @property
    def groups(self) -> int:
        return len(set(self.table["group"].to_pylist()))


def show_duplicates(settings: Settings) -> Duplicates:
    """Write the page of the last `near_duplicates`.

    Raises:
        UserError: nobody has looked for near-duplicates yet.
    """
    store = Store(settings.store)
    table = NearDuplicateStore(store).read()
    if table is None:
        raise UserError("nobody has looked for near-duplicates yet: run the nightly_reindex job.")
    library, limits = wiring.library(settings), wiring.limits(settings)
    page = store.root / "quality" / "duplicates.html"
    html = render_duplicates(
        table, load=lambda drop, path: load_picture(library.folder(Drop.parse(drop)), path, None, limits)
    )
    write_bytes(page, html.encode())
    return Duplicates(table, page)
