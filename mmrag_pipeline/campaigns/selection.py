"""Which pictures stand for a product: views of one sku, never look-alikes of another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmrag_pipeline.campaigns.brief import UNNAMED, Product, References
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from mmrag_pipeline.index.filter import Filter
    from mmrag_pipeline.index.hit import Hit

ABOUT = 0.1
"""Share of the distance between the best and the last hit within which another product answers a query as well; the
one with more views is chosen then: a person would rather show three sides of one cape than one side of another.
"""


class ReferenceFinder(Protocol):
    """What a plan asks of the index."""

    def by_text(self, text: str, *, product_line: str | None, min_score: float | None, limit: int) -> Sequence[Hit]:
        """Best first."""
        ...

    def by_picture(
        self, image: Image.Image, text: str | None, *, product_line: str | None, min_score: float | None, limit: int
    ) -> Sequence[Hit]:
        """Best first: like the picture, and like the words where there are any."""
        ...

    def by_sku(self, sku: str, *, product_line: str | None, limit: int) -> Sequence[Hit]:
        """In the order of drop and path."""
        ...

    def views(
        self, sku: str, *, product_line: str, text: str | None, image: Image.Image | None, limit: int
    ) -> Sequence[Hit]:
        """The pictures of one sku, best first: like the picture, like the words, or both."""
        ...

    def by_filter(self, where: Filter) -> Sequence[Hit]:
        """All of them, in the order of drop and path."""
        ...

    def spread(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        """The same hits, the first where it was and each next one the least like any before it."""
        ...

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


@dataclass(frozen=True)
class Expansion:
    """The products of a brief one by one, and (id, reason) of what `where` leaves out."""

    products: tuple[Product, ...]
    left_out: tuple[tuple[str, str], ...]


def require_product_lines(products: Sequence[Product], finder: ReferenceFinder, campaign: str) -> None:
    """Raises UserError for the first product_line that the index does not hold, naming those it holds."""
    known = sorted(finder.product_lines())
    for at, product in enumerate(products):
        line, inside = (product.where.product_line, ".where") if product.where else (product.product_line, "")
        if line is not None and line not in known:
            near = difflib.get_close_matches(line, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(
                f"campaign {campaign}: products[{at}]{inside}.product_line {line!r} is not in "
                "the index: "
                f"{hint}it holds {', '.join(known) or 'nothing yet (ingest a drop first)'}."
            )


def expand(products: Sequence[Product], finder: ReferenceFinder) -> Expansion:
    """Put the products that `where` finds in its place, one a sku; each product stands in the plan once."""
    found: dict[str, Product] = {product.id: product for product in products if not product.where}
    laid_out: list[Product] = []
    left_out: list[tuple[str, str]] = []
    for product in products:
        if product.where is None:
            laid_out.append(product)
            continue
        hits = [hit for where in product.where.filters() for hit in finder.by_filter(where)]
        named = {hit.sku: hit for hit in reversed(hits) if hit.sku}
        skus = [sku for sku in dict.fromkeys(hit.sku for hit in hits) if sku]
        # The catalogue's sku must not be a word of the prompt: `name` is what the brief says, or nothing.
        each = [
            Product(name=product.name or UNNAMED, sku=sku, product_line=named[sku].product_line)
            for sku in skus[: product.where.limit]
        ]
        laid_out += [one for one in each if found.setdefault(one.id, one) is one]
        if more := skus[len(each) :]:
            named_ones = ", ".join(more[:5]) + (f" and {len(more) - 5} more" if len(more) > 5 else "")
            reason = f"{product.where} has {len(skus)} products, its limit is {len(each)}: without {named_ones}"
            left_out.append((product.id, reason))
        for sku in product.where.sku:
            if sku not in named:
                left_out.append((Product(sku=sku).id, f"no media with {product.where.only(sku)}"))
        if not skus and not product.where.sku:
            seen = f"{len(hits)} pictures without a sku, which are no product" if hits else "nothing in the index"
            left_out.append((product.id, f"{product.where} has {seen}"))
    return Expansion(tuple(laid_out), tuple(left_out))


def select(
    product: Product,
    finder: ReferenceFinder,
    *,
    policy: References = References(),  # noqa: B008 - frozen
    image: Image.Image | None = None,
    wanted: int,
) -> Selection:
    """Find the references of one product: by its sku, or by the sku of the best hit of its query and `image`."""
    limit = max(12, 4 * wanted)
    place = f" in product line {product.product_line}" if product.product_line else ""
    if product.sku is not None:
        named = finder.by_sku(product.sku, product_line=product.product_line, limit=limit)
        if not named:
            return Selection((), f"no media with sku {product.sku!r}{place}")
        return _best([Chosen(hit, None) for hit in _most_like_itself(named, finder, limit)], finder, policy)
    least = product.min_score if product.min_score is not None else policy.min_score
    options = {"product_line": product.product_line, "min_score": least, "limit": limit}
    if image is not None:
        hits = finder.by_picture(image, product.query, **options)
    else:
        hits = finder.by_text(product.query or "", **options)
    if least is not None:
        hits = [hit for hit in hits if hit.score >= least]
    if not hits:
        enough = f" that scores at least {least:g}" if least is not None else ""
        sought = [f"the query {product.query!r}"] if product.query else []
        sought += [f"the picture {product.image}"] if product.image else []
        return Selection((), f"no media{place}{enough} for {' and '.join(sought)}")
    # A frame of a promo film is nobody's product picture, however well it matches.
    best = next((hit for hit in hits if hit.sku or hit.frame_ms is None), hits[0])

    def views_of(hit: Hit) -> list[Chosen]:
        if not hit.sku:
            return [Chosen(hit, hit.score)]
        options = {"product_line": hit.product_line, "text": product.query, "image": image, "limit": limit}
        return [Chosen(view, view.score) for view in finder.views(hit.sku, **options)]

    chosen = views_of(best)
    if policy.views == "spread" and _stills(chosen) < wanted:
        rivals = [views_of(hit) for hit in _about_as_near(best, hits)]
        chosen = max([chosen, *rivals], key=lambda views: min(wanted, _stills(views)))  # of equals the nearest
    return _best(chosen, finder, policy)


def _most_like_itself(named: Sequence[Hit], finder: ReferenceFinder, limit: int) -> Sequence[Hit]:
    """Pictures of one sku, those first that show what its title says: the small print is a picture of it too."""
    titles = [hit.title for hit in named if hit.title]
    if not titles or len(named) < 2:
        return named
    title, best = max(titles, key=titles.count), named[0]
    return finder.views(best.sku, product_line=best.product_line, text=title, image=None, limit=limit)


def _about_as_near(best: Hit, hits: Sequence[Hit]) -> list[Hit]:
    """The best hit of each other product that answers the query about as well.

    What "about" is depends on the model and the query, so it is measured by how far the hits lie apart.
    """
    least = best.score - ABOUT * (best.score - hits[-1].score)
    firsts = {_product_of(hit): hit for hit in reversed(hits) if hit.sku and hit.score >= least}
    return sorted((hit for product, hit in firsts.items() if product != _product_of(best)), key=lambda hit: hit.rank)


def _product_of(hit: Hit) -> tuple[str, str]:
    return hit.sku, hit.product_line


def _stills(views: Sequence[Chosen]) -> int:
    return len({chosen.hit.content_id for chosen in views if chosen.hit.frame_ms is None})


def _best(found: Sequence[Chosen], finder: ReferenceFinder, policy: References) -> Selection:
    """Stills before video frames, each content once; by the brief's policy the most unlike of the better ones first."""
    ordered = sorted(found, key=lambda chosen: chosen.hit.frame_ms is not None)
    unique = {chosen.hit.content_id: chosen for chosen in reversed(ordered)}
    distinct = [chosen for chosen in ordered if unique[chosen.hit.content_id] is chosen]
    if policy.views == "nearest":
        return Selection(tuple(distinct))
    by_id = {chosen.hit.media_id: chosen for chosen in distinct}
    candidates: list[Chosen] = []
    for frames in (False, True):
        alike = [chosen.hit for chosen in distinct if (chosen.hit.frame_ms is not None) == frames]
        candidates += [by_id[hit.media_id] for hit in (_spread(alike, finder) if len(alike) > 2 else alike)]
    return Selection(tuple(candidates))


def _spread(views: Sequence[Hit], finder: ReferenceFinder) -> list[Hit]:
    """The better half by score, the most unlike first, then the others: what is least like the rest is often a close-up
    or a label.
    """
    least = views[0].score - (views[0].score - views[-1].score) / 2
    return [*finder.spread([hit for hit in views if hit.score >= least]), *(hit for hit in views if hit.score < least)]
