"""Debian's PostgreSQL as a fixture: a cluster of its own in a temporary folder, on a free port, gone with the tests.

PostgreSQL refuses to run as root, so as root its processes are those of the user `postgres`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrag_pipeline_tests.integration.processes import die_with_parent, free_ports

DAGSTER_YAML = Path(__file__).parents[2] / "deploy" / "dagster.yaml"
READY_S = 60
INSTALL = "PostgreSQL is not installed: apt-get install postgresql"
USER = DATABASE = "dagster"
"""As in deploy/dagster.yaml."""


def find_tools() -> Path | None:
    """The folder of initdb and postgres, or None; Debian keeps it off PATH."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class Postgres:
    """One server. `stop` keeps its data; `start` after it is a restart on the same port."""

    def __init__(self, folder: Path, tools: Path):
        self.port, self.password = free_ports(1)[0], secrets.token_hex(12)
        self._tools, self._data, self._log = tools, folder / "data", folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._as_server = _become("postgres", folder) if os.geteuid() == 0 else {}
        password = folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)  # in a folder that only its owner enters
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256", "--pwfile", password, "--no-sync")
        password.unlink()

    @property
    def environment(self) -> dict[str, str]:
        """What deploy/dagster.yaml reads."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_PASSWORD": self.password,
        }

    @property
    def config(self) -> dict[str, Any]:
        """What a dagster.yaml says to keep runs and events here: the storage of deploy/dagster.yaml."""
        return {"storage": yaml.safe_load(DAGSTER_YAML.read_text())["storage"]}

    def start(self) -> None:
        """Start and wait until it answers; the database is made the first time."""
        options = ("-p", str(self.port), "-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [self._tools / "postgres", "-D", self._data, *options],
                cwd=self._data,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
                **self._as_server,
            )
        deadline = time.monotonic() + READY_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        self._make_database()

    def stop(self) -> None:
        """As `docker compose restart` does: a fast shutdown, connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def answers(self) -> bool:
        check = [self._tools / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        return subprocess.run(check, capture_output=True, timeout=10).returncode == 0

    def query(self, sql: str) -> list[str]:
        """Rows of one statement, fields separated by `|`."""
        return self._psql(DATABASE, sql)

    def _make_database(self) -> None:
        if not self._psql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
            self._psql("postgres", f"CREATE DATABASE {DATABASE}")

    def _psql(self, database: str, sql: str) -> list[str]:
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database)
        said = subprocess.run(
            [self._tools / "psql", *address, "-v", "ON_ERROR_STOP=1", "-Atqc", sql],
            env=os.environ | {"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if said.returncode:
            raise RuntimeError(f"psql: {said.stderr.strip()}")
        return said.stdout.split("\n")[:-1]

    def _run(self, tool: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._tools / tool, *arguments], capture_output=True, text=True, timeout=120, cwd="/", **self._as_server
        )
        if done.returncode:
            raise RuntimeError(f"{tool}: {done.stderr.strip()}")


def _become(user: str, folder: Path) -> dict[str, int | list[int]]:
    """Arguments of `Popen` that make a process that user's, and the folder with it."""
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server, killed on the way out with its data.

    Raises:
        RuntimeError: PostgreSQL is not installed, or does not start.
    """
    tools = find_tools()
    if tools is None:
        raise RuntimeError(INSTALL)
    # Not under pytest's folders: those let only root in.
    with tempfile.TemporaryDirectory(prefix="mmrag-postgres-") as folder:
        server = Postgres(Path(folder), tools)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server for the tests of a file, skipped where it or dagster-postgres is not installed."""
    if find_tools() is None:
        pytest.skip(INSTALL)
    pytest.importorskip("dagster_postgres", reason="dagster-postgres is in the dev extra: make install")
    with running_postgres() as server:
        yield server
