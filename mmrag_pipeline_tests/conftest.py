"""Fixtures that every room shares."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmrag_pipeline.settings import PREFIX
from mmrag_pipeline_tests.integration.small_disk import NoMount, SmallDisk, small_disk
from mmrag_pipeline_tests.pipeline import Pipeline, new_pipeline

os.environ.pop("COLUMNS", None)  # workers of pytest-xdist have it, and then the CLI's consoles keep it for good


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own MMRAG_* variables, .env file, keys and store must not decide what a test does."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(PREFIX) and name != "MMRAG_SHARED_DATA":
            monkeypatch.delenv(name)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "MILVUS_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos, hostile files and videos that lie beside the checkout, not in it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("MMRAG_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"needs the shared test data, absent at {path}; set MMRAG_SHARED_DATA to its folder")
    return path


@pytest.fixture(scope="session")
def small_clip(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shared small CLIP as a `local-dir:` model name; its preprocessing is written into its config."""
    from mmrag_pipeline.demo.train.export import recipe_model

    return recipe_model(shared_data / "clip-weights", tmp_path_factory.mktemp("small-clip"))


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """An empty pipeline on embedded defaults, with the demo model."""
    return new_pipeline(tmp_path, monkeypatch)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 64 MB at `tmp_path/store`; skips the test where none can be mounted."""
    with contextlib.ExitStack() as stack:
        try:
            mounted = stack.enter_context(small_disk(tmp_path / "store", megabytes=64))
        except NoMount as error:
            pytest.skip(str(error))
        yield mounted
