"""Whether the finished pictures of an occurrence say the truth about their origin, read from the files themselves."""

from __future__ import annotations

from dataclasses import dataclass

from upath import UPath

from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.provenance import Credentials, verify
from mmrag_pipeline.campaigns.sidecar import GENERATED, read_sidecar
from mmrag_pipeline.errors import UserError


@dataclass(frozen=True)
class ProvenanceCheck:
    """`problems` by file name, one sentence each."""

    pictures: int
    signer: str
    self_made: bool
    problems: dict[str, str]

    @property
    def what_to_do(self) -> str:
        """For a person; "nothing" where that is all."""
        if self.problems:
            return (
                "Remove the files that the problems name and run campaign_images again: they are finished and signed "
                "anew from their originals, for nothing."
            )
        if self.self_made:
            return (
                "Before pictures are published, set MMRAG_C2PA_CERTIFICATE and MMRAG_C2PA_KEY and run again: nobody "
                "else trusts the self-made certificate."
            )
        return "nothing"


def check_provenance(plan: CampaignPlan, *, images: UPath, credentials: Credentials) -> ProvenanceCheck:
    """Read the credentials of every picture that the plan's sidecars vouch for."""
    pictures, problems = 0, {}
    for variant in plan.variants:
        sidecar = read_sidecar(images, plan, variant)
        if not sidecar or sidecar["status"] != GENERATED:
            continue
        pictures += 1
        file = sidecar["picture"]["file"]
        if problem := _problem(images / file, variant):
            problems[file] = problem
    return ProvenanceCheck(pictures, credentials.signer, credentials.self_made, problems)


def _problem(file: UPath, variant: Variant) -> str:
    try:
        report = verify(file)
    except UserError as error:
        return str(error)
    if not report.ok:
        return "; ".join(report.problems) or "its XMP names no digital source type"
    named = [ingredient.sha256 for ingredient in report.ingredients]
    sent = [reference.sha256 for reference in variant.references]
    return "" if named == sent else "its credentials name other references than the plan"
