"""`dataset`: where the images come from, how they are decoded and how they are split."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from thaw.config.base import Section, validate

Fraction = Annotated[float, Field(ge=0, lt=1)]
FULL_DEPTH = 16  # bits of a 16-bit pixel that are in use, unless the user says otherwise


class Source(Section):
    """`dataset.source`: what every kind of source has. The fields of one kind are declared beside
    its reader, as a subclass named `Parameters` in thaw/sources/KIND.py."""

    kind: str
    """The reader: a module of thaw/sources/."""


class Image(Section):
    """`dataset.image`: how a file becomes an array."""

    size: Annotated[int, Field(ge=8, le=2048)]
    """Height and width in pixels; the whole picture is stretched to it."""
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """Pillow's filter; all but `nearest` smooth when they shrink."""
    colour: Literal["rgb", "grey"]
    """Three channels or one; backbones repeat a single channel."""
    bit_depth: Annotated[int, Field(ge=9, le=16)] = FULL_DEPTH
    """How many of the 16 bits a grey 16-bit picture uses: 12 for most cameras. Pictures of 8 bits
    are not affected."""

    def record(self) -> dict[str, Any]:
        """Return the section in the frozen vocabulary of record.json, thaw.json and the store."""
        values = self.model_dump()
        return {**values, "bits": values.pop("bit_depth")}

    @classmethod
    def from_record(cls, values: Any, place: str) -> Self:
        """Return the section from the vocabulary of `record`.

        Args:
            values: as read from a file.
            place: where they stand, for messages.

        Raises:
            UserError: a value is invalid.
        """
        if isinstance(values, dict) and "bits" in values:
            values = {key: value for key, value in values.items() if key != "bits"} | {
                "bit_depth": values["bits"]
            }
        return validate(cls, values, place)


class Split(Section):
    """`dataset.split`: how the splits that the source does not have are drawn."""

    test: Fraction
    """Share of all images."""
    validation: Fraction
    """Share of the images that are not test data; 0 trains without validation."""
    stratify: list[str]
    """Columns of the index whose proportions every split keeps."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]


class Dataset(Section):
    """`dataset`, all but the fields of its source."""

    name: str
    """Appears in figures and reports."""
    source: dict
    image: Image
    split: Split
    max_train_images: Annotated[int, Field(ge=1)] | None
    """Train on at most this many images, drawn after the split; validation and test data stay
    complete. null: on all."""
    allowed_flips: list[Literal["horizontal", "vertical"]]
    """Flips that do not change a picture's class; augmentation uses no others."""
    confidence_weight: bool
    """Training images weigh by the confidence of their label, where the data set has one."""
    on_bad_image: Literal["stop", "skip"]
    """An image that cannot be read stops the run, or is left out and counted."""
    positive_class: str | None
    """The class that precision, recall and ROC are about when there are two; null: the last
    in alphabetical order."""
