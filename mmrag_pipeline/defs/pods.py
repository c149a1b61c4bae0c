"""What Kubernetes gives the pods of a job's runs, as the tag that K8sRunLauncher reads; elsewhere nobody reads it."""

from typing import Any

from mmrag_pipeline.settings import load_settings

TAG = "dagster-k8s/config"


def pod_tags(job: str) -> dict[str, Any]:
    """Tags of a job, from MMRAG_PODS."""
    pods = load_settings().pods or {}
    return {TAG: pods[job]} if job in pods else {}
