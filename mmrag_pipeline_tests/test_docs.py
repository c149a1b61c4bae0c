"""The settings' page is that of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_of_settings_is_current() -> None:
    page = runpy.run_path(str(DOCS / "generate_settings.py"))["page"]()
    assert (DOCS / "settings.md").read_text() == page, "run: .venv/bin/python docs/generate_settings.py"
