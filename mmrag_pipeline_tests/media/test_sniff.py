"""Formats by content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag_pipeline.media.foreign import look_closer
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import sniff


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "mp4"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm", "webm"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x88matroska", "mkv"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "heic"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1", "jpeg"),
    ],
)
def test_containers_are_told_apart_by_their_brands(head: bytes, format: str) -> None:
    assert sniff(head).format == format


@pytest.mark.parametrize(
    "head",
    [
        b"II*\0\x10\0\0\0CR\2\0",  # Canon raw: a TIFF whose first picture is a thumbnail
        b"\xef\xbb\xbf <?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"8BPS\0\1" + bytes(20),
    ],
)
def test_known_foreign_formats_say_what_to_do(head: bytes) -> None:
    with pytest.raises(MediaError, match="export it as") as error:
        sniff(head)
    assert error.value.reason == Reason.UNSUPPORTED_FORMAT


@given(st.binary(max_size=300))
def test_any_bytes_have_a_kind_or_a_reason(head: bytes) -> None:
    try:
        assert sniff(head).media_type in ("image", "video")
    except MediaError as error:
        assert error.reason in Reason


@given(st.sampled_from([b"8BPS", b"\0\0\1\0", b"abcd\x11\xaf"]), st.binary(max_size=300))
def test_a_closer_look_never_fails_on_garbage(magic: bytes, rest: bytes) -> None:
    try:
        look_closer(magic + rest, len(magic + rest), Limits())
    except MediaError as error:
        assert error.reason in (Reason.DECODE_ERROR, Reason.TOO_MANY_PIXELS)
