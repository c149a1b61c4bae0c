"""One picture now: what a shop or a game calls, and `mmrag generate` too.

    from mmrag_pipeline.generate import generate_picture

    picture = generate_picture("a man in a suit checks his watch", find=["a golden watch"], aspect_ratio="4:5")
    picture.file.read_bytes()

References are found in the live collection, money is reserved in the ledger before the call and the picture gets its
sidecar, as in a campaign. Asking for exactly the same again gives the same picture, for nothing, unless somebody has
rejected it meanwhile: then it is another. Safe to call from several threads; whoever calls often passes an `encoder` of
its own, which stays in memory.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from upath import UPath

from mmrag_pipeline import wiring
from mmrag_pipeline.campaigns.backends import ImageBackend, closing
from mmrag_pipeline.campaigns.decisions import REJECTED, read_decisions, review_of
from mmrag_pipeline.campaigns.finder import MilvusReferenceFinder
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.occurrence_lock import hold_occurrence
from mmrag_pipeline.campaigns.on_demand import (
    CAMPAIGN,
    Found,
    GivenPicture,
    Wish,
    find_references,
    lay_out,
    numbers_made,
    only_given,
    wish_for,
)
from mmrag_pipeline.campaigns.outcomes import Cause
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.references import ReferencePictures, ReferencesInMemory, hit_opener
from mmrag_pipeline.campaigns.sidecar import GENERATED, is_whole, read_sidecar, sidecar_path
from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus, connect
from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.rules import MediaError
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.settings import Settings, load_settings
from mmrag_pipeline.store import Store

LOCK_WAIT_S = 600.0
_finding = threading.Lock()
"""Tokenizers of some models, and an open connection, can't be asked by two threads at once."""


@dataclass(frozen=True)
class PlannedPicture:
    """A picture before anything is paid. `made` is True where it is there already, which costs nothing."""

    plan: CampaignPlan
    made: bool

    @property
    def variant(self) -> Variant:
        return self.plan.variants[0]

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.variant.references

    @property
    def usd(self) -> float:
        """What making it costs about."""
        return 0.0 if self.made else self.variant.estimated_usd

    @property
    def at_most_usd(self) -> float:
        """What is set aside for one call: no answer costs more."""
        return self.variant.ceiling_usd if self.usd else 0.0


@dataclass(frozen=True)
class GeneratedPicture:
    """A picture that is there. `usd` is what this call spent, 0 where the picture was made before."""

    key: str
    file: UPath
    sidecar: UPath
    mime: str
    width: int
    height: int
    prompt: str
    references: tuple[Reference, ...]
    preview: bool
    made_now: bool
    usd: float


class NoPicture(UserError):
    """No picture came of it, and why. `cause` is one of `outcomes.Cause`, `usd` what was spent all the same."""

    def __init__(self, message: str, *, cause: Cause, usd: float):
        super().__init__(message)
        self.cause, self.usd = cause, usd


def generate_picture(
    prompt: str,
    *,
    find: Sequence[str] = (),
    images: Sequence[str | Path | bytes] = (),
    product_line: str | None = None,
    aspect_ratio: str = "1:1",
    image_size: str = "1K",
    backend: str | ImageBackend | None = None,
    model: str | None = None,
    another: bool = False,
    agree: Callable[[PlannedPicture], bool] | None = None,
    settings: Settings | None = None,
    encoder: Encoder | None = None,
    milvus: Milvus | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[str], None] | None = None,
) -> GeneratedPicture:
    """Make one picture, or give back the one that was made of exactly the same and not rejected since.

    Args:
        prompt: what the picture shows.
        find: products to look for in the library, up to three views of each are sent along; without `find` and
            `images` the prompt itself is looked for.
        images: pictures of your own that are sent along, files or their bytes.
        product_line: look in this one only.
        aspect_ratio, image_size: as the model has them, `4:5` and `1K`.
        backend: preview, gemini, vertex or one of your own; default: MMRAG_IMAGE_BACKEND.
        model: default: MMRAG_GEMINI_MODEL.
        another: make one more of the same instead of giving back what is there.
        agree: is shown the references and the price before anything is written or paid; False: nothing is done.
        settings, encoder, milvus: default: as the environment says, opened for this call.

    Raises:
        NoPicture: refused, blocked, over budget, not agreed to or not answered; says which.
        UserError: what was asked for can't be: see the sentence.
        Unavailable: Milvus or another call for the same picture was waited for in vain.
    """
    settings = settings or load_settings()
    with _opened(settings, backend) as maker:
        wish = wish_for(
            prompt,
            find=find,
            given=[_given(settings, image, number) for number, image in enumerate(images, 1)],
            product_line=product_line,
            aspect_ratio=aspect_ratio,
            image_size=image_size,
            backend=maker.info,
            model=model or settings.gemini_model,
            prices=wiring.prices(settings),
            now=now(),
        )
        desk = _Desk(settings, Store(settings.store), wish)
        folder = None if another else desk.earlier()
        if folder is None:
            pictures = ReferencesInMemory(load=hit_opener(wiring.library(settings), wiring.limits(settings)))
            found = _find(settings, wish, pictures, encoder, milvus)
            _require_agreement(agree, PlannedPicture(desk.lay_out(found, desk.next_number(), now()), made=False))
            folder = desk.keep(found, pictures, another=another, now=now())
        else:
            plan = read_plan(folder / "plan.parquet")
            planned = PlannedPicture(plan, made=_is_made(folder, plan))
            _require_agreement(None if planned.made else agree, planned)
        return _make(desk, folder, maker, now, progress)


