"""Names of drops, and what the folders say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.listing import signature_of
from mmrag_pipeline_tests.media.conftest import DROP, save

LETTERS = "abcxyz0189"
HALF = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + "-", max_size=12))


@given(HALF, HALF)
def test_a_key_names_one_drop(line: str, name: str) -> None:
    drop = Drop(line, name)
    assert Drop.parse(drop.key) == drop


@given(st.text(max_size=30))
def test_any_text_is_a_drop_or_a_sentence(key: str) -> None:
    try:
        assert Drop.parse(key).key == key
    except UserError as error:
        assert repr(key) in str(error)


@pytest.mark.parametrize("key", ["lunar", "lunar_x", "Lunar__x", "lunar__x/..", "__x", "a__b__c", "a__b\n", "-a__b"])
def test_bad_keys(key: str) -> None:
    with pytest.raises(UserError, match="not a valid name"):
        Drop.parse(key)


def test_drops_and_names_that_cannot_be_one(folder: Path) -> None:
    library = MediaLibrary(str(folder.parents[1]))
    (folder.parents[1] / "Bad Line" / "x").mkdir(parents=True)
    listing = library.drops()
    assert listing.drops == [DROP] and listing.malformed == ["Bad Line/x"]


def test_missing_and_empty_libraries_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set MMRAG_MEDIA"):
        MediaLibrary(str(tmp_path / "nowhere")).drops()
    with pytest.raises(UserError, match="is the share mounted"):
        MediaLibrary(str(tmp_path)).drops()


def test_the_signature_follows_the_files(folder: Path) -> None:
    library = MediaLibrary(str(folder.parents[1]))
    save(folder / "a.png")
    before = signature_of(library.entries(DROP))
    assert signature_of(library.entries(DROP)) == before
    (folder / "a.png").chmod(0o600)  # what could not be read may be readable now
    assert signature_of(library.entries(DROP)) != before
    before = signature_of(library.entries(DROP))
    (folder / "a.png").rename(folder / "b.png")
    assert signature_of(library.entries(DROP)) != before
