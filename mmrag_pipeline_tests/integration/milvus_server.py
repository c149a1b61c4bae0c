"""The packaged Milvus server (`milvus==2.3.5`, in the `dev` extra) as a fixture, in a temporary folder.

It listens on every interface, whatever its `ip` keys say; therefore authorisation is on with a password of
its own, every port is random, and it lives no longer than the tests.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmrag_pipeline_tests.integration.processes import die_with_parent, free_ports

READY_S = 120
_COMPONENTS = (
    "rootCoord",
    "proxy",
    "queryCoord",
    "queryNode",
    "indexCoord",
    "indexNode",
    "dataCoord",
    "dataNode",
)


class MilvusServer:
    """One server process. `stop` keeps its data; `start` after it is a restart on the same port."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.token = "root:Milvus"
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    @property
    def port(self) -> int:
        return self._port

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start and wait until it answers; a collection may need half a minute more after a restart."""
        from milvus import _initialize_data_files

        _initialize_data_files(str(self.folder))
        binary = self.folder / "bin" / "milvus"
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [binary, "run", "standalone"],
                cwd=self.folder,
                env=os.environ
                | {
                    "DEPLOY_MODE": "STANDALONE",
                    "METRICS_PORT": str(self._health_port),
                    "MILVUS_RUN_DIR": str(self.folder / "run"),
                    "LD_LIBRARY_PATH": str(binary.parent),
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + READY_S
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the Milvus server did not start:\n{tail}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it at once (SIGKILL: it takes its time otherwise); acknowledged writes survive that."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def set_password(self) -> None:
        """Replace the password that everybody knows."""
        from pymilvus import MilvusClient

        password = secrets.token_hex(12)
        client = MilvusClient(self.uri, token=self.token, timeout=30, dedicated=True)
        try:
            client.update_password("root", "Milvus", password)
        finally:
            client.close()
        self.token = f"root:{password}"

    def _configure(self) -> None:
        from milvus import MilvusServerConfig

        config = MilvusServerConfig(data_dir=str(self.folder))
        names = [key for key in config.configurable_items if key.endswith("_port")]
        *ports, peer, self._health_port = free_ports(len(names) + 2)
        config.update(**dict(zip(names, ports, strict=True)))
        config.resolve_all_listen_ports()
        self._port, etcd = config.get("proxy_port"), config.get("etcd_port")
        config.set("authorization_enabled", True)
        for component in _COMPONENTS:
            config.set(f"{component}.ip", "127.0.0.1")
        config.resolve()
        configs = self.folder / "configs"
        (configs / "etcd.yaml").write_text(
            f"name: default\n"
            f"data-dir: {self.folder}/data/etcd.data\n"
            f"listen-client-urls: http://127.0.0.1:{etcd}\nadvertise-client-urls: http://127.0.0.1:{etcd}\n"
            f"listen-peer-urls: http://127.0.0.1:{peer}\ninitial-advertise-peer-urls: http://127.0.0.1:{peer}\n"
            f"initial-cluster: default=http://127.0.0.1:{peer}\n"
        )
        main = configs / "milvus.yaml"  # its template has no place for the path of etcd's own configuration
        text = main.read_text()
        assert text.count("\n  use:\n    embed: true") == 1
        main.write_text(
            text.replace(
                "\n  use:\n    embed: true",
                f"\n  config:\n    path: {configs}/etcd.yaml\n  use:\n    embed: true",
            )
        )

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/healthz", timeout=5) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[MilvusServer]:
    """A server with a password of its own, killed on the way out."""
    server = MilvusServer(folder)
    try:
        server.start()
        server.set_password()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """One server for the session; a test that stops a server must start its own with `running_server`."""
    pytest.importorskip("milvus", reason="the packaged server is in the dev extra: pip install milvus==2.3.5")
    with running_server(tmp_path_factory.mktemp("milvus-server")) as server:
        yield server
