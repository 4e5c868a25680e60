"""`dataset`: where the images come from, how they are decoded and how they are split."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from thaw.config.base import Section, validate

Fraction = Annotated[float, Field(ge=0, lt=1)]
FULL_DEPTH = 16  # bits of a 16-bit pixel that are in use, unless the user says otherwise


class Source(Section):
    """`dataset.source`: the parameters that all kinds of source share.

    Each kind declares its other parameters beside its reader, as a subclass named `Parameters` in
    thaw/sources/KIND.py.
    """

    kind: str
    """The kind of source: a module of thaw/sources/."""


class Image(Section):
    """`dataset.image`: how an image file is decoded to an array."""

    size: Annotated[int, Field(ge=8, le=2048)]
    """Height and width in pixels. The whole image is resized to it, whatever its aspect ratio."""
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """Pillow's resampling filter. All except `nearest` antialias when they shrink an image."""
    colour: Literal["rgb", "grey"]
    """Three channels or one. Backbones get a single channel repeated three times."""
    bit_depth: Annotated[int, Field(ge=9, le=16)] = FULL_DEPTH
    """Bits in use of a 16-bit grey image: 12 for most cameras. 8-bit images are not affected."""

    def record(self) -> dict[str, Any]:
        """Return the section in the frozen vocabulary of record.json, thaw.json and the store."""
        values = self.model_dump()
        values["bits"] = values.pop("bit_depth")
        return values

    @classmethod
    def from_record(cls, values: Any, place: str) -> Self:
        """Return the section from the vocabulary of `record`.

        Args:
            values: the section as read from a file.
            place: file or key of the section, for messages.

        Raises:
            UserError: a value is invalid.
        """
        if isinstance(values, dict) and "bits" in values:
            values = {key: value for key, value in values.items() if key != "bits"} | {
                "bit_depth": values["bits"]
            }
        return validate(cls, values, place)


class Split(Section):
    """`dataset.split`: how the splits that the source lacks are drawn."""

    test: Fraction
    """Share of all images that become test data."""
    validation: Fraction
    """Share of the remaining images that become validation data; 0 trains without validation."""
    stratify: list[str]
    """Columns of the index whose proportions are the same in every split."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of the random split."""


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("expected the name of a class")
    return value


class Dataset(Section):
    """`dataset`, without the parameters of its kind of source."""

    name: str
    """Name of the dataset in figures and reports."""
    source: dict[str, Any]
    """Where the images come from."""
    image: Image
    """How image files are decoded."""
    split: Split
    """How missing splits are drawn."""
    max_train_images: Annotated[int, Field(ge=1)] | None
    """Train on at most this many images, drawn after the split; null: on all. Validation and test
    data stay complete."""
    allowed_flips: list[Literal["horizontal", "vertical"]]
    """Flips that do not change an image's class. Augmentation uses no others."""
    confidence_weight: bool
    """Weight training images by the confidence of their label, if the dataset has one."""
    on_bad_image: Literal["stop", "skip"]
    """Stop at an image that cannot be read, or skip and count it."""
    positive_class: Annotated[str | bool | int | float | None, BeforeValidator(_scalar)]
    """The positive class for precision, recall and ROC if there are two classes; null: the last in
    alphabetical order. `1` and `true` name the classes "1" and "true"."""
