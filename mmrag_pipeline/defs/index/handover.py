"""What `staged_media_index` hands to `media_index`: a small file in the store, `index/staged.json`.

A file rather than a return value, so that publishing can be materialised by itself, and so that it can refuse a
collection whose checks failed or whose manifests have moved on since.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.rebuild import StagedIndex
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.store import Store, write_json


@dataclass(frozen=True)
class Handover:
    """The staged index, which manifests it was made from, and whether every check passed."""

    staged: StagedIndex
    manifests: str
    checks_passed: bool


def manifests_hash(store: Store) -> str:
    """Changes when any drop's manifest does, or when a drop comes or goes."""
    manifests = ManifestStore(store)
    digest = hashlib.sha256()
    for drop in manifests.drops():
        digest.update(f"{drop}\0".encode() + hashlib.sha256(manifests.path(drop).read_bytes()).digest())
    return digest.hexdigest()[:16]


def hand_over(store: Store, handover: Handover) -> None:
    """Write it unless the same is there: a quiet night writes nothing."""
    if _read(store) != handover:
        write_json(_path(store), asdict(handover))


def take_over(store: Store) -> Handover:
    """What may be published now.

    Raises:
        UserError: nothing is staged, a check failed, or drops were ingested since.
    """
    handover = _read(store)
    again = "run the nightly_reindex job, what is live stays as it is."
    if handover is None:
        raise UserError(f"nothing is staged: {again}")
    if not handover.checks_passed:
        raise UserError(f"the staged collection {handover.staged.collection} failed a check: {again}")
    if handover.manifests != manifests_hash(store):
        raise UserError(f"drops were ingested after {handover.staged.collection} was staged: {again}")
    return handover


def _path(store: Store):
    return store.root / "index" / "staged.json"


def _read(store: Store) -> Handover | None:
    try:
        values = json.loads(_path(store).read_text())
    except FileNotFoundError:
        return None
    return Handover(**values | {"staged": StagedIndex(**values["staged"])})
