"""How errors look in Dagster. One that a person can mend is a failure with that sentence, not retried; one of Dagster's
own database is nobody's fault, and the run is started again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import exc

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.failures import causes

_DATABASE_AWAY = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,  # a standby that may not be written to, for one
    exc.PendingRollbackError,
    exc.TimeoutError,
)

WAIT_FOR_MILVUS = dg.RetryPolicy(max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""Half a minute, one, two: a Milvus that restarts is back by then. Never on an asset that may cost money."""

WAIT_FOR_STORE = dg.RetryPolicy(max_retries=4, delay=60, backoff=dg.Backoff.EXPONENTIAL)
"""One minute, two, four, eight: for a bucket or a share that is being restarted, or credentials that are renewed."""


@contextmanager
def user_errors_as_failures() -> Iterator[None]:
    """Turn a `UserError` into a `dg.Failure`; only `Unavailable` may be retried."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(description=str(error), allow_retries=isinstance(error, Unavailable)) from error


def lost_database(error: BaseException | None) -> bool:
    """Whether Dagster's database was away: only Dagster uses SQLAlchemy here, no work of ours does."""
    return error is not None and any(isinstance(cause, _DATABASE_AWAY) for cause in causes(error))


@dg.failure_hook
def run_again_if_the_database_was_away(context: dg.HookContext) -> None:
    """A step that could not write its events has not failed: Dagster shall start its run again, as a crashed one.

    `run_retries` leaves runs alone in which a step failed, and takes a PostgreSQL that was restarted for that.
    """
    if lost_database(context.op_exception):
        context.instance.add_run_tags(context.run_id, {"dagster/retry_on_asset_or_op_failure": "true"})


HOOKS = {run_again_if_the_database_was_away}
"""Of every asset, and of every job for its checks. (A check can't have one of its own: where assets are materialised
without a job, a check that lost the database ends the run.)
"""
