"""A brief, an index and a library small enough to reason about, and the real SDK against the local server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from upath import UPath

from mmrag_pipeline.campaigns.backends.base import ImageBackend
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import load_brief
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.planner import plan_campaign
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline_tests.integration.gemini_server import KEY, GeminiServer

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
MODEL = "gemini-nano-banana-2.1"
BRIEF = """\
title: Golden hour
objective: Sell the watch.
message: Time, well kept
products:
  - {name: the golden watch, query: a golden watch, product_line: watches}
scenes:
  - {name: suit, prompt: "A man in a suit wears {{ product.name }}."}
  - {name: still, prompt: "A still life with {{ product.name }}."}
placements:
  - {name: feed, aspect_ratio: 4:5, image_size: 1K, pixels: [540, 675]}
brand:
  palette: [{words: warm gold, hex: "#C59B46"}, {words: charcoal, hex: "#2B2C30"}]
  tone: quiet
references: {max_per_product: 2}
schedule: {cron: "0 6 * * 1", timezone: Europe/Berlin}
budget_usd: 5
"""


def hit(number: int, *, sku: str | None = "W-1", line: str = "watches", score: float = 0.3, **more: object) -> Hit:
    values = {
        "rank": number,
        "score": score,
        "media_id": f"{line}{number}".encode().hex().ljust(32, "0"),
        "product_line": line,
        "drop": f"{line}__2026-09",
        "path": f"{number}.jpg",
        "frame_ms": None,
        "sku": sku or "",
        "title": "Golden watch",
        "tags": ("gold",),
        "content_id": f"{line}-{number}",
        "media_type": "image",
        "width": 400,
        "height": 400,
    }
    return Hit(**(values | more))


@dataclass
class ListedIndex:
    """A finder over a list: what a search would give, in the order given."""

    hits: Sequence[Hit] = ()
    asked: list[str] = field(default_factory=list)

    def by_text(self, text: str, *, product_line: str | None, min_score: float | None, limit: int) -> Sequence[Hit]:
        self.asked.append(text)
        return [h for h in self.hits if product_line in (None, h.product_line)][:limit]

    def by_sku(self, sku: str, *, product_line: str | None, limit: int) -> Sequence[Hit]:
        return [h for h in self.hits if h.sku == sku and product_line in (None, h.product_line)][:limit]

    def by_picture(
        self, image: Image.Image, text: str | None, *, product_line: str | None, min_score: float | None, limit: int
    ) -> Sequence[Hit]:
        self.asked.append(f"{image.width} x {image.height} {text or ''}".strip())
        return [h for h in self.hits if product_line in (None, h.product_line)][:limit]

    def views(
        self, sku: str, *, product_line: str | None, text: str | None, image: Image.Image | None, limit: int
    ) -> Sequence[Hit]:
        return [h for h in self.hits if h.sku == sku and product_line in (None, h.product_line)][:limit]

    def by_filter(self, where: Filter) -> Sequence[Hit]:
        wanted = {name: getattr(where, name) for name in ("product_line", "drop", "sku")}
        found = [h for h in self.hits if all(v in (None, getattr(h, name)) for name, v in wanted.items())]
        return sorted((h for h in found if set(where.tags) <= set(h.tags)), key=lambda h: h.place)

    def spread(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        return hits

    def product_lines(self) -> Sequence[str]:
        return sorted({h.product_line for h in self.hits})


def draw(one: Hit) -> Image.Image:
    """A picture of its own for each hit."""
    image = Image.new("RGB", (400, 300), (240, 236, 228))
    pen, n = ImageDraw.Draw(image), int(one.path.split(".")[0])
    pen.ellipse((90 + 7 * n, 40, 290 + 7 * n, 240), fill=(190 - 9 * n, 150, 40 + 20 * n))
    return image


@dataclass
class Desk:
    """One occurrence's folder with everything that making its pictures needs."""

    root: Path
    plan: CampaignPlan
    folder: UPath
    references: ReferencePictures
    ledger: Ledger

    @property
    def images(self) -> Path:
        return Path(str(self.folder)) / "images"

    @property
    def originals(self) -> Path:
        return Path(str(self.folder)) / "originals"

    def make(self, backend: ImageBackend, *, caps: Caps = Caps(), **more: object) -> PicturesReport:  # noqa: B008
        options = {
            "run_id": "run-1",
            "clock": lambda: NOW,
            "retries": RetryPolicy(3, 20, 0.01, 0.05),
            "threads": 1,
            **more,
        }
        return make_pictures(
            self.plan,
            backend=backend,
            ledger=self.ledger,
            folder=self.folder,
            references=self.references,
            caps=caps,
            **options,
        )


@pytest.fixture
def write_brief(tmp_path: Path) -> Callable[..., Brief]:
    def write(*changes: tuple[str, str], name: str = "golden-hour") -> Brief:
        text = BRIEF
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        file = tmp_path / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return load_brief(UPath(file))

    return write


@pytest.fixture
def index() -> ListedIndex:
    return ListedIndex([hit(1), hit(2, score=0.25), hit(3, sku="W-9", score=0.2)])


@pytest.fixture
def lay_out(tmp_path: Path, write_brief: Callable[..., Brief], index: ListedIndex) -> Callable[..., Desk]:
    def lay_out_(*changes: tuple[str, str], backend: str = "gemini", occurrence: str = "2026-11-23") -> Desk:
        brief = write_brief(*changes)
        folder = UPath(tmp_path / "store" / "campaigns" / brief.campaign / occurrence)
        references = ReferencePictures(folder / "references", load=draw)
        plan = plan_campaign(
            brief,
            occurrence=f"{brief.campaign}__{occurrence}",
            finder=index,
            pictures=references,
            backend_name=backend,
            model=MODEL,
            now=NOW,
        )
        return Desk(tmp_path, plan, folder, references, Ledger(tmp_path / "store" / "ledger.sqlite"))

    return lay_out_


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    with GeminiServer() as running:
        yield running
        assert running.problems == []


@pytest.fixture
def gemini(server: GeminiServer) -> Iterator[GeminiBackend]:
    backend = GeminiBackend(api_key=KEY, base_url=server.url, timeout_s=5)
    yield backend
    backend.close()


@pytest.fixture
def preview() -> PreviewBackend:
    return PreviewBackend()
