"""A live Dagster: code server, webserver and daemon as three processes, driven as the UI drives them (GraphQL)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mmrag_pipeline_tests.integration.postgres import running_postgres
from mmrag_pipeline_tests.integration.processes import die_with_parent, free_ports

READY_S = 120.0
PATIENCE_S = 600.0
"""Nothing takes so long, also not on a machine that does much else."""
LOCATION, REPOSITORY = "mmrag_pipeline", "__repository__"
OVER = {"SUCCESS", "FAILURE", "CANCELED"}


class GraphqlError(RuntimeError):
    """The webserver answered with an error."""


@dataclass(frozen=True)
class Run:
    id: str
    job: str
    status: str
    tags: dict[str, str]
    started_at: float
    ended_at: float
    """Seconds since the epoch; 0 before that."""

    @property
    def partition(self) -> str:
        return self.tags.get("dagster/partition", "")


class LiveDagster:
    """Processes under one DAGSTER_HOME. Each may be killed and started again."""

    def __init__(self, home: Path, environment: Mapping[str, str], config: Mapping[str, Any]):
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        packaged = yaml.safe_load((resources.files("mmrag_pipeline") / "dagster.yaml").read_text())
        (home / "dagster.yaml").write_text(yaml.safe_dump(_merged(packaged, config)))
        self._code_port, self._web_port = free_ports(2)
        self._environment = os.environ | environment | {"DAGSTER_HOME": str(home)}
        self._workspace = home / "workspace.yaml"
        self._workspace.write_text(
            f"load_from:\n- grpc_server: {{host: 127.0.0.1, port: {self._code_port}, location_name: {LOCATION}}}\n"
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._web_port}"

    # processes

    def start(self, name: str) -> None:
        """Start one of `code`, `webserver`, `daemon`, `daemon-2`; returns when it answers where it can be asked."""
        with open(self.home / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                self.command(name),
                cwd=self.home,
                env=self.environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._until(name, lambda: self.is_ready(name))

    def command(self, name: str) -> list[str | Path]:
        tools, host = Path(sys.executable).parent, "127.0.0.1"
        code, web, workspace = str(self._code_port), str(self._web_port), self._workspace
        return {
            "code": [
                tools / "dagster",
                "code-server",
                "start",
                "-h",
                host,
                "-p",
                code,
                "-m",
                "mmrag_pipeline.definitions",
            ],
            "webserver": [tools / "dagster-webserver", "-h", host, "-p", web, "-w", workspace],
            "daemon": [tools / "dagster-daemon", "run", "-w", workspace],
        }[name.partition("-")[0]]

    def environment(self, name: str) -> Mapping[str, str]:
        return self._environment

    def is_ready(self, name: str) -> bool:
        if name == "code":
            check = [Path(sys.executable).parent / "dagster", "api", "grpc-health-check", "-p", str(self._code_port)]
            return subprocess.run(check, env=self._environment, capture_output=True).returncode == 0
        return name != "webserver" or self._serves()

    def kill(self, name: str) -> None:
        """SIGKILL to the process and everything that it started."""
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def _until(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{self.log(name)[-3000:]}")
            time.sleep(0.3)

    def _serves(self) -> bool:
        try:
            answer = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
        except (OSError, GraphqlError):
            return False
        entries = answer["workspaceOrError"].get("locationEntries", [])
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    # what a person does in the UI

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL request; returns `data`.

        Raises:
            GraphqlError: the answer holds errors.
        """
        request = urllib.request.Request(
            f"{self.address}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            body = json.load(answer)
        if body.get("errors"):
            raise GraphqlError(json.dumps(body["errors"])[:2000])
        return body["data"]

    def switch_on_sensor(self, name: str) -> None:
        self._mutate(
            "mutation($s: SensorSelector!) { done: startSensor(sensorSelector: $s) { __typename"
            " ... on PythonError { message } } }",
            s=_selector("sensorName", name),
        )

    def switch_off_sensor(self, name: str) -> None:
        self._switch_off("sensor", name)

    def switch_off_schedule(self, name: str) -> None:
        self._switch_off("schedule", name)

    def add_partition(self, partitions: str, key: str) -> None:
        """Add a key as the UI's "Add a partition" does."""
        repository = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
        self._mutate(
            "mutation($r: RepositorySelector!, $d: String!, $k: String!) { done: addDynamicPartition("
            "repositorySelector: $r, partitionsDefName: $d, partitionKey: $k) { __typename"
            " ... on PythonError { message } } }",
            r=repository,
            d=partitions,
            k=key,
        )

    def switch_on_schedule(self, name: str) -> None:
        self._mutate(
            "mutation($s: ScheduleSelector!) { done: startSchedule(scheduleSelector: $s) { __typename"
            " ... on PythonError { message } } }",
            s=_selector("scheduleName", name),
        )

    def future_ticks(self, schedule: str, *, after: float, count: int) -> list[float]:
        """When a schedule would tick next after a time, both in seconds since the epoch."""
        answer = self.ask(
            "query($s: ScheduleSelector!, $after: Float, $count: Int) { scheduleOrError(scheduleSelector: $s) {"
            " ... on Schedule { futureTicks(cursor: $after, limit: $count) { results { timestamp } } } } }",
            s=_selector("scheduleName", schedule),
            after=after,
            count=count,
        )
        return [tick["timestamp"] for tick in answer["scheduleOrError"]["futureTicks"]["results"]]

    def evaluate_schedule(self, name: str, at: float) -> list[dict[str, Any]]:
        """What a tick at a time (seconds since the epoch) would request: the UI's "Test schedule"."""
        answer = self._mutate(
            "mutation($s: ScheduleSelector!, $t: Float) { done: scheduleDryRun(selectorData: $s, timestamp: $t) {"
            " __typename ... on PythonError { message } ... on DryRunInstigationTick { evaluationResult {"
            " error { message } runRequests { runKey jobName tags { key value } } } } } }",
            s=_selector("scheduleName", name),
            t=at,
        )
        result = answer["evaluationResult"]
        if result["error"]:
            raise GraphqlError(result["error"]["message"])
        return result["runRequests"]

    def launch(self, job: str, *, partition: str = "", config: Mapping[str, Any] | None = None) -> str:
        """Launch a job; returns its run id."""
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        answer = self._mutate(
            "mutation($p: ExecutionParams!) { done: launchRun(executionParams: $p) { __typename"
            " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }"
            " ... on RunConfigValidationInvalid { errors { message } } } }",
            p={
                "selector": _selector("jobName", job),
                "runConfigData": dict(config or {}),
                "executionMetadata": {"tags": tags},
            },
        )
        return answer["run"]["runId"]

    def retry(self, run_id: str) -> str:
        """Launch a failed run again from where it failed, as the UI's "Re-execute from failure"; returns the run id."""
        answer = self._mutate(
            "mutation($p: ReexecutionParams!) { done: launchRunReexecution(reexecutionParams: $p) { __typename"
            " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            p={"parentRunId": run_id, "strategy": "FROM_FAILURE"},
        )
        return answer["run"]["runId"]

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill of assets as the UI's dialog does; returns its id."""
        answer = self._mutate(
            "mutation($p: LaunchBackfillParams!) { done: launchPartitionBackfill(backfillParams: $p) { __typename"
            " ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            p={"assetSelection": [{"path": [name]} for name in assets], "partitionNames": list(partitions)},
        )
        return answer["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        query = (
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename"
            " ... on PartitionBackfill { status } ... on PythonError { message } } }"
        )
        return self.ask(query, id=backfill)["partitionBackfillOrError"].get("status", "")

    def backfills(self) -> list[str]:
        """Ids of all backfills, newest first."""
        answer = self.ask(
            "query { partitionBackfillsOrError { ... on PartitionBackfills { results { id } }"
            " ... on PythonError { message } } }"
        )
        return [backfill["id"] for backfill in answer["partitionBackfillsOrError"]["results"]]

    def runs(self, job: str | None = None) -> list[Run]:
        """All runs, or those of a job, newest first."""
        answer = self.ask(
            "query($f: RunsFilter) { runsOrError(filter: $f, limit: 1000) { ... on Runs { results {"
            " runId jobName status startTime endTime tags { key value } } } ... on PythonError { message } } }",
            f={"pipelineName": job} if job else {},
        )
        return [
            Run(
                run["runId"],
                run["jobName"],
                run["status"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
                started_at=run["startTime"] or 0.0,
                ended_at=run["endTime"] or 0.0,
            )
            for run in answer["runsOrError"]["results"]
        ]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id == run_id)

    def step_started(self, run_id: str, step: str) -> bool:
        """Whether a step of a run has begun."""
        query = (
            "query($id: ID!) { runOrError(runId: $id) { ... on Run { stepStats { stepKey startTime } }"
            " ... on PythonError { message } } }"
        )
        stats = self.ask(query, id=run_id)["runOrError"].get("stepStats") or []
        return any(stat["stepKey"] == step and stat["startTime"] for stat in stats)

    def ticked_since(self, sensor: str, moment: float) -> bool:
        """Whether a tick of a sensor that began after a time (seconds since the epoch) has ended."""
        answer = self.ask(
            "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState {"
            " ticks(limit: 5) { status timestamp } } } } }",
            s=_selector("sensorName", sensor),
        )
        ticks = answer["sensorOrError"]["sensorState"]["ticks"]
        return any(tick["timestamp"] > moment and tick["status"] != "STARTED" for tick in ticks)

    def finished(self, run_id: str, *, within_s: float = PATIENCE_S) -> Run:
        """Wait for a run to end, however it does."""
        return self.wait_for(
            lambda: (run := self.run(run_id)).status in OVER and run, f"run {run_id} ends", within_s=within_s
        )

    def wait_for(
        self, true: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S, every_s: float = 1.0
    ) -> Any:
        """Ask every so often until the answer is true; returns it.

        Raises:
            TimeoutError: with what the processes said last.
        """
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):  # a process that is being restarted
                if answer := true():
                    return answer
            if time.monotonic() > deadline:
                said = "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self._processes)
                raise TimeoutError(f"waited {within_s:g} s until {what}\n{said}")
            time.sleep(every_s)

    def _instigator(self, kind: str, name: str) -> dict[str, Any]:
        """Its `id`, which the mutations for switching off want, its `status`, and that of its last tick."""
        key, type_ = f"{kind}Name", kind.capitalize()
        answer = self.ask(
            f"query($s: {type_}Selector!) {{ found: {kind}OrError({kind}Selector: $s) {{ ... on {type_} {{"
            f" {kind}State {{ id status ticks(limit: 1) {{ status }} }} }} }} }}",
            s=_selector(key, name),
        )
        return answer["found"][f"{kind}State"]

    def _switch_off(self, kind: str, name: str) -> None:
        """Until it is: a daemon in the middle of a tick writes "on" again when that ends."""
        mutation = "stopSensor" if kind == "sensor" else "stopRunningSchedule"
        looks = 0

        def is_off() -> bool:
            nonlocal looks
            state = self._instigator(kind, name)
            if state["status"] == "STOPPED":
                looks += all(tick["status"] != "STARTED" for tick in state["ticks"])
                return looks == 3
            looks = 0
            self._mutate(
                f"mutation($id: String) {{ done: {mutation}(id: $id) {{ __typename"
                " ... on PythonError { message } } }",
                id=state["id"],
            )
            return False

        self.wait_for(is_off, f"the {kind} {name} is off")

    def _mutate(self, mutation: str, **variables: Any) -> dict[str, Any]:
        done = self.ask(mutation, **variables)["done"]
        if "Error" in done["__typename"] or "Invalid" in done["__typename"] or "NotFound" in done["__typename"]:
            raise GraphqlError(json.dumps(done))
        return done


@contextlib.contextmanager
def live_dagster(
    home: Path, environment: Mapping[str, str], config: Mapping[str, Any] | None = None
) -> Iterator[LiveDagster]:
    """All three processes, killed on the way out. `config` is laid over the packaged dagster.yaml: shorter intervals,
    another storage. With LIVE_DAGSTER_STORAGE=postgres that is a PostgreSQL of its own.
    """
    with contextlib.ExitStack() as stack:
        if os.environ.get("LIVE_DAGSTER_STORAGE") == "postgres":
            server = stack.enter_context(running_postgres())
            environment, config = {**environment, **server.environment}, {**(config or {}), **server.config}
        dagster = LiveDagster(home, environment, config or {})
        stack.callback(dagster.stop)
        for name in ("code", "webserver", "daemon"):
            dagster.start(name)
        yield dagster


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], over[key]) for key in over if isinstance(base.get(key), dict)}
    return {**base, **over, **both}


def _selector(key: str, name: str) -> dict[str, str]:
    return {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, key: name}
