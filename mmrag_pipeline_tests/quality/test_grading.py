"""The grader for whole libraries gives the grades that the queries give one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.demo.train.evaluate import library_pictures
from mmrag_pipeline.quality.golden import GoldenQuery, Judgement, golden_queries
from mmrag_pipeline.quality.grading import Grader

WORDS = some.sampled_from("abcd")
TAGS = some.lists(WORDS, min_size=1, max_size=3).map("; ".join)
JUDGEMENTS = some.one_of(
    some.builds(Judgement, grade=some.integers(1, 2), field=some.just("tags"), value=TAGS),
    some.builds(Judgement, grade=some.integers(1, 2), field=some.sampled_from(["sku", "path", "season"]), value=WORDS),
)
QUERIES = some.lists(some.lists(JUDGEMENTS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5)
PICTURES = some.fixed_dictionaries({"path": WORDS}, optional={"sku": WORDS, "season": WORDS, "tags": TAGS})


def one_by_one(queries: list[GoldenQuery], picture: dict[str, str]) -> dict[str, int]:
    return {query.query: grade for query in queries if (grade := query.grade(picture))}


@given(QUERIES, PICTURES)
def test_all_at_once_is_as_one_by_one(judged: list[tuple[Judgement, ...]], picture: dict[str, str]) -> None:
    queries = [GoldenQuery(str(number), "any", judgements) for number, judgements in enumerate(judged)]
    assert Grader(queries).grades(picture) == one_by_one(queries, picture)


def test_on_the_demo_library() -> None:
    queries = golden_queries(GOLDEN)
    grader = Grader(queries)
    assert grader.fields == {"tags", "sku", "path", "product_line"}
    for picture in library_pictures():
        assert grader.grades(picture) == one_by_one(queries, picture)
