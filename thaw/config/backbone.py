"""`backbones.NAME`: a pretrained network without its classifier, and how it is run."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section, unit


class Backbone(Section):
    """The parameters of a backbone."""

    application: str
    """EfficientNetLite0, EfficientNetLite2, or a class name of keras.applications: VGG16, ..."""
    weights: Literal["imagenet", "random"]
    """`random`: drawn from a fixed seed, as a control and for tests."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """Expected SHA-256 of the ImageNet weights; null: only the file that has them is checked."""
    preprocessing: Literal["own", "rescale"]
    """`own`: that of the network's original training. `rescale`: pixels times 1/255."""
    engine: Annotated[
        Literal["tensorflow", "openvino"], Field(exclude_if=lambda name: name == "tensorflow")
    ] = "tensorflow"
    """The engine that runs the frozen part. On small networks OpenVINO takes half the time or less.
    Records and recipes of November 2026 have no engine, which means tensorflow."""
    precision: Literal["float32", "bfloat16"]
    """Precision of the arithmetic. bfloat16 halves the time on processors that support it, and the
    size of the features on disk (stored as float16)."""
    batch_size: Annotated[int, Field(ge=1, le=1024), unit("images")]
    """Images per batch. For TensorFlow the last batch is padded to this size, so that all results
    are computed with one shape."""
