"""Which rows of each drop may be staged: one drop that can't be read, or was not ingested, keeps no other from being
published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import pyarrow.compute as pc

from mmrag_pipeline.drift import is_embedded
from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.embedding.store import DamagedVectors, EmbeddingStore
from mmrag_pipeline.index.as_live import manifest_as_live
from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.lacking import without_lacking
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import DamagedManifest

SHOWN_DROPS = 10


@dataclass(frozen=True)
class Usable:
    """The drops as far as they can be shown, how many pictures of which have no vector, and a sentence for each file
    of the store that can't be read.
    """

    drops: list[DropRows]
    left_out: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def described(self, manifests: Mapping[str, str]) -> dict[str, str]:
        """The hash of each drop's manifest, and how much of it is not there: what was measured without a drop is not
        taken for a measurement with it.
        """
        return {
            key: f"{digest} without {self.left_out[key]}" if key in self.left_out else digest
            for key, digest in manifests.items()
        }


def usable_drops(
    milvus: Milvus,
    drops: Sequence[DropRows],
    unread: Mapping[str, DamagedManifest],
    embeddings: EmbeddingStore,
    encoder: Encoder,
    *,
    thorough: bool,
) -> Usable:
    """What of these drops, and of those whose manifest is `unread`, can be shown. Vectors that are found damaged are
    marked so.

    Where nothing is live, a drop with damaged vectors is left out whole. Under another model than the live one nothing
    may be left out, so there everything has to be readable.

    Args:
        thorough: read every file of vectors, else only those of drops that are not whole.

    Raises:
        DamagedManifest: one can't be read, and what is live is of another model and can't say what its drop held.
        DamagedVectors: the same of vectors; or nothing is live, and no drop is left that can be.
    """
    live, said = milvus.live(), [str(error) for error in unread.values()]

    def damaged_in(key: str) -> list[str]:
        summary = embeddings.summary(encoder.fingerprint, key)
        return embeddings.damaged(summary) if summary else []

    if live is None or not live.fits(fingerprint=encoder.fingerprint, dim=encoder.dim):
        if live is not None and unread:
            raise next(iter(unread.values()))
        found = {source.drop.key: damaged_in(source.drop.key) for source in drops} if thorough else {}
        damaged = {key: sentences for key, sentences in found.items() if sentences}
        rest = [source for source in drops if source.drop.key not in damaged]
        if damaged and (live is not None or not rest):
            raise DamagedVectors(_in_one_sentence(damaged))
        left_out = {source.drop.key: _ok_rows(source) for source in drops if source.drop.key in damaged}
        return Usable(rest, left_out, said + list(chain(*damaged.values())))

    usable = Usable([], damaged=said)
    as_live = [
        DropRows(
            drop=(drop := Drop.parse(key)),
            manifest=manifest_as_live(milvus, live.name, drop),
            vectors=lambda key=key: embeddings.batches(encoder.fingerprint, key),
        )
        for key in unread
    ]
    for source in [*drops, *as_live]:
        key = source.drop.key
        whole = is_embedded(embeddings, encoder.fingerprint, key, source.manifest)
        damaged = damaged_in(key) if thorough or not whole else []
        usable.damaged.extend(damaged)
        if damaged or not whole:
            source, lacking = without_lacking(source, milvus, live.name, dim=encoder.dim)
            if lacking:
                usable.left_out[key] = lacking
        usable.drops.append(source)
    return usable


def _ok_rows(source: DropRows) -> int:
    return pc.sum(pc.equal(source.manifest["status"], "ok")).as_py() or 0


def _in_one_sentence(damaged: Mapping[str, Sequence[str]]) -> str:
    first, *others = chain(*damaged.values())
    if not others:
        return first
    named = ", ".join(sorted(damaged)[:SHOWN_DROPS]) + (", ..." if len(damaged) > SHOWN_DROPS else "")
    return f"{len(others) + 1} files of vectors are damaged, of the drops {named}; the first: {first}"
