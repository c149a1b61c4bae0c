"""How near a picture is to what was asked for, by the pipeline's own model: hints for people, never a verdict.

A cosine means little alone, so each has something beside it: the product's own references against those of the plan's
other products, the scene's words against the plan's other scenes. Scores are added to the sidecar of a picture that
is committed already. They cost nothing, can be made again, and no picture hangs on them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.sidecar import GENERATED, is_whole, read_sidecar, sidecar_path
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.likeness import look_of, near_duplicates
from mmrag_pipeline.store import write_json

if TYPE_CHECKING:
    from mmrag_pipeline.embedding.model import Encoder

BATCH = 16


@dataclass(frozen=True)
class Scores:
    """Cosines of one picture, means over what they were compared with; None where there was nothing to compare.

    `references_alike` is how near the product's own references are to each other: more can't be expected.
    `model` is the fingerprint, `picture_sha256` that of the file that was scored.
    """

    model: str
    picture_sha256: str
    preview: bool
    scored_at: str
    product: float | None
    other_products: float | None
    references_alike: float | None
    scene: float
    other_scenes: float | None
    near_duplicate_of: str | None

    @property
    def is_other_product(self) -> bool:
        """The picture is nearer to the other products than to its own."""
        return self.product is not None and self.other_products is not None and self.product < self.other_products

    @property
    def is_other_scene(self) -> bool:
        """The other scenes' words describe the picture better than its own."""
        return self.other_scenes is not None and self.scene < self.other_scenes


@dataclass(frozen=True)
class ScoresReport:
    """`problems` are sentences about what could not be scored or compared."""

    scored: int
    kept: int
    problems: tuple[str, ...]


def scores_of(sidecar: Mapping[str, Any]) -> Scores | None:
    """The scores in a sidecar, None where there are none of the file that it vouches for."""
    found = sidecar.get("scores")
    if not found or found["picture_sha256"] != (sidecar.get("picture") or {}).get("sha256"):
        return None
    return Scores(**found)


def score_pictures(
    plan: CampaignPlan,
    *,
    folder: UPath,
    references: ReferencePictures,
    encoder: Encoder,
    now: datetime,
    progress: Callable[[str], None] | None = None,
) -> ScoresReport:
    """Score every picture of an occurrence that has no scores by this model yet; without one no model is loaded.

    Whoever calls holds the occurrence (`occurrence_lock`): sidecars are rewritten.

    Raises:
        UserError: the model can't be loaded.
    """
    images = folder / "images"
    made = [(v, s) for v in plan.variants if (s := read_sidecar(images, plan, v)) and s["status"] == GENERATED]
    new = [(v, s) for v, s in made if not _current(s, encoder) and is_whole(images, s)]
    if not new:
        return ScoresReport(0, len(made), ())
    problems: list[str] = []
    if progress:
        progress(f"scoring {len(new)} pictures")
    space = _Space(plan, references, encoder, problems)
    vectors = _vectors(((v.key, _opened(images, s)) for v, s in new), encoder, problems)
    twins = _near_duplicates(images, made, problems)
    for variant, sidecar in made:
        if variant.key in vectors:
            scores = space.scores(variant, sidecar, vectors[variant.key], now)
        elif (kept := scores_of(sidecar)) is not None:
            scores = kept
        else:
            continue
        scores = replace(scores, near_duplicate_of=twins.get(variant.key))
        if sidecar.get("scores") != asdict(scores):
            write_json(sidecar_path(images, plan, variant), {**sidecar, "scores": asdict(scores)})
    return ScoresReport(len(vectors), len(made) - len(new), tuple(problems))


