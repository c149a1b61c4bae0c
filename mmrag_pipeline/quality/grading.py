"""Grades of one picture for every golden query at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmrag_pipeline.quality.golden import GoldenQuery, Judgement, tag_set


class Grader:
    """The same grades as `GoldenQuery.grade`; made for whole libraries.

    It looks up the few judgements that name a value of the picture instead of trying them all.
    """

    def __init__(self, queries: Iterable[GoldenQuery]):
        self._naming: dict[str, dict[str, list[tuple[str, Judgement]]]] = {}
        for query in queries:
            for judgement in query.judgements:
                # of several tags, all of which a picture must have, any one will do to find the judgement by
                value = min(tag_set(judgement.value)) if judgement.field == "tags" else judgement.value
                self._naming.setdefault(judgement.field, {}).setdefault(value, []).append((query.query, judgement))

    @property
    def fields(self) -> set[str]:
        """What a picture must be described by."""
        return set(self._naming)

    def grades(self, picture: Mapping[str, str]) -> dict[str, int]:
        """Grade by query; those that the picture is a wrong answer to are left out."""
        found: dict[str, int] = {}
        for field, naming in self._naming.items():
            given = picture.get(field) or ""
            for value in tag_set(given) if field == "tags" else (given,):
                for query, judgement in naming.get(value, ()):
                    if judgement.grade > found.get(query, 0) and judgement.holds_for(picture):
                        found[query] = judgement.grade
        return found
