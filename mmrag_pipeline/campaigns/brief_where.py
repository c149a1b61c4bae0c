"""Products of a brief by what the catalogue says of them, instead of one by one."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mmrag_pipeline.index.filter import Filter

Value = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]


class Where(BaseModel):
    """Every product that has all of what is given, one a sku, in the order of drop and path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product_line: Value | None = None
    drop: Value | None = Field(None, description="<product_line>__<drop>")
    sku: list[Value] = Field(default_factory=list, max_length=200, description="Any of these.")
    tags: list[Value] = Field(default_factory=list, max_length=20, description="All of these.")
    limit: int = Field(6, ge=1, le=100, description="Most products that it stands for.")

    @model_validator(mode="after")
    def _narrows(self) -> Self:
        if not (self.product_line or self.drop or self.sku or self.tags):
            raise ValueError("it narrows nothing down; write product_line, drop, sku or tags.")
        return self

    def __str__(self) -> str:
        """For people: `product_line 'bags', sku 'B-1' or 'B-2'`."""
        return self.only(*self.sku)

    def only(self, *skus: str) -> str:
        """As `str`, with these skus."""
        named = str(Filter(product_line=self.product_line, drop=self.drop, tags=tuple(self.tags), origin=None))
        return ", ".join(filter(None, [named, "sku " + " or ".join(map(repr, skus)) if skus else ""]))

    def filters(self) -> list[Filter]:
        """What the index is asked, one question after the other."""
        common = {"product_line": self.product_line, "drop": self.drop, "tags": tuple(self.tags)}
        return [Filter(**common, sku=sku) for sku in dict.fromkeys(self.sku)] or [Filter(**common)]