class _Space:
    """References and scenes of a plan as vectors."""

    def __init__(self, plan: CampaignPlan, references: ReferencePictures, encoder: Encoder, problems: list[str]):
        self._model = encoder.fingerprint
        distinct = {r.sha256: r for variant in plan.variants for r in variant.references}
        self._references = _vectors(((sha, _reference(references, sha)) for sha in distinct), encoder, problems)
        scenes = list(dict.fromkeys(variant.excerpt for variant in plan.variants))
        self._scenes = dict(zip(scenes, encoder.encode_texts(scenes), strict=True))
        self._of_product: dict[str, set[str]] = {}
        self._scenes_of: dict[str, set[str]] = {}
        for variant in plan.variants:
            self._of_product.setdefault(variant.product, set()).update(own_of(variant))
            self._scenes_of.setdefault(variant.scene, set()).add(variant.excerpt)

    def scores(self, variant: Variant, sidecar: Mapping[str, Any], picture: np.ndarray, now: datetime) -> Scores:
        own = own_of(variant)
        others = set().union(*self._of_product.values()) - self._of_product[variant.product]
        named = [text for scene, texts in self._scenes_of.items() if scene != variant.scene for text in texts]
        return Scores(
            model=self._model,
            picture_sha256=sidecar["picture"]["sha256"],
            preview=sidecar["preview"],
            scored_at=now.isoformat(),
            product=_mean(picture, self._known(own)),
            other_products=_mean(picture, self._known(others)),
            references_alike=_alike(self._known(own)),
            scene=round(float(picture @ self._scenes[variant.excerpt]), 4),
            other_scenes=_mean(picture, [self._scenes[text] for text in named if text != variant.excerpt]),
            near_duplicate_of=None,
        )

    def _known(self, hashes: Iterable[str]) -> list[np.ndarray]:
        return [self._references[sha256] for sha256 in sorted(hashes) if sha256 in self._references]


def own_of(variant: Variant) -> set[str]:
    """Hashes of the references that show the product."""
    return {reference.sha256 for reference in variant.references if reference.role == "product"}


def _current(sidecar: Mapping[str, Any], encoder: Encoder) -> bool:
    scores = scores_of(sidecar)
    return scores is not None and scores.model == encoder.fingerprint


def _mean(picture: np.ndarray, others: Sequence[np.ndarray]) -> float | None:
    return round(float(np.mean(np.stack(others) @ picture)), 4) if others else None


def _alike(vectors: Sequence[np.ndarray]) -> float | None:
    if len(vectors) < 2:
        return None
    cosines = np.stack(vectors) @ np.stack(vectors).T
    return round(float(cosines[np.triu_indices(len(vectors), 1)].mean()), 4)


def _vectors(
    pictures: Iterable[tuple[str, Callable[[], Image.Image]]], encoder: Encoder, problems: list[str]
) -> dict[str, np.ndarray]:
    """Vectors by name, a batch in memory at a time; what can't be opened becomes a sentence."""
    found: dict[str, np.ndarray] = {}
    names: list[str] = []
    batch: list[Image.Image] = []

    def encode() -> None:
        if batch:
            found.update(zip(names, encoder.encode_images(batch), strict=True))
        names.clear()
        batch.clear()

    for name, open_ in pictures:
        try:
            batch.append(open_())
        except (UserError, OSError) as error:
            problems.append(f"{name[:12]} can't be scored: {error}")
            continue
        names.append(name)
        if len(batch) == BATCH:
            encode()
    encode()
    return found


def _near_duplicates(
    images: UPath, made: Sequence[tuple[Variant, Mapping[str, Any]]], problems: list[str]
) -> dict[str, str]:
    """Key of a picture -> key of the sibling that it is a copy of."""
    keys, looks, sizes = [], [], []
    for variant, sidecar in made:
        try:
            picture = _opened(images, sidecar)()
        except OSError as error:
            problems.append(f"{variant.key[:12]} can't be compared with the others: {error}")
            continue
        keys.append(variant.key)
        looks.append(look_of(picture))
        sizes.append(picture.width * picture.height)
    return {keys[copy]: keys[kept] for copy, kept in near_duplicates(looks, sizes).items()}


def _opened(images: UPath, sidecar: Mapping[str, Any]) -> Callable[[], Image.Image]:
    file = images / sidecar["picture"]["file"]
    return lambda: _rgb(file.read_bytes())


def _reference(references: ReferencePictures, sha256: str) -> Callable[[], Image.Image]:
    return lambda: _rgb(references.read(sha256))


def _rgb(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")
