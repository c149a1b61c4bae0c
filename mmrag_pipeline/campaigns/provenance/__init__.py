"""What a picture file says of its own origin: XMP for everybody, and a C2PA manifest signed over the final bytes."""

from mmrag_pipeline.campaigns.provenance.credentials import Credentials, development_credentials, open_credentials
from mmrag_pipeline.campaigns.provenance.signing import Source, sign
from mmrag_pipeline.campaigns.provenance.verify import Ingredient, ProvenanceReport, verify
from mmrag_pipeline.campaigns.provenance.xmp import PNG_XMP, SourceType, encode_with_xmp, xmp_packet

__all__ = [
    "PNG_XMP",
    "Credentials",
    "Ingredient",
    "ProvenanceReport",
    "Source",
    "SourceType",
    "development_credentials",
    "encode_with_xmp",
    "open_credentials",
    "sign",
    "verify",
    "xmp_packet",
]
