"""Which rows of each drop may be staged: one drop that can't be read, or was not ingested, keeps no other from being
published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmrag_pipeline.drift import is_embedded
from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.as_live import manifest_as_live
from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.lacking import without_lacking
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import DamagedManifest


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
    """What of these drops, and of those whose manifest is `unread`, can be shown.

    Under another model than the live one nothing may be left out, so there everything has to be readable.

    Args:
        thorough: read every file of vectors, else only those of drops that are not whole.

    Raises:
        DamagedManifest: one can't be read, and what is live is of another model and can't say what its drop held.
    """
    live, said = milvus.live(), [str(error) for error in unread.values()]
    if live is None:
        return Usable(list(drops), damaged=said)
    if not live.fits(fingerprint=encoder.fingerprint, dim=encoder.dim):
        for error in unread.values():
            raise error
        return Usable(list(drops))
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
        summary = embeddings.summary(encoder.fingerprint, key) if thorough or not whole else None
        damaged = embeddings.damaged(summary) if summary else []
        if damaged and whole and summary:
            embeddings.mark_damaged(summary)
        usable.damaged.extend(damaged)
        if damaged or not whole:
            source, lacking = without_lacking(source, milvus, live.name, dim=encoder.dim)
            if lacking:
                usable.left_out[key] = lacking
        usable.drops.append(source)
    return usable
