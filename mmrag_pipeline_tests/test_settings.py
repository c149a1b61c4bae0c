"""Settings: typed, documented, masked, and a typing error is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.resources import ImageBackendResource, MilvusResource
from mmrag_pipeline.settings import DEMO_GOLDEN, Settings, load_settings, unknown_variables


def test_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert settings.clip_model == "demo"
    assert settings.image_backend == "preview"
    assert settings.milvus_address == ".mmrag/milvus.db"


def test_the_demo_library_has_a_golden_set_and_your_own_has_the_one_you_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().golden_file == str(DEMO_GOLDEN) and DEMO_GOLDEN.is_file()
    monkeypatch.setenv("MMRAG_MEDIA", "/media")
    assert load_settings().golden_file is None
    monkeypatch.setenv("MMRAG_GOLDEN", "/media/golden.csv")
    assert load_settings().golden_file == "/media/golden.csv"


def test_every_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_environment_wins_over_the_env_file_and_empty_means_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("MMRAG_CLIP_MODEL=clip-b32\nMMRAG_TIMEZONE=Europe/Berlin\n")
    monkeypatch.setenv("MMRAG_CLIP_MODEL", "fashion")
    monkeypatch.setenv("MMRAG_MEDIA", "")
    # load_dotenv writes to the environment: let monkeypatch put it back
    monkeypatch.setenv("MMRAG_TIMEZONE", "")
    monkeypatch.delenv("MMRAG_TIMEZONE")
    settings = load_settings()
    assert (settings.clip_model, settings.timezone, settings.media) == ("fashion", "Europe/Berlin", None)


def test_a_value_of_the_wrong_kind_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_CLIP_BATCH_SIZE", "many")
    with pytest.raises(UserError, match="MMRAG_CLIP_BATCH_SIZE is not usable"):
        load_settings()


def test_secrets_are_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_GEMINI_API_KEY", "AIza-very-secret")
    monkeypatch.setenv("MMRAG_MILVUS_TOKEN", "root:very-secret")
    settings = load_settings()
    assert "very-secret" not in repr(settings) + str(settings) + str(settings.model_dump())


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_MEDAI", "/media")
    monkeypatch.setenv("MMRAG_MEDIA", "/media")
    monkeypatch.delenv("MMRAG_SHARED_DATA", raising=False)  # the tests' own
    assert unknown_variables() == ["MMRAG_MEDAI"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MMRAG_TIMEZONE", "Mars/Phobos"),
        ("MMRAG_NIGHTLY_CRON", "at night"),
        ("MMRAG_MILVUS_URI", "http://root:hunter2@milvus:19530"),
        ("MMRAG_GEMINI_BASE_URL", "https://user:hunter2@proxy"),
    ],
)
def test_what_dagster_would_choke_on_or_show_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} is not usable") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_secrets_are_in_no_resource_repr() -> None:
    milvus = MilvusResource(uri="x.db", token="root:hunter2")
    images = ImageBackendResource(model="m", base_url="https://host", api_key="AIza-hunter2", ledger="l.sqlite")
    assert "hunter2" not in repr(milvus) + str(milvus) + repr(images) + str(images)
