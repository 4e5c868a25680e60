"""`dataset`: where the images come from, how they are decoded and how they are split."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator

from thaw.config.base import Section, unit, validate

Fraction = Annotated[float, Field(ge=0, lt=1)]
FULL_DEPTH = 16  # bits of a 16-bit pixel that are in use, unless the user says otherwise
NEAR_DUPLICATES = "near_duplicates"  # the value of dataset.split.group that reads features


class Source(Section):
    """`dataset.source`: the parameters that all kinds of source share.

    Each kind declares its other parameters beside its reader, as a subclass named `Parameters` in
    thaw/sources/KIND.py.
    """

    kind: str
    """The kind of source: a module of thaw/sources/."""


class FolderSource(Source):
    """`dataset.source` of a directory tree or an archive: how it is interpreted."""

    layout: Literal["classes", "splits/classes", "classes/splits", "folders/classes"] | None = None
    """Meaning of the folders, from the top; null: recognized by their names. `folders` are neither
    classes nor splits: images of the same class in several of them are one class."""
    root: str | None = None
    """Sub-folder that contains the dataset; null: found."""
    include: list[str] = []
    """Glob patterns of files and folders to read; empty: all. Without a slash, a pattern matches a
    name at any depth."""
    exclude: list[str] = []
    """Glob patterns of files and folders to leave out."""
    label_pattern: str | None = None
    """Regular expression whose only group is the label, searched in the file name, or in the whole
    path if it contains a slash; null: folders are classes."""
    zip_encoding: str | None = None
    """Encoding of the file names in an archive, such as cp932 or gbk; null: UTF-8, or cp437 where
    a zip archive does not say UTF-8."""

    @field_validator("root")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or ".." in value.split("/")):
            raise ValueError("expected a sub-folder of dataset.source.path, relative to it")
        return value

    @field_validator("label_pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"expected a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"expected a regular expression with one group, not {groups}")
        return value

    @field_validator("zip_encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError("expected an encoding such as cp932, gbk or cp866") from None
        return value


# Height and width in pixels: one number for a square, or [height, width]
Size = int | Sequence[int]


def height_width(size: Size) -> tuple[int, int]:
    """Return the height and the width of a size."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


_Pixels = Annotated[int, Field(ge=8, le=2048)]
_Size = _Pixels | Annotated[list[_Pixels], Field(min_length=2, max_length=2)]  # documents `size`


def _check_size(size: Any) -> Size:
    both = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(each) is int and 8 <= each <= 2048 for each in both):
        raise ValueError("expected 8 to 2048 pixels, or [HEIGHT,WIDTH] of as many")
    return both if len(both) == 2 else both[0]


class Image(Section):
    """`dataset.image`: how an image file is decoded to an array."""

    size: Annotated[Size, PlainValidator(_check_size, json_schema_input_type=_Size), unit("pixels")]
    """Height and width in pixels: one number for a square, or [height, width]."""
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """Pillow's resampling filter. All except `nearest` antialias when they shrink an image."""
    colour: Literal["rgb", "grey"]
    """Three channels or one. Backbones get a single channel repeated three times."""
    bit_depth: Annotated[int, Field(ge=9, le=16), unit("bits")] = FULL_DEPTH
    """Bits in use of a 16-bit grey image: 12 for most cameras. 8-bit images are not affected."""
    value_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """The values that become black and white in grey images with more than 8 bits, instead of
    `bit_depth`. Images of floats, or of signed or 32-bit integers, need it."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How an image of other proportions gets those of `size`: it is stretched, its centre is cut
    out, or black margins are added."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The height, width and number of channels of a decoded image."""
        return (*height_width(self.size), 3 if self.colour == "rgb" else 1)

    @field_validator("value_range")
    @classmethod
    def _check_range(cls, value: list[float] | None, info: ValidationInfo) -> list[float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("expected [low, high] with low < high")
        if value is not None and info.data.get("bit_depth") != FULL_DEPTH:
            raise ValueError(f"expected null, or dataset.image.bit_depth = {FULL_DEPTH}")
        return value

    def record(self) -> dict[str, Any]:
        """Return the section in the frozen vocabulary of record.json, thaw.json and the store."""
        values = self.model_dump()
        values["bits"] = values.pop("bit_depth")
        # they came later: their defaults are not recorded, so that older recipes stay valid
        defaults = {"fit": "stretch", "value_range": None}
        return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}

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
    group: str | None = None
    """Images that must stay in one split: those with the same value in a column of the index; in
    the same `folder` below the class folder; with the same text in the parentheses of a regular
    expression on the path; or `near_duplicates`. null: only identical images stay together."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Cosine similarity of averaged features from which two images are near-duplicates. Used only
    with group: near_duplicates."""

    @field_validator("group")
    @classmethod
    def _check_pattern(cls, group: str | None) -> str | None:
        if group is not None and "(" in group:
            try:
                pairs = re.compile(group).groups
            except re.error as error:
                raise ValueError(f"expected a valid regular expression: {error}") from None
            if pairs != 1:
                raise ValueError(
                    f"expected a regular expression with one pair of parentheses around the "
                    f"group's name, not {pairs}. Write other parentheses as (?:...)"
                )
        return group


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
    max_train_images: Annotated[Annotated[int, Field(ge=1)] | None, unit("images")]
    """Train on at most this many images, drawn after the split; null: on all. Validation and test
    data stay complete."""
    allowed_flips: list[Literal["horizontal", "vertical"]]
    """Flips that do not change an image's class. Augmentation uses no others."""
    confidence_weight: bool
    """Weight training images by the confidence of their label, if the dataset has one."""
    on_bad_image: Literal["stop", "skip", "truncate"]
    """Stop at an image that cannot be read, skip and count it, or accept and count images whose end
    is missing and stop at others."""
    on_leak: Literal["stop", "drop"]
    """Stop at an image that is in two of the user's splits, or remove it from training (and from
    validation if it is a test image)."""
    on_contradiction: Literal["stop", "drop"]
    """Stop at an image that has two labels, or leave all its files out."""
    positive_class: Annotated[str | bool | int | float | None, BeforeValidator(_scalar)]
    """The positive class for precision, recall and ROC if there are two classes; null: the last in
    alphabetical order. `1` and `true` name the classes "1" and "true"."""
