"""The usual night: nothing in a drop has changed. Found out by columns, without an object for each row.

Neither pyarrow.compute nor pa.array is used: they import for longer than all that is done here takes (pa.array of a
list imports pandas).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mmrag_pipeline.media.catalogue import NAMES
from mmrag_pipeline.media.manifest import DECODERS_VERDICTS, decoders, was_decoded_by
from mmrag_pipeline.media.rules import Reason
from mmrag_pipeline.media.verdicts import Seen

_OF_LINKS = (Reason.OUTSIDE_DROP.value, Reason.FOLDER_LINK.value)


def is_unchanged(files: Sequence[Seen], manifest: pa.Table) -> bool:
    """Whether a scan of `files` would give `manifest` again and read nothing but the catalogue.

    `manifest` must have our columns and have been made under the limits in force.
    """
    listed = sorted(files, key=lambda seen: seen.path)
    paths = manifest["path"].to_pylist()
    # Of a video's frames the first row says all that matters here.
    starts = [row for row, path in enumerate(paths) if row == 0 or path != paths[row - 1]]

    def column(name: str) -> list:
        values = manifest[name].to_pylist()
        return values if len(starts) == len(values) else [values[row] for row in starts]

    for name in ("path", "bytes", "mtime_ns"):
        if column(name) != [getattr(seen, name) for seen in listed]:
            return False
    if any(not seen.mtime_ns and (seen.probe is None or seen.path in NAMES) for seen in listed):
        return False  # a store without times: only reading the file shows whether it is the same
    if any(seen.probe is None and content is None for seen, content in zip(listed, column("content_id"), strict=True)):
        return False  # not read yet: permissions change without a trace
    reasons = column("reason")
    if not all(_leads_where_it_did(seen, before) for seen, before in zip(listed, reasons, strict=True)):
        return False
    return not DECODERS_VERDICTS.intersection(reasons) or was_decoded_by(manifest, decoders())


def _leads_where_it_did(seen: Seen, before: str) -> bool:
    """A link's own size and time say nothing about the folders that it leads through."""
    if seen.entry.kind != "link":
        return True
    return before == seen.probe.reason if seen.probe else before not in _OF_LINKS
