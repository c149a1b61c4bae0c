"""Whether the pictures of a run say the truth about where they are from, as a check of campaign_images."""

import dagster as dg

from mmrag_pipeline.campaigns.provenance_check import ProvenanceCheck
from mmrag_pipeline.defs.partitions import campaign_occurrences

PROVENANCE_VALID = dg.AssetCheckSpec(
    "provenance_valid",
    asset="campaign_images",
    description="Every picture's content credentials are true of its bytes and name its own references.",
    partitions_def=campaign_occurrences,
)


def provenance_result(found: ProvenanceCheck) -> dg.AssetCheckResult:
    """A warning: a picture is good without credentials, but its origin should not stay unsaid."""
    return dg.AssetCheckResult(
        check_name=PROVENANCE_VALID.name,
        passed=not found.problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=found.what_to_do if found.problems else "",
        metadata={
            "pictures": found.pictures,
            "wrong": len(found.problems),
            "signer": found.signer,
            "what_to_do": found.what_to_do,
            "problems": dg.MetadataValue.json(found.problems),
        },
    )
