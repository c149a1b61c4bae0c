"""Which contents show the same picture: an answer has room for one of each group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmrag_pipeline.index.hit import Hit


@dataclass(frozen=True)
class Copies:
    """`group` by content id, of those contents that have near-duplicates; `keepers` are the best of each group."""

    group: Mapping[str, str] = field(default_factory=dict)
    keepers: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """Another one when any group is."""
        return hashlib.sha256(json.dumps(sorted(self.group.items())).encode()).hexdigest()[:16]

    def of(self, content_id: str) -> str:
        """The same for contents that show the same picture."""
        return self.group.get(content_id, content_id)

    def count_again(self, content_ids: Iterable[str]) -> int:
        """How many of them show what one before them shows."""
        shown = [self.of(content_id) for content_id in content_ids]
        return len(shown) - len(set(shown))

    def best_of_each(self, hits: Sequence[Hit]) -> list[Hit]:
        """One hit of each group, in the order of `hits`: the keeper where it is among them, else the first."""
        chosen: dict[str, Hit] = {}
        for hit in hits:
            group = self.of(hit.content_id)
            if group not in chosen or (hit.content_id in self.keepers and chosen[group].content_id not in self.keepers):
                chosen[group] = hit
        kept = {hit.media_id for hit in chosen.values()}
        return [hit for hit in hits if hit.media_id in kept]


NO_COPIES = Copies()
