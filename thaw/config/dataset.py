"""`dataset`: where the images come from, how they are decoded and how they are split."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Source(Section):
    """`dataset.source`: what every kind of source has. A kind's own fields are declared beside
    its reader, as a subclass named `Parameters` in stages/sources/KIND.py."""

    kind: str
    """The reader: a file of stages/sources/."""


class Image(Section):
    """`dataset.image`: how a file becomes an array."""

    size: Annotated[int, Field(ge=8, le=2048)]
    """Height and width in pixels; the whole picture is stretched to it."""
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """Pillow's filter; all but `nearest` smooth when they shrink."""
    colour: Literal["rgb", "grey"]
    """Three channels or one; backbones repeat a single channel."""
    bits: Annotated[int, Field(ge=9, le=16)] = 16
    """Of the 16 that each pixel of a grey picture may have, how many are in use: 12 for most
    cameras that do not use all. Pictures of 8 bits are read as ever."""


class Split(Section):
    """`dataset.split`: how the splits that the source does not have are carved."""

    test: Fraction
    """Share of all images."""
    validation: Fraction
    """Share of what is not test data; 0 trains without validation."""
    stratify: list[str]
    """Columns of the index whose mixture every split keeps."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]


class Dataset(Section):
    """`dataset`, all but its source."""

    name: str
    """Stands in figures and reports."""
    source: dict
    image: Image
    split: Split
    limit: Annotated[int, Field(ge=1)] | None
    """Train on so many images only, drawn after the split; validation and test data stay whole."""
    symmetries: list[Literal["horizontal", "vertical"]]
    """Flips after which a picture shows the same class; augmentation uses no others."""
    on_bad_image: Literal["stop", "skip"]
    """An image that cannot be read stops the run, or is left out and counted."""
    positive: str | None
    """The class that precision, recall and ROC are about when there are two; none: the last
    in alphabetical order."""
