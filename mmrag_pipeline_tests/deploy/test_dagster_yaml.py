"""deploy/dagster.yaml as dagster itself reads it, and that it agrees with the one for a single machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

import mmrag_pipeline
from mmrag_pipeline_tests.deploy.compose import ROOT, read_services

DEPLOYED, LOCAL = ROOT / "deploy" / "dagster.yaml", Path(mmrag_pipeline.__file__).parent / "dagster.yaml"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Dagster refuses a key or a value that it does not know."""
    for name, value in read_services()["daemon"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    shutil.copy(DEPLOYED, tmp_path / "dagster.yaml")
    found, _ = dagster_instance_config(str(tmp_path))
    return dict(found)


def test_dagster_takes_it(settings: dict[str, Any]) -> None:
    assert settings["concurrency"]["pools"]["default_limit"] == 1
    retries = settings["run_retries"]
    assert retries["enabled"] and not retries["retry_on_asset_or_op_failure"], "a failed step may have cost money"
    assert retries["max_retries"] == 1, "the second try of a run that lost the database may be repeated for any failure"
    assert settings["run_queue"]["max_user_code_failure_retries"] > 0, "a restarted code server fails what is queued"
    monitoring = settings["run_monitoring"]
    assert monitoring["enabled"] and monitoring["free_slots_after_run_end_seconds"] > 0
    assert monitoring["max_runtime_seconds"] > 0, "a run that hangs would hold its drop for ever"


def test_a_misspelt_key_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("run_monitoring: {enabled: true, start_timeout: 5}\n")
    with pytest.raises(Exception, match="start_timeout"):
        dagster_instance_config(str(tmp_path))


def test_its_password_stays_a_reference(settings: dict[str, Any]) -> None:
    database = settings["storage"]["postgres"]["postgres_db"]
    assert database["password"] == {"env": "DAGSTER_PG_PASSWORD"}
    # SQLAlchemy 2.1's own choice for `postgresql` is a driver that dagster-postgres does not bring.
    assert database["scheme"] == "postgresql+psycopg2"


def test_its_variables_are_those_of_the_compose_file() -> None:
    known = read_services()["daemon"]["environment"].keys()
    assert set(_references(yaml.safe_load(DEPLOYED.read_text()))) <= known


def test_what_has_a_reason_on_one_machine_has_it_deployed_too() -> None:
    local, deployed = (yaml.safe_load(path.read_text()) for path in (LOCAL, DEPLOYED))
    for key in ("telemetry", "nux", "concurrency", "run_retries"):
        assert deployed[key] == local[key], key
    chart = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "dagster-values.yaml").read_text())
    assert (
        chart["concurrency"]["runs"]["tagConcurrencyLimits"] == local["concurrency"]["runs"]["tag_concurrency_limits"]
    )
    assert chart["dagsterDaemon"]["runRetries"] == {"enabled": True, "maxRetries": 1, "retryOnAssetOrOpFailure": False}
    assert chart["postgresql"]["postgresqlScheme"] == deployed["storage"]["postgres"]["postgres_db"]["scheme"]


def _references(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        if tree.keys() == {"env"}:
            return [tree["env"]]
        return [name for value in tree.values() for name in _references(value)]
    return []
