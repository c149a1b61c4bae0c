"""What a picture file says of its own origin: XMP for everybody, and a C2PA manifest signed over the final bytes."""

from mmrag_pipeline.campaigns.provenance.credentials import (
    Credentials,
    credentials_in_force,
    development_credentials,
    development_folder,
    open_credentials,
    trusted_certificates,
)
from mmrag_pipeline.campaigns.provenance.signing import Source, require_usable, sign
from mmrag_pipeline.campaigns.provenance.verify import Ingredient, ProvenanceReport, read_provenance, verify
from mmrag_pipeline.campaigns.provenance.xmp import PNG_XMP, SourceType, encode_with_xmp, xmp_packet

__all__ = [
    "PNG_XMP",
    "Credentials",
    "Ingredient",
    "ProvenanceReport",
    "Source",
    "SourceType",
    "credentials_in_force",
    "development_credentials",
    "development_folder",
    "encode_with_xmp",
    "open_credentials",
    "read_provenance",
    "require_usable",
    "sign",
    "trusted_certificates",
    "verify",
    "xmp_packet",
]
