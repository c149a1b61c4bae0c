"""What the numbers were measured on: processor, cores, load, versions of both sides."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import peers

_OURS = ("torch", "open_clip_torch", "pillow", "simplejpeg", "numpy", "pyarrow", "pymilvus", "milvus-lite")
_MATTERING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "asimd", "bf16")
"""Instructions that decide how fast a model can run."""


def describe() -> dict[str, Any]:
    """Processor, cores, memory and versions, as they go into every result."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in _MATTERING if name in _cpuinfo("flags", "Features").split()],
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _OURS},
        "peer_versions": peers.versions(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> list[float]:
    """Load average over 1, 5 and 15 minutes: above the number of cores, the wall times are not to be trusted."""
    return [round(value, 2) for value in os.getloadavg()]


def _cpuinfo(*names: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
