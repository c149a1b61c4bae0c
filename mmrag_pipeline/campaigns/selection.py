"""Which pictures stand for a product: views of one sku, never look-alikes of another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmrag_pipeline.campaigns.brief import Product
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from mmrag_pipeline.index.hit import Hit


class ReferenceFinder(Protocol):
    """What a plan asks of the index. Hits come best first."""

    def by_text(self, text: str, *, product_line: str | None, min_score: float | None, limit: int) -> Sequence[Hit]: ...

    def by_sku(self, sku: str, *, product_line: str | None, limit: int) -> Sequence[Hit]: ...

    def product_lines(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Chosen:
    """A hit that is a reference; `score` is None where the sku named it, not a search."""

    hit: Hit
    score: float | None


@dataclass(frozen=True)
class Selection:
    """The candidates of one product, best first (more than needed: a file may turn out gone), or why there
    are none.
    """

    candidates: tuple[Chosen, ...]
    reason: str = ""


def require_product_lines(products: Sequence[Product], finder: ReferenceFinder, campaign: str) -> None:
    """Raises UserError for the first product_line that the index does not hold, naming those it holds."""
    known = sorted(finder.product_lines())
    for at, product in enumerate(products):
        if product.product_line is not None and product.product_line not in known:
            near = difflib.get_close_matches(product.product_line, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(
                f"campaign {campaign}: products[{at}].product_line {product.product_line!r} is not in "
                "the index: "
                f"{hint}it holds {', '.join(known) or 'nothing yet (ingest a drop first)'}."
            )


def select(product: Product, finder: ReferenceFinder, *, wanted: int) -> Selection:
    """Find the references of one product: by its sku, or by the sku of the best hit of its query."""
    limit = max(12, 4 * wanted)
    place = f" in product line {product.product_line}" if product.product_line else ""
    if product.sku is not None:
        hits = finder.by_sku(product.sku, product_line=product.product_line, limit=limit)
        found = [Chosen(hit, None) for hit in hits]
        return _best(found) if found else Selection((), f"no media with sku {product.sku!r}{place}")
    query = product.query or ""
    hits = finder.by_text(query, product_line=product.product_line, min_score=product.min_score, limit=limit)
    if product.min_score is not None:
        hits = [hit for hit in hits if hit.score >= product.min_score]
    if not hits:
        least = f" that scores at least {product.min_score:g}" if product.min_score is not None else ""
        return Selection((), f"no media{place}{least} for the query {query!r}")
    # A frame of a promo film is nobody's product picture, however well it matches.
    best = next((hit for hit in hits if hit.sku or hit.frame_ms is None), hits[0])
    if not best.sku:
        return _best([Chosen(best, best.score)])
    found = [Chosen(hit, hit.score) for hit in hits if (hit.sku, hit.product_line) == (best.sku, best.product_line)]
    have = {chosen.hit.media_id for chosen in found}
    views = finder.by_sku(best.sku, product_line=best.product_line, limit=limit)
    return _best(found + [Chosen(hit, None) for hit in views if hit.media_id not in have])


def _best(found: Sequence[Chosen]) -> Selection:
    """Stills before video frames, each content once."""
    ordered = sorted(found, key=lambda chosen: chosen.hit.frame_ms is not None)
    unique = {chosen.hit.content_id: chosen for chosen in reversed(ordered)}
    return Selection(tuple(chosen for chosen in ordered if unique[chosen.hit.content_id] is chosen))
