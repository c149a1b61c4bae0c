"""How every verb of the command line speaks: two consoles, sentences instead of tracebacks, text as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from mmrag_pipeline.errors import UserError

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def told_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Show a `UserError` as its one sentence and leave with exit code 2; other errors keep their traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            err.print(f"[bold red]error:[/] {plain(str(error))}", highlight=False)
            raise typer.Exit(2) from None

    return run


def plain(text: str) -> str:
    """Text from files and errors as it is: brackets are not markup, control characters not terminal codes."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() or char == "\n" else "?" for char in text))


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """One bar on stderr for each thing that is counted, gone afterwards; called with (what, done, in all).

    While nobody knows how many there are, None.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(plain(what), total=None)
            bars.update(tasks[what], completed=done, total=total)

        yield progress
