"""The golden set as a Dagster resource."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from mmrag_pipeline.quality.golden import GoldenSet, open_golden


class GoldenResource(dg.ConfigurableResource):
    """What people ask of the library, and what is right; it is read when a run needs it."""

    path: str | None = Field(None, description="Path of a golden.csv; none: search is not measured.")

    def read(self) -> GoldenSet | None:
        """The golden set in force, or None.

        Raises:
            UserError: there is one and it can't be read.
        """
        return open_golden(self.path) if self.path else None
