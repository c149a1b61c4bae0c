"""A folder with 5% broken files: who gets to the end, what has a vector then, and who says what is wrong.

A side that does not get to the end is run again without the two decompression bombs.
"""

from __future__ import annotations

import signal
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import photos
from benchmarks.drop import drop_folder
from benchmarks.embed_folder.sides import Embedded, Side
from benchmarks.report import Table

GOOD = 152
TIMEOUT_S = 120.0
"""Several times what a side needs that gets to the end."""
_SHAPE = (640, 480)
_TEXT = b"Dear photographer, please send the pictures of the lamps again.\n" * 40
_PAGE = b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>\n"


def make(data: Path, *, good: int = GOOD, bombs: bool = True) -> tuple[Path, list[str]]:
    """A library of `good` pictures and what is broken, and the names of the latter; made once."""
    broken = _broken() if bombs else {name: each for name, each in _broken().items() if "bomb" not in name}
    library = data / f"broken-{good}-{len(broken)}"
    done = library.with_suffix(".done")
    if not done.exists():
        folder = drop_folder(library)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(good):
            (folder / f"{number:05d}.jpg").write_bytes(photos.jpeg(photos.photo(number, _SHAPE)))
        for name, each in broken.items():
            (folder / name).write_bytes(each)
        done.touch()
    return library, sorted(broken)


def table(data: Path, sides: Mapping[str, Side], *, good: int = GOOD, again: bool = True) -> Table:
    """Run every side, one that fails `again` without the bombs; none may raise because its process failed."""
    rows = []
    for side, embed in sides.items():
        for bombs in (True, False) if again else (True,):
            library, broken = make(data, good=good, bombs=bombs)
            done = embed(library)
            rows.append(_row(side, done, broken, good=good, bombs=bombs))
            if not done.cost.returncode:
                break
    share = len(_broken()) / (good + len(_broken()))
    return Table(
        f"A folder of {good} pictures in which {share:.0%} of the files are broken ({', '.join(sorted(_broken()))})",
        [
            "side",
            "folder",
            "gets to the end",
            "pictures with a vector",
            "broken files with one",
            "broken files it names",
        ],
        rows,
    )


def _row(side: str, done: Embedded, broken: list[str], *, good: int, bombs: bool) -> list[str]:
    with_vector = set(done.rows.names)
    vectors = sorted(with_vector & set(broken))
    named = [name for name in broken if name in done.said]
    return [
        side,
        "all of it" if bombs else "without the bombs",
        "yes" if not done.cost.returncode else f"no: {_last_words(done.cost.returncode, done.cost.output)}",
        f"{len(with_vector - set(broken))} of {good}",
        f"{len(vectors)} of {len(broken)}" + (f" ({', '.join(vectors)})" if vectors else ""),
        f"{len(named)} of {len(broken)}",
    ]


def _last_words(returncode: int, output: str) -> str:
    """The error that ended a process, without the folders of this machine."""
    if returncode < 0:
        return f"it was still there after {TIMEOUT_S:g} s" if returncode == -signal.SIGKILL else f"signal {-returncode}"
    errors = [line.strip() for line in output.splitlines() if "Error" in line and not line.startswith(" ")]
    words = errors[-1] if errors else f"exit status {returncode}"
    return " ".join(Path(word.strip("'\"")).name if "/" in word else word for word in words.split())[:160]


def _broken() -> dict[str, bytes]:
    whole = photos.jpeg(photos.photo(10_000, _SHAPE))
    return {
        "bomb.jpg": _png(30_000, 30_000),
        "bomb-header.jpg": _png(65_000, 65_000, data=False),
        "empty.jpg": b"",
        "half.jpg": whole[: len(whole) // 2],
        "start.jpg": whole[:300],
        "noise.jpg": np.random.default_rng(20261127).bytes(50_000),
        "page.jpg": _PAGE,
        "text.jpg": _TEXT,
    }


def _png(width: int, height: int, *, data: bool = True) -> bytes:
    """A black PNG of one bit a pixel, packed small; or only what it claims to be."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    if not data:
        return start
    pack, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    packed = b"".join([*(pack.compress(row * 100) for _ in range(height // 100)), pack.flush()])
    return start + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
