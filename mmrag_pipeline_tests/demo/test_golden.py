"""The demo library's golden queries: enough of them, answerable, and not in the captions' words."""

from __future__ import annotations

import re
from collections import Counter

from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.demo.train import words
from mmrag_pipeline.demo.train.evaluate import library_pictures
from mmrag_pipeline.quality.golden import ASKED_FOR, golden_queries

SMALL_WORDS = set(
    "a an and as at by can do find for from have i in is it like me my need nice of on one show that the to we what "
    "who whose with".split()
)
TITLES = {"band", "bracelet", "details", "dial", "mesh", "strap"}


def caption_words() -> set[str]:
    """Every word that a training caption may have."""
    tables = (words.COLOURS, words.THINGS, words.MATERIALS, words.VIEWS, words.BACKGROUNDS)
    known = [word for table in tables for key in table for word in table[key]]
    return set(re.findall(r"[a-z]+", " ".join((*known, *words.FRAMES, *words.CLAUSES)).lower())) | TITLES | SMALL_WORDS


def test_there_are_enough_of_several_kinds() -> None:
    strata = Counter(query.stratum for query in golden_queries(GOLDEN))
    assert sum(strata.values()) >= 60
    assert set(strata) == {"thing", "character", "colour", "detail", "sentence"}
    assert min(strata.values()) >= 5


def test_each_has_pictures_that_it_asks_for_and_most_that_it_does_not() -> None:
    pictures = library_pictures()
    for query in golden_queries(GOLDEN):
        grades = Counter(query.grade(picture) for picture in pictures)
        assert 1 <= grades[ASKED_FOR] <= 40, query.query
        assert grades[0] > len(pictures) / 2, query.query
        for judgement in query.judgements:
            assert any(judgement.holds_for(picture) for picture in pictures), (query.query, judgement)


def test_each_has_a_word_that_no_training_caption_has() -> None:
    known = caption_words()
    stale = [
        query.query for query in golden_queries(GOLDEN) if set(re.findall(r"[a-z]+", query.query.lower())) <= known
    ]
    assert stale == []
