"""Pictures that were chosen -> the references of a request, in order and labelled."""

from __future__ import annotations

from mmrag_pipeline.campaigns.plan import Reference
from mmrag_pipeline.campaigns.prompts import reference_label, style_label
from mmrag_pipeline.campaigns.references import MIME, EncodedReference, ReferencePictures
from mmrag_pipeline.campaigns.selection import Chosen
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import MediaError
from mmrag_pipeline.media.likeness import look_of, near_duplicates


def read_candidates(
    candidates: tuple[Chosen, ...], pictures: ReferencePictures, wanted: int
) -> tuple[list[tuple[Chosen, EncodedReference]], str]:
    """The first `wanted` candidates that can be read and don't look the same, and why the last unreadable one could
    not be.
    """
    found: list[tuple[Chosen, EncodedReference]] = []
    looks: list[bytes] = []
    sizes: list[int] = []
    unreadable = ""
    for chosen in candidates:
        if len(found) == wanted:
            break
        try:
            picture = pictures.open(chosen.hit)
        except (MediaError, UserError, FileNotFoundError, PermissionError) as error:
            unreadable = f"{chosen.hit.drop}/{chosen.hit.path}: {error}"
            continue
        look, size = look_of(picture), picture.width * picture.height
        if near_duplicates([*looks, look], [*sizes, size]):
            continue
        encoded = pictures.keep(picture)
        if encoded.sha256 not in {other.sha256 for _, other in found}:
            found.append((chosen, encoded))
            looks.append(look)
            sizes.append(size)
    return found, unreadable


def product_references(found: list[tuple[Chosen, EncodedReference]], *, of: int) -> tuple[Reference, ...]:
    """The first references of a request that has `of` of them."""
    return tuple(
        Reference(
            order=order,
            role="product",
            label=reference_label(order, of),
            media_id=chosen.hit.media_id,
            product_line=chosen.hit.product_line,
            drop=chosen.hit.drop,
            path=chosen.hit.path,
            frame_ms=chosen.hit.frame_ms,
            sku=chosen.hit.sku or "",
            title=chosen.hit.title or "",
            score=chosen.score,
            sha256=picture.sha256,
            mime=MIME,
            width=picture.width,
            height=picture.height,
            bytes=len(picture.data),
        )
        for order, (chosen, picture) in enumerate(found, 1)
    )


def given_reference(name: str, picture: EncodedReference, *, role: str, label: str, order: int) -> Reference:
    """A picture that lies outside of the library."""
    return Reference(
        order=order,
        role=role,
        label=label,
        media_id="",
        product_line="",
        drop="",
        path=name,
        frame_ms=None,
        sku="",
        title=name,
        score=None,
        sha256=picture.sha256,
        mime=MIME,
        width=picture.width,
        height=picture.height,
        bytes=len(picture.data),
    )


def style_references(style: list[tuple[str, EncodedReference]], after: int) -> tuple[Reference, ...]:
    of = after + len(style)
    return tuple(
        given_reference(name, picture, role="style", label=style_label(order, of), order=order)
        for order, (name, picture) in enumerate(style, after + 1)
    )
