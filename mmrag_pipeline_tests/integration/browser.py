"""A real browser for what people look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = "MMRAG_CHROMIUM"


NONE = f"needs a browser: install chromium (Debian: apt install chromium) or name one in {CHROMIUM}"


def chromium_path() -> str | None:
    return os.environ.get(CHROMIUM) or shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window; skips the test where there is none."""
    path = chromium_path()
    if path is None:
        pytest.skip(NONE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()
