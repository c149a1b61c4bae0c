"""How an error that a person can mend looks in Dagster: a failure with that sentence, not retried."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

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
