"""The containers of our own image as processes: command, environment and health check of docker-compose.yml, with what
is a volume, a host or a port there replaced by a folder or an address here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmrag_pipeline_tests.deploy.compose import ROOT, example_values, interpolated, read_services
from mmrag_pipeline_tests.integration.live_dagster import LiveDagster
from mmrag_pipeline_tests.integration.milvus_server import MilvusServer
from mmrag_pipeline_tests.integration.postgres import Postgres

PATIENCE_S = 600
"""Nothing takes so long, also not on a machine that does much else."""


class ComposedDagster(LiveDagster):
    """`setup`, `code`, `webserver` and `daemon`. A process sees what its container would, and no other variable."""

    def __init__(self, root: Path, postgres: Postgres, milvus: MilvusServer, env_file: Mapping[str, str]):
        home = root / "home"
        super().__init__(home, {}, {})
        shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
        for folder in ("store", "media", "campaigns"):
            (root / folder).mkdir(exist_ok=True)
        workspace = (ROOT / "deploy" / "workspace.yaml").read_text()
        self._workspace.write_text(
            workspace.replace("host: code", "host: 127.0.0.1").replace("port: 4000", f"port: {self._code_port}")
        )
        passwords = {"DAGSTER_PG_PASSWORD": postgres.password, "MILVUS_ROOT_PASSWORD": milvus.token.split(":")[1]}
        files = {"MEDIA_FOLDER": "/data/media", "CAMPAIGNS_FOLDER": "/data/campaigns", "MINIO_ROOT_PASSWORD": "unused"}
        self._env_file = example_values() | files | passwords | dict(env_file)
        self._services = interpolated(read_services(), self._env_file)
        self._here = [  # in this order
            (r"/opt/dagster\b", str(home)),
            (r"/data/(?=store|media|campaigns)", f"{root}/"),
            (r"http://milvus:19530", milvus.uri),
            (r"\b0\.0\.0\.0\b", "127.0.0.1"),
            (r"^postgres$", "127.0.0.1"),
            (r"^5432$", str(postgres.port)),
            (r"\b4000\b", str(self._code_port)),
            (r"\b3000\b", str(self._web_port)),
        ]

    def command(self, name: str) -> list[str | Path]:
        return self._replaced(self._services[name]["command"])

    def environment(self, name: str) -> Mapping[str, str]:
        service = self._services[name]
        seen = {
            # In the image: the tools, and the package installed.
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "HOME": str(self.home),
        }
        if "env_file" in service:
            assert service["env_file"] == ["deploy/.env"], service["env_file"]
            seen |= self._env_file
        return seen | {key: self._replaced(str(value)) for key, value in service["environment"].items()}

    def is_ready(self, name: str) -> bool:
        kind, *check = self._replaced(self._services[name]["healthcheck"]["test"])
        assert kind == "CMD", kind
        done = subprocess.run(check, env=dict(self.environment(name)), cwd=self.home, capture_output=True)
        return done.returncode == 0 and (name != "webserver" or self._serves())

    def set_up(self) -> str:
        """Run `setup` to its end; returns what it said.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(
            self.command("setup"),
            env=dict(self.environment("setup")),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        return done.stdout

    def end(self, name: str) -> int:
        """SIGTERM to the process alone, and when it has ended SIGKILL to what it left behind, as `docker compose stop`
        does; returns its exit status.
        """
        process = self._processes.pop(name)
        process.terminate()
        status = process.wait(timeout=PATIENCE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return status

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._replaced(each) for each in value]
        for there, here in self._here:
            value = re.sub(there, here, value)
        return value


@contextlib.contextmanager
def composed_dagster(
    root: Path, postgres: Postgres, milvus: MilvusServer, env_file: Mapping[str, str]
) -> Iterator[ComposedDagster]:
    """`docker compose up`, in its order; everything is killed on the way out."""
    dagster = ComposedDagster(root, postgres, milvus, env_file)
    try:
        dagster.set_up()
        for name in ("code", "webserver", "daemon"):
            dagster.start(name)
        yield dagster
    finally:
        dagster.stop()
