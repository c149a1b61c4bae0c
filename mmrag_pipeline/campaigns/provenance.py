"""What a file says of its own origin: IPTC's digital source type as an XMP packet. Signing joins it here
later.
"""

from __future__ import annotations

from typing import Literal

SourceType = Literal["compositeSynthetic", "algorithmicMedia", "trainedAlgorithmicMedia"]
PNG_XMP = "XML:com.adobe.xmp"
_BASE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp_packet(source: SourceType) -> str:
    """The XMP packet that names `source` as the digital source type."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{_BASE}{source}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
