"""A run whose step failed because Dagster's database was away is started again; one that failed by itself is not."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.failures import HOOKS, lost_database, user_errors_as_failures
from mmrag_pipeline.defs.ingest.each_drop import Events, for_each_drop, in_portions
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.pipeline import Pipeline

WILL_RETRY = "dagster/will_retry"
RETRIES = "run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{RETRIES}")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def ask_a_database_that_is_away() -> None:
    with sqlalchemy.create_engine("sqlite:////no/such/folder/dagster.db").connect():
        pass


@dg.asset(hooks=HOOKS)
def database_is_away() -> None:
    try:
        ask_a_database_that_is_away()
    except sqlalchemy.exc.OperationalError as error:
        raise RuntimeError("too many retries for DB connection") from error  # as dagster-postgres says it


@dg.asset(hooks=HOOKS)
def media_are_away() -> None:
    with user_errors_as_failures():
        raise UserError("the media library is away: is the share mounted?")


@dg.asset(hooks=HOOKS)
def something_is_wrong() -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("asset", "again"), [(database_is_away, "true"), (media_are_away, "false"), (something_is_wrong, "false")]
)
def test_only_a_run_that_lost_its_database_is_started_again(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, again: str
) -> None:
    result = dg.materialize([asset], instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.status, run.tags[WILL_RETRY]) == (dg.DagsterRunStatus.FAILURE, again)


@dg.asset(partitions_def=media_drops, backfill_policy=in_portions(), hooks=HOOKS)
def many_drops(context: dg.AssetExecutionContext) -> Events:
    yield from for_each_drop(context, lambda key: ask_a_database_that_is_away() or {})


def test_in_a_run_of_many_drops_it_is_no_drop_s_fault(instance: dg.DagsterInstance) -> None:
    keys = ["bags__1", "bags__2"]
    instance.add_dynamic_partitions(media_drops.name, keys)
    portion = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
    result = dg.materialize([many_drops], instance=instance, tags=portion, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None and run.tags[WILL_RETRY] == "true"
    assert not instance.fetch_observations(many_drops.key, limit=1).records


def test_causes_that_go_round_in_a_circle_come_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__context__ = other, one
    assert not lost_database(one) and not lost_database(None)


def test_every_asset_and_job_asks_for_it(pipeline: Pipeline) -> None:
    loaded = defs()
    assets = [each for each in loaded.resolve_asset_graph().assets_defs if each.keys]  # the others are checks
    assert [each.keys for each in assets if not each.hook_defs >= HOOKS] == []
    jobs = [loaded.resolve_job_def(job.name) for job in loaded.jobs]
    assert [job.name for job in jobs if not job.hook_defs >= HOOKS] == []
