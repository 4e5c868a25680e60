"""`backbones.NAME`: a pretrained network without its top, and how it is run."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section


class Backbone(Section):
    application: str
    """A network of keras.applications, by its class name: VGG16, ResNet50, ..."""
    weights: Literal["imagenet", "random"]
    """`random` draws them anew from a fixed seed: a control, and what tests use."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """SHA-256 that the ImageNet weights must have; none: only Keras's own check of its file."""
    preprocessing: Literal["own", "rescale"]
    """`own`: what the network was trained on. `rescale`: pixels by 1/255, as in the tutorials."""
    precision: Literal["float32", "bfloat16"]
    """Of the arithmetic. bfloat16 halves the time on processors that have it, and the features'
    size on disk (stored as float16)."""
    batch_size: Annotated[int, Field(ge=1, le=1024)]
    """Images a pass; every pass is filled up to it, so that it never changes a result's shape."""
