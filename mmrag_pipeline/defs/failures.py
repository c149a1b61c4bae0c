"""How errors look in Dagster. One that a person can mend is a failure with that sentence, not retried; one of Dagster's
own database is nobody's fault, and the run is started again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy.exc import InterfaceError, OperationalError

from mmrag_pipeline.errors import Unavailable, UserError

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


@dg.failure_hook
def run_again_if_the_database_was_away(context: dg.HookContext) -> None:
    """A step that could not write its events has not failed: Dagster shall start its run again, as a crashed one.

    `run_retries` leaves runs alone in which a step failed, and takes a PostgreSQL that was restarted for that. Only
    Dagster uses SQLAlchemy here, so its errors are never those of our work.
    """
    error = context.op_exception
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            context.instance.add_run_tags(context.run_id, {"dagster/retry_on_asset_or_op_failure": "true"})
            return
        error = error.__cause__ or error.__context__


HOOKS = {run_again_if_the_database_was_away}
"""Of every asset, and of every job: those have checks too."""
