"""Golden queries are read as they are written, and grade pictures as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.quality.golden import golden_queries, open_golden, read_golden
from mmrag_pipeline.quality.recall import recall_at

TABLE = """query,stratum,grade,field,value
a gold watch,colour,2,tags,watch;gold
a gold watch,colour,1,tags,watch
the comet from behind,character,2,path,figurines/2026-10/comet-back.jpg
the comet from behind,character,1,product_line,figurines
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "golden.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_picture_has_the_highest_grade_that_holds_for_it(tmp_path: Path) -> None:
    watch, comet = golden_queries(written(tmp_path, TABLE))
    assert (watch.query, watch.stratum) == ("a gold watch", "colour")
    assert watch.grade({"tags": "gold;front;watch"}) == 2
    assert watch.grade({"tags": "watch; silver"}) == 1
    assert watch.grade({"tags": "gold chain;watchful"}) == 0
    assert watch.grade({"path": "x.jpg"}) == 0
    assert comet.grade({"path": "figurines/2026-10/comet-back.jpg", "product_line": "figurines"}) == 2
    assert comet.grade({"path": "figurines/2026-10/comet-front.jpg", "product_line": "figurines"}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query,grade\nx,2\n", "stratum, field, value"),
        (TABLE.replace("colour,2", "colour,3"), "line 2: grade '3'"),
        (TABLE + "a bag,thing,2,tags, ;\n", "line 6: there is no value"),
        (TABLE + "a bag,thing,2\n", "line 6: there is no field"),
        (TABLE + " ,thing,2,tags,bag\n", "line 6: there is no query"),
        ("query,stratum,grade,field,value\n", "has no query"),
        ("", "has no column query"),
    ],
)
def test_a_golden_set_that_can_not_be_read_says_where(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        golden_queries(written(tmp_path, text))


def test_a_golden_set_that_is_not_there_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match=r"can't be read \(.+\): correct MMRAG_GOLDEN or unset it\.$"):
            open_golden(str(path))
    (tmp_path / "golden.xlsx").write_bytes(b"PK\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read"):
        open_golden(str(tmp_path / "golden.xlsx"))


def test_another_byte_is_another_golden_set(tmp_path: Path) -> None:
    one = read_golden(written(tmp_path, TABLE))
    assert read_golden(written(tmp_path, TABLE)) == one
    assert read_golden(written(tmp_path, TABLE.replace("colour,1", "colour,2"))).digest != one.digest


def test_recall_is_the_share_of_what_could_be_found() -> None:
    assert recall_at(1, [7, 3], {3, 7}) == 1
    assert recall_at(1, [1, 3], {3, 7}) == 0
    assert recall_at(10, list(range(10)), {3, 7, 20}) == pytest.approx(2 / 3)
    assert recall_at(2, [5, 6, 1], set(range(10))) == 1  # two of ten, and two is all that two places hold
    with pytest.raises(ValueError, match="nothing is relevant"):
        recall_at(10, [1], set())
