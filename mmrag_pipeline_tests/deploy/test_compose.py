"""docker-compose.yml and deploy/example.env: valid, pinned, healthy, closed to the outside, and without a secret."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mmrag_pipeline.settings import Settings, variable
from mmrag_pipeline_tests.deploy.compose import (
    COMPOSE,
    ROOT,
    Missing,
    example_values,
    interpolated,
    read_services,
    variables,
)

SECRETS = ("DAGSTER_PG_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MILVUS_ROOT_PASSWORD")
FILLED = {name: f"value-of-{name}" for name in SECRETS}
SERVICES = read_services()


def test_it_is_a_compose_file_by_the_specification_s_own_schema() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is in the dev extra: make install")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_watched_restarted_and_reachable_from_this_host_only(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":(v?\d+\.\d+|RELEASE\.\d{4})", service["image"]), "its image has no version"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    if name == "setup":  # it ends
        assert service["restart"].startswith("on-failure") and service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped" and "stop_grace_period" in service
        check = service["healthcheck"]
        assert check["test"][0] == "CMD" and check.keys() >= {"interval", "timeout", "retries", "start_period"}
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES and how["condition"] in ("service_healthy", "service_completed_successfully")


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_container_of_ours_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service, "the image says who it runs as"
    assert service["init"], "a signal has to reach what runs"
    mounts = [mount.rsplit(":", 2) for mount in service["volumes"]]
    assert all(mount[-1] == "ro" for mount in mounts if not mount[0].startswith("store")), mounts


def test_only_the_code_server_sees_the_pipeline_s_settings() -> None:
    given = {name for name, service in SERVICES.items() if "env_file" in service}
    assert given == {"code", "code-gpu"}
    for name, service in SERVICES.items():
        if name not in given:
            assert not [each for each in service.get("environment", {}) if each.startswith("MMRAG_")], name


def test_the_store_is_shared_by_all_that_write_or_show_what_runs_print() -> None:
    for name in ("setup", "code", "code-gpu", "webserver", "daemon"):
        assert "store:/data/store" in SERVICES[name]["volumes"], name
        assert SERVICES[name]["environment"]["DAGSTER_ARTIFACTS"].startswith("/data/store/")


def test_with_and_without_gpu_is_one_service_in_two_profiles() -> None:
    cpu, gpu = SERVICES["code"], SERVICES["code-gpu"]
    assert (cpu["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
    assert {key for key in cpu.keys() | gpu.keys() if cpu.get(key) != gpu.get(key)} == {
        "profiles",
        "image",
        "build",
        "deploy",
    }
    assert cpu["networks"]["default"]["aliases"] == ["code"]  # the host of deploy/workspace.yaml
    server = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    wanted = {f"--location-name={server['location_name']}", f"--port={server['port']}"}
    assert server["host"] == "code" and wanted <= set(cpu["command"])


def test_nothing_secret_is_in_the_file_and_every_secret_is_asked_for() -> None:
    for path, value in _values(SERVICES):
        if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|API_KEY|ROOT_USER", path):
            assert str(value).startswith("${"), path
    for name in SECRETS:
        with pytest.raises(Missing, match=rf"^{name}: set it in deploy/.env"):
            interpolated(SERVICES, example_values() | FILLED | {name: ""})


def test_the_example_filled_in_is_enough() -> None:
    services = interpolated(SERVICES, example_values() | FILLED)
    assert "${" not in yaml.safe_dump(services)
    assert services["code"]["environment"]["MMRAG_MILVUS_TOKEN"] == f"root:{FILLED['MILVUS_ROOT_PASSWORD']}"
    own = interpolated(SERVICES, example_values() | FILLED | {"MMRAG_MILVUS_TOKEN": "mmrag:other"})
    assert own["code"]["environment"]["MMRAG_MILVUS_TOKEN"] == "mmrag:other"


def test_the_example_names_what_is_known_and_all_that_is_needed() -> None:
    named, known = example_values().keys(), {variable(field) for field in Settings.model_fields}
    assert named - known - variables().keys() == set()
    assert {name for name, needed in variables().items() if needed} - named == set()
    assert {"MMRAG_ALERT_WEBHOOK", "MMRAG_ALERT_STALE_H", "MMRAG_DAGSTER_URL"} <= named
    secret = {variable(name) for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert [name for name in secret & named if example_values()[name]] == []
    assert [name for name in SECRETS if name.endswith("PASSWORD") and example_values()[name]] == []


def test_the_example_s_settings_are_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in example_values().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.autostart and settings.image_backend == "preview" and settings.alert_webhook is None


def test_what_is_set_in_the_file_is_a_setting_too() -> None:
    known = {variable(field) for field in Settings.model_fields}
    for name, service in SERVICES.items():
        ours = {each for each in service.get("environment", {}) if each.startswith("MMRAG_")}
        assert ours <= known, name


def test_a_secret_can_not_get_into_an_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and "**/.env" in ignored
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == kept, "what .dockerignore lets through is what the Dockerfile copies"
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_is_nobody_s_and_has_what_a_deployment_needs() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    user = re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes only believes a number"
    extras = set(re.search(r"'\.\[(.*)\]'", dockerfile)[1].split(","))
    assert {"server", "kubernetes", "s3"} <= extras <= _extras()
    assert dockerfile.count("--constraint constraints.txt") == dockerfile.count("pip install")


def _extras() -> set[str]:
    import tomllib

    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def _values(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of the environments, with the names on the way."""
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if isinstance(value, dict):
            yield from _values(value, f"{path}/{name}")
        elif path.endswith("/environment"):
            yield f"{path}/{name}", value