@dataclass(frozen=True)
class _Desk:
    """Where the pictures of one wish are kept."""

    settings: Settings
    store: Store
    wish: Wish

    @property
    def root(self) -> UPath:
        return self.store.root / "campaigns" / CAMPAIGN

    def earlier(self) -> UPath | None:
        """Folder of the newest picture of this wish, planned if not made; what people rejected is not given again."""
        made = sorted(numbers_made(self.root, self.wish).items(), reverse=True)
        return next((folder for _, folder in made if not _is_rejected(folder)), None)

    def next_number(self) -> int:
        return max(numbers_made(self.root, self.wish), default=0) + 1

    def lay_out(self, found: Found, number: int, now: datetime) -> CampaignPlan:
        return lay_out(self.wish, found, number=number, now=now, budget_usd=self.settings.budget_usd_per_day)

    def keep(self, found: Found, pictures: ReferencesInMemory, *, another: bool, now: datetime) -> UPath:
        """Write the plan, or give back that of whoever asked for the same meanwhile."""
        ledger = self.settings.ledger_file
        with hold_occurrence(ledger, campaign=CAMPAIGN, occurrence=self.wish.digest, wait_s=LOCK_WAIT_S):
            earlier = None if another else self.earlier()
            if earlier is not None:
                return earlier
            plan = self.lay_out(found, self.next_number(), now)
            folder = self.store.occurrence(CAMPAIGN, plan.occurrence)
            pictures.keep_in(folder / "references")
            write_plan(folder / "plan.parquet", plan)
        return folder


def _make(
    desk: _Desk,
    folder: UPath,
    backend: ImageBackend,
    now: Callable[[], datetime],
    progress: Callable[[str], None] | None,
) -> GeneratedPicture:
    settings, plan = desk.settings, read_plan(folder / "plan.parquet")
    report = make_pictures(
        plan,
        backend=backend,
        ledger=Ledger(settings.ledger_file),
        folder=folder,
        references=ReferencePictures(folder / "references"),
        caps=Caps(day_usd=settings.budget_usd_per_day, run_usd=settings.budget_usd_per_run),
        run_id=f"{CAMPAIGN}-{secrets.token_hex(8)}",
        clock=now,
        progress=progress,
        threads=1,
        rate=wiring.rate(settings),
        lock_wait_s=LOCK_WAIT_S,
        prices=wiring.prices(settings),
        credentials=wiring.credentials(settings),
    )
    (outcome,) = report.outcomes
    (variant,) = plan.variants
    images = folder / "images"
    sidecar = read_sidecar(images, plan, variant)
    if not outcome.file or sidecar is None:
        raise NoPicture(_why(outcome.cause, outcome.reason), cause=outcome.cause, usd=outcome.usd)
    picture = sidecar["picture"]
    return GeneratedPicture(
        key=variant.key,
        file=images / picture["file"],
        sidecar=sidecar_path(images, plan, variant),
        mime=picture["mime"],
        width=picture["width"],
        height=picture["height"],
        prompt=variant.prompt,
        references=variant.references,
        preview=sidecar["preview"],
        made_now=outcome.result == "made",
        usd=outcome.usd,
    )


def _why(cause: Cause, reason: str) -> str:
    if cause == "ambiguous":
        return (
            f"nobody can say whether the picture was made, so it counts as spent ({reason.partition(';')[0]}): ask for "
            "another one (another=True, or --another)."
        )
    if cause == "blocked":
        return f"no picture: {reason.rstrip('.')}; the same is not asked for again, so word it differently."
    return f"no picture: {reason}"


def _require_agreement(agree: Callable[[PlannedPicture], bool] | None, planned: PlannedPicture) -> None:
    if agree is not None and not agree(planned):
        raise NoPicture("nothing was made and nothing was spent.", cause="not_tried", usd=0.0)


def _is_made(folder: UPath, plan: CampaignPlan) -> bool:
    sidecar = read_sidecar(folder / "images", plan, plan.variants[0])
    return sidecar is not None and sidecar["status"] == GENERATED and is_whole(folder / "images", sidecar)


def _is_rejected(folder: UPath) -> bool:
    """A folder on demand has one picture, so all decisions in it are about that."""
    return any(review_of(decisions, "").state == REJECTED for decisions in read_decisions(folder).values())


def _find(
    settings: Settings, wish: Wish, pictures: ReferencePictures, encoder: Encoder | None, milvus: Milvus | None
) -> Found:
    if not wish.sought:
        return only_given(wish, pictures)
    if encoder is None:
        own = wiring.encoder(settings)
        own.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
        encoder = own
    with _finding, nullcontext(milvus) if milvus else connect(wiring.milvus(settings)) as connection:
        copies = NearDuplicateStore(Store(settings.store)).copies()
        return find_references(wish, MilvusReferenceFinder(connection, encoder, copies=copies), pictures)


def _opened(settings: Settings, backend: str | ImageBackend | None) -> AbstractContextManager[ImageBackend]:
    """Somebody's own backend as it is, or the named one for as long as it is needed."""
    if backend is not None and not isinstance(backend, str):
        return nullcontext(backend)
    return closing(wiring.image_backend(settings, backend or settings.image_backend))


def _given(settings: Settings, image: str | Path | bytes, number: int) -> GivenPicture:
    if isinstance(image, bytes):
        name, data = f"picture {number}", image
    else:
        name, data = Path(image).name, _bytes_of(Path(image))
    try:
        return GivenPicture(name, open_picture(data, wiring.limits(settings)))
    except MediaError as error:
        raise UserError(f"{name} is not a usable picture ({error}): give a JPEG, PNG, WebP or similar.") from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"the picture {path} can't be read ({error.strerror or error}): check its path.") from error
