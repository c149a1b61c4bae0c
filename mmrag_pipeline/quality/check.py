"""Does the staged collection answer golden queries no worse than what is live?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mmrag_pipeline.index.filter import IN_LIBRARY, Filter
from mmrag_pipeline.index.schema import CollectionInfo, is_our_name
from mmrag_pipeline.quality.asking import Remembering, ask
from mmrag_pipeline.quality.figures import LABELS, Figures, FiguresStore
from mmrag_pipeline.quality.gate import LEAST_QUERIES, TOLERANCE, Comparison, compare
from mmrag_pipeline.quality.golden import GoldenSet
from mmrag_pipeline.quality.summary import Summary, summarise

if TYPE_CHECKING:
    from mmrag_pipeline.embedding.model import Encoder
    from mmrag_pipeline.index.milvus import Milvus
    from mmrag_pipeline.index.staged import StagedIndex

NO_GOLDEN_SET = (
    "There is no golden set, so nothing was asked: set MMRAG_GOLDEN to a golden.csv to have search measured before "
    "it is replaced."
)
_SHOWN = 5
_AGAIN = (
    "Look at the queries that lost most, mend the cause (the model, its precision, the embeddings) and run the "
    "nightly_reindex job again, or with allow_worse_search if this is meant; the alias stays where it is."
)

_LIVE_ALREADY = (
    "It was mended in place, so people search it already: look at the queries that lost most, mend the cause, "
    "and run the nightly_reindex job with mode rebuild, or with allow_worse_search if this is meant."
)
_ALLOWED = "It is worse, and let through because allow_worse_search was given."


@dataclass(frozen=True)
class GoldenCheck:
    """`sentence` is for people. `figures` are the staged collection's, None when there is no golden set.

    `comparison` has the live ones as `before`; None when there was nothing to compare with. `left_out` counts golden
    queries that were not compared (or not answerable, where nothing was). `lost_most` are up to five queries with
    their nDCG@10 live and staged. `strata` sum the staged figures up, all queries first.
    """

    passed: bool
    sentence: str
    figures: Figures | None = None
    comparison: Comparison | None = None
    left_out: int = 0
    lost_most: tuple[tuple[str, float, float], ...] = ()
    strata: tuple[Summary, ...] = ()


def check_golden(
    milvus: Milvus,
    encoder: Encoder,
    kept: FiguresStore,
    staged: StagedIndex,
    golden: GoldenSet | None,
    *,
    library: str,
    now: datetime,
    allow_worse: bool = False,
) -> GoldenCheck:
    """Ask the golden queries of the staged collection, and compare with what is live.

    A live collection of the same model is asked as well. One of another model can't be, and one that was mended in
    place is no longer what it was: then it is what was kept when that collection was measured. Figures of a staged
    collection are kept when it passes. `library` is a hash of what was staged; where nothing was staged and nothing
    changed since the figures were kept, they are taken as they are and no model is loaded.

    Call it only when the other checks passed: it searches.
    """
    if golden is None:
        return GoldenCheck(True, NO_GOLDEN_SET)
    known = kept.read(staged.collection, golden=golden.digest, fingerprint=staged.fingerprint)
    if staged.mode == "unchanged" and known is not None and known.library == library:
        return _nothing_to_compare_with("Nothing changed since it was measured.", known, golden)

    asking = _Asking(milvus, Remembering(encoder), golden, now)
    collection = _info(milvus, staged.collection)
    figures = replace(asking.figures(collection), library=library)
    live = milvus.live()
    if staged.is_live:
        check = _against_kept(asking, figures, collection, known)
    elif live is None:
        check = _nothing_to_compare_with("Nothing is live yet.", figures, golden)
    elif live.fits(fingerprint=encoder.fingerprint, dim=encoder.dim):
        live_figures = asking.figures(live)
        _keep(milvus, kept, live_figures)
        check = _compared(live_figures, figures, figures, golden)
    else:
        before = kept.read(live.name, golden=golden.digest, fingerprint=live.fingerprint)
        check = _against_kept(asking, figures, collection, before)
    if check.passed or allow_worse:
        _keep(milvus, kept, figures)
    if check.passed:
        return check
    advice = _ALLOWED if allow_worse else (_LIVE_ALREADY if staged.is_live else _AGAIN)
    return replace(check, passed=allow_worse, sentence=f"{check.sentence} {advice}")


@dataclass(frozen=True)
class _Asking:
    """What is the same whichever collection is asked."""

    milvus: Milvus
    encoder: Encoder
    golden: GoldenSet
    now: datetime

    def figures(self, collection: CollectionInfo, where: Filter = IN_LIBRARY) -> Figures:
        return Figures(
            collection=collection.name,
            fingerprint=collection.fingerprint,
            golden=self.golden.digest,
            library="",
            measured_at=self.now.isoformat(),
            queries=ask(self.milvus, self.encoder, self.golden.queries, collection=collection, where=where),
        )


def _against_kept(asking: _Asking, figures: Figures, collection: CollectionInfo, before: Figures | None) -> GoldenCheck:
    """Compare with kept figures, asking among what was there when they were measured.

    A library that grew is harder to search: that must not look like a worse index.
    """
    if before is None:
        return _nothing_to_compare_with(
            "There is nothing to compare with: what is live was never measured with this golden set.",
            figures,
            asking.golden,
        )
    then = replace(IN_LIBRARY, until=datetime.fromisoformat(before.measured_at))
    return _compared(before, asking.figures(collection, then), figures, asking.golden)


def _compared(before: Figures, after: Figures, figures: Figures, golden: GoldenSet) -> GoldenCheck:
    old, new = before.by_query("ndcg10"), after.by_query("ndcg10")
    comparison = compare(old, new)
    if comparison is None:
        return _nothing_to_compare_with("No golden query has a right answer on both sides.", figures, golden)
    left_out = len(golden.queries) - comparison.queries
    few = f" They are too few to judge by: have {LEAST_QUERIES} or more." if comparison.queries < LEAST_QUERIES else ""
    low, high = comparison.interval
    sentence = (
        f"nDCG@10 of {comparison.queries} golden queries is {comparison.after:.3f} staged and {comparison.before:.3f} "
        f"live: {comparison.difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f} (it may be {TOLERANCE:g} lower, "
        f"or lower by chance).{few} {_recalls(figures)}{_left_out(left_out, 'both')}"
    )
    lost = sorted((query for query in old if query in new and new[query] < old[query]), key=lambda q: new[q] - old[q])
    return GoldenCheck(
        passed=not comparison.worse,
        sentence=sentence,
        figures=figures,
        comparison=comparison,
        left_out=left_out,
        strata=tuple(summarise(figures.queries, golden.queries)),
        lost_most=tuple((query, old[query], new[query]) for query in lost[:_SHOWN]),
    )


def _nothing_to_compare_with(why: str, figures: Figures, golden: GoldenSet) -> GoldenCheck:
    left_out = len(golden.queries) - len(figures.queries)
    if not figures.queries:
        said = f"None of {left_out} golden queries has a right answer in it: look at the fields of {golden.path}."
    else:
        said = f"nDCG@10 of {len(figures.queries)} golden queries is {figures.mean('ndcg10'):.3f}. {_recalls(figures)}"
        said += _left_out(left_out, "it")
    strata = tuple(summarise(figures.queries, golden.queries))
    return GoldenCheck(True, f"{why} {said}", figures=figures, left_out=left_out, strata=strata)


def _recalls(figures: Figures) -> str:
    if not figures.queries:
        return ""
    means = ", ".join(f"{label} {figures.mean(name):.3f}" for name, label in LABELS.items() if name != "ndcg10")
    return f"Staged: {means}."


def _left_out(count: int, where: str) -> str:
    return f" {count} queries without a right answer in {where} are left out." if count else ""


def _keep(milvus: Milvus, kept: FiguresStore, figures: Figures) -> None:
    """Keep figures, and forget those of collections that are gone."""
    kept.keep(figures)
    there = {info.name for info in milvus.collections()}
    kept.forget(lambda name: is_our_name(milvus.alias, name) and name not in there)


def _info(milvus: Milvus, name: str) -> CollectionInfo:
    info = milvus.info(name)
    if info is None:
        raise ValueError(f"{name} is no collection of this pipeline")
    return info
