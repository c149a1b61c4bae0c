"""Values that people, catalogues and attackers could ask for: always the same ones, no two alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from random import Random

NASTY = [
    'x" or 1==1 or "', "x' or 1==1 or '", '\\', '\\"', '"', '""', '\\\\', 'a\\', "'", '\n', 'a\nb',
    '\r\n', '\t', '\\n', '") or (id != "', '%', '_', 'like %', '{x}', '{}', '$meta', 'é', "e\u0301", '☃',
    '😀', '\u2028', '\x85', '\x01', '\x7f', '\ufeff', '\u202e', 'true', 'null', '-1', '1e5', '[1]', '/* */',
    '--', ';', 'id in []', '?', '??/', '\\x41', '\\u0041', '\\101', ' ', '  lead', 'trail  ', "x" * 256,
]  # fmt: skip
FRAGMENTS = [
    *NASTY, "or", "and", "==", "(", ")", "V-1", "sku", "id", "not", "in", "[", "]", ",", " || ", " && ", "!=",
    "array_contains(tags, ", 'tags[0] == "', "exists $meta", "json_contains", "{sku}", "\\U0001F600", "\\0", "\\'",
    "0x41", "1_000", "NaN", "#", "//", "`", "\v", "\f", "\x1b[31m", "\u200b", "\u0130", "ß", "Ⅷ", "\ufffd", "\uffff",
]  # fmt: skip
IMPOSSIBLE = ["\0", "a\0b", "x" * 257, "é" * 129, "y" * 65_536, "\ud800", '"' * 65_536, "\\" * 65_536, "😀" * 16_384]
"""No row can have these: NUL, half a surrogate pair, or more bytes than a field holds."""


def hostile_values(count: int) -> list[str]:
    """The first `count` of a fixed sequence; about one in ten is impossible."""
    random = Random(20261127)
    values = dict.fromkeys([*NASTY, *IMPOSSIBLE])
    short = list(NASTY)  # what the next ones are made of
    while len(values) < count:
        value = random.choice(_MAKERS)(random, random.choice(short))
        if value and value not in values:
            values[value] = None
            if len(value) <= 80:
                short.append(value)
    return list(values)[:count]


def fits(value: str, limit: int) -> bool:
    """Whether a field of `limit` bytes can have this value."""
    try:
        return len(value.encode()) <= limit and "\0" not in value
    except UnicodeEncodeError:
        return False


def _of_fragments(random: Random, _: str) -> str:
    return "".join(random.choices(FRAGMENTS, k=random.randint(2, 6)))


def _any_unicode(random: Random, _: str) -> str:
    """From every plane, the controls and unassigned ones too."""
    tops = random.choices([0x80, 0x800, 0xD800, 0x110000], k=random.randint(1, 30))
    return "".join(chr(point) for point in map(random.randrange, tops) if not 0xD800 <= point < 0xE000)


def _of_quotes(random: Random, _: str) -> str:
    return "".join(random.choices("\"'\\\n\t\r or1=()%_{}$", k=random.randint(1, 40)))


def _beginning(random: Random, other: str) -> str:
    return other[: random.randint(1, len(other))]


def _end(random: Random, other: str) -> str:
    return other[random.randrange(len(other)) :]


def _in_another_case(random: Random, other: str) -> str:
    return random.choice([str.upper, str.lower, str.title, str.swapcase, str.casefold])(other)


def _in_another_form(random: Random, other: str) -> str:
    return unicodedata.normalize(random.choice(["NFC", "NFD", "NFKC", "NFKD"]), other)


def _with_a_tail(random: Random, other: str) -> str:
    return other + random.choice(["\\", "\\\\", "\\\\\\", " ", "\n", '"', '\\"', '"\\', "0", "\0"])


def _of_a_size(random: Random, other: str) -> str:
    """Exactly as long as a field may be, one byte more, or far more."""
    size = random.choice([128, 255, 256, 256, 257, 258, 65_536])
    filler = random.choice(["x", "é", "☃", "😀", "\\", '"', "\n"])
    room = size - len(other.encode("utf-8", "replace"))
    return other + filler * (room // len(filler.encode())) + "x" * (room % len(filler.encode()))


_MAKERS: list[Callable[[Random, str], str]] = [
    _of_fragments, _of_fragments, _any_unicode, _any_unicode, _of_quotes, _beginning, _end, _in_another_case,
    _in_another_form, _with_a_tail, _of_a_size,
]  # fmt: skip
