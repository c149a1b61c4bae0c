"""ConfigurableResource classes: typed configuration on the outside, domain objects on the inside; no wiring."""

from mmrag_pipeline.resources.clip import ClipEncoderResource
from mmrag_pipeline.resources.golden import GoldenResource
from mmrag_pipeline.resources.images import BriefsResource, ImageBackendResource
from mmrag_pipeline.resources.media import MediaLibraryResource, StoreResource
from mmrag_pipeline.resources.milvus import MilvusResource

__all__ = [
    "BriefsResource",
    "ClipEncoderResource",
    "GoldenResource",
    "ImageBackendResource",
    "MediaLibraryResource",
    "MilvusResource",
    "StoreResource",
]
