"""A run without one picture: which of them Dagster shall try again by itself."""

from typing import NoReturn

import dagster as dg

from mmrag_pipeline.campaigns.outcomes import PicturesReport

RETRIES = 2
RETRY_WAIT_S = 120.0


def fail_without_pictures(report: PicturesReport, occurrence: str) -> NoReturn:
    """Fail the step; after overload it is asked for twice more, each after two minutes, and only for what is missing.

    Not a RetryPolicy of the asset: that one would also repeat a run that an error of ours ended, and pay again.
    """
    reasons = "; ".join(report.reasons)
    failure = dg.Failure(
        description=f"none of the {len(report.outcomes)} pictures of {occurrence} could be made: {reasons}",
        metadata={"requests": report.requests, "spent_usd": report.spent_usd, "reasons": report.reasons},
        allow_retries=False,
    )
    if report.may_go_better:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_WAIT_S) from failure
    raise failure
