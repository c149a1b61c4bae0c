"""What `staged_media_index` hands to `media_index`: a small file in the store, `index/staged.json`.

A file rather than a return value, so that publishing can be materialised by itself, refuses a collection whose checks
failed, and knows which drops were ingested since.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.rebuild import StagedIndex
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.store import Store, read_bytes, write_json


@dataclass(frozen=True)
class Handover:
    """The staged index, the hash of each manifest that it was made from by drop, and whether every check passed."""

    staged: StagedIndex
    manifests: dict[str, str]
    checks_passed: bool


def manifest_hashes(store: Store) -> dict[str, str]:
    """Of each drop that has a manifest: changes when its manifest does."""
    manifests, found = ManifestStore(store), {}
    for drop in manifests.drops():
        with contextlib.suppress(FileNotFoundError):  # the drop was removed meanwhile
            found[drop] = hashlib.sha256(read_bytes(manifests.path(drop))).hexdigest()[:16]
    return found


def changed_since(store: Store, handover: Handover) -> list[str]:
    """Drops whose manifest is another one than the index was staged from; came and gone ones too."""
    before, now = handover.manifests, manifest_hashes(store)
    return sorted(drop for drop in before.keys() | now.keys() if before.get(drop) != now.get(drop))


def hand_over(store: Store, handover: Handover) -> None:
    """Write it unless the same is there: a quiet night writes nothing."""
    if _read(store) != handover:
        write_json(_path(store), asdict(handover))


def take_over(store: Store) -> Handover:
    """What may be published now.

    Raises:
        UserError: nothing is staged, or a check failed.
    """
    handover = _read(store)
    again = "run the nightly_reindex job, what is live stays as it is."
    if handover is None:
        raise UserError(f"nothing is staged: {again}")
    if not handover.checks_passed:
        raise UserError(f"the staged collection {handover.staged.collection} failed a check: {again}")
    return handover


def _path(store: Store):
    return store.root / "index" / "staged.json"


def _read(store: Store) -> Handover | None:
    try:
        values = json.loads(_path(store).read_text())
    except FileNotFoundError:
        return None
    if not isinstance(values["manifests"], dict):
        return None  # of an earlier version, which kept one hash of all
    return Handover(**values | {"staged": StagedIndex(**values["staged"])})
