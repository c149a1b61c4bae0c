"""deploy/kubernetes/: what our own code and dagster-k8s make of it. Chart and operator check nothing here;
docs/deploy.md says how their schemas were tried.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type

from mmrag_pipeline.defs.pods import TAG, pod_tags
from mmrag_pipeline.settings import Settings, variable
from mmrag_pipeline_tests.deploy.compose import ROOT, read_services

FOLDER = ROOT / "deploy" / "kubernetes"
VALUES, SETTINGS, MILVUS = (
    yaml.safe_load((FOLDER / name).read_text()) for name in ("dagster-values.yaml", "settings.yaml", "milvus.yaml")
)
JOBS = ("ingest_drop", "run_campaign", "submit_campaign", "collect_campaign")
ON_LEDGER = JOBS[1:]
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run's pod by job, as the chart's K8sRunLauncher would ask the cluster for it."""
    pytest.importorskip("dagster_k8s", reason="dagster-k8s is in the dev extra: make install")
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.job import construct_dagster_k8s_job

    monkeypatch.setenv("MMRAG_PODS", SETTINGS["data"]["MMRAG_PODS"])
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    values = dict(VALUES["runLauncher"]["config"]["k8sRunLauncher"])
    config = {  # as the chart's template writes it
        "load_incluster_config": False,
        "kubeconfig_file": str(tmp_path / "kubeconfig"),
        "image_pull_policy": values["imagePullPolicy"],
        "service_account_name": "dagster",
        "dagster_home": VALUES["global"]["dagsterHome"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": VALUES["global"]["postgresqlSecretName"],
        "env_config_maps": [each["name"] for each in values["envConfigMaps"]],
        "env_secrets": [each["name"] for each in values["envSecrets"]],
        "volumes": values["volumes"],
        "volume_mounts": values["volumeMounts"],
        "run_k8s_config": {_snake(key): value for key, value in values["runK8sConfig"].items()},
    }
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
    assert checked.success, checked.errors
    launcher, made = K8sRunLauncher.from_config_value(None, checked.value), {}
    for name in (*JOBS, "nightly_reindex"):
        tags = dg.JobDefinition(name=name, graph_def=dg.GraphDefinition(name), tags=pod_tags(name)).tags
        context = launcher.get_container_context_for_run(dg.DagsterRun(job_name=name, tags=tags))
        job = context.get_k8s_job_config(job_image="image:1", run_launcher=launcher)
        made[name] = construct_dagster_k8s_job(job, ["dagster"], name, context.run_k8s_config).spec.template.spec
    return made


def test_a_run_that_embeds_gets_a_gpu_and_may_stand_where_gpus_are(pods: dict[str, Any]) -> None:
    pod = pods["ingest_drop"]
    assert pod.containers[0].resources.limits["nvidia.com/gpu"] == "1"
    assert pod.node_selector == {"mmrag/pool": "gpu"} and pod.tolerations[0].key == "nvidia.com/gpu"
    for name in (*ON_LEDGER, "nightly_reindex"):
        assert "nvidia.com/gpu" not in pods[name].containers[0].resources.limits, name


def test_what_pays_has_the_ledger_s_volume_and_nothing_else_has(pods: dict[str, Any]) -> None:
    folder = SETTINGS["data"]["MMRAG_LEDGER"].rpartition("/")[0]
    for name, pod in pods.items():
        mounted = folder in {mount.mount_path for mount in pod.containers[0].volume_mounts}
        assert mounted == (name in ON_LEDGER), name
    (server,) = VALUES["dagster-user-deployments"]["deployments"]
    assert folder in {mount["mountPath"] for mount in server["volumeMounts"]}
    assert {tuple(pods[name].node_selector.items()) for name in ON_LEDGER} == {tuple(server["nodeSelector"].items())}


def test_every_run_has_settings_secrets_weights_and_bounds(pods: dict[str, Any]) -> None:
    for name, pod in pods.items():
        (container,) = pod.containers
        sources = [source.config_map_ref or source.secret_ref for source in container.env_from]
        assert {source.name for source in sources} == {"mmrag-settings", "mmrag-secrets"}, name
        assert SETTINGS["data"]["HF_HOME"] in {mount.mount_path for mount in container.volume_mounts}
        assert container.resources.limits["memory"] and container.resources.requests["cpu"]
        assert pod.security_context.run_as_non_root and not container.security_context.allow_privilege_escalation


def test_nobody_is_root_and_writes_or_listens_where_only_root_may() -> None:
    (server,) = VALUES["dagster-user-deployments"]["deployments"]
    for pod in (server, VALUES["dagsterWebserver"], VALUES["dagsterDaemon"]):
        assert pod["podSecurityContext"]["runAsNonRoot"] and pod["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    web = VALUES["dagsterWebserver"]
    assert web["service"]["port"] == web["readinessProbe"]["httpGet"]["port"] >= 1024 and server["port"] >= 1024
    home = VALUES["global"]["dagsterHome"]
    assert re.search(
        rf"^ +&& chown \S+ mmrag:mmrag {home} ", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE
    )


def test_a_job_that_is_not_named_has_no_tag_and_elsewhere_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(pod_tags(name) == {} for name in JOBS)
    monkeypatch.setenv("MMRAG_PODS", SETTINGS["data"]["MMRAG_PODS"])
    assert pod_tags("nightly_reindex") == {} and pod_tags("ingest_drop").keys() == {TAG}


def test_its_settings_are_known_usable_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SETTINGS["data"]
    known = {variable(field) for field in Settings.model_fields}
    secret = {variable(name) for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert data.keys() - known == {"HF_HOME"} and not data.keys() & secret
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert set(settings.pods or {}) == set(JOBS)
    assert settings.clip_precision != "auto", "pods with and without a GPU would make vectors that never meet"


def test_versions_are_those_of_the_compose_file_and_no_secret_is_written_down() -> None:
    services = read_services()
    assert MILVUS["spec"]["components"]["image"] == services["milvus"]["image"]
    (server,) = VALUES["dagster-user-deployments"]["deployments"]
    images = [server["image"], VALUES["dagsterWebserver"]["image"], VALUES["dagsterDaemon"]["image"]]
    assert {image["tag"] for image in images} == {services["code"]["image"].rpartition(":")[2]}
    assert MILVUS["spec"]["config"]["common"]["security"]["authorizationEnabled"]
    for name in ("dagster-values.yaml", "settings.yaml", "milvus.yaml"):
        assert not re.search(r"(?i)(password|secretkey|accesskey|token|api_key): *[^\s{]", _code(name)), name


def _code(name: str) -> str:
    return "\n".join(line.partition("#")[0] for line in (FOLDER / name).read_text().splitlines())


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
