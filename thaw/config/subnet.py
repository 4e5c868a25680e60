"""`subnets.NAME`: a head, dense layers or a logistic regression, trained on features."""

from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.base import Section, did_you_mean, validate
from thaw.config.training import Positive, Share, Training
from thaw.errors import UserError

Penalty = Annotated[float, Field(ge=0)]
Pooling = Literal["average", "average_max"]


class DenseHead(Section):
    """Fully connected layers, each followed by dropout, and the output layer."""

    kind: Literal["dense"]
    features: str
    """The backbone whose features are read."""
    pooling: Literal["flatten", "average"]
    """How a feature map becomes a vector."""
    units: list[Positive]
    """Units of each hidden layer."""
    dropout: Share
    """Dropout rate after each hidden layer."""
    l2: Penalty
    """L2 penalty on the hidden layers' kernels."""
    output: Literal["auto", "softmax"]
    """`auto`: one sigmoid unit for two classes, softmax for more."""
    activation: Literal["relu", "elu", "gelu", "tanh"] = "relu"
    l1: Penalty = 0.0
    """L1 penalty on the hidden layers' kernels."""


class Dense(Training, DenseHead):
    """A dense head and how it is trained."""


class Logistic(Section):
    """scikit-learn's logistic regression on pooled, standardised features."""

    kind: Literal["logistic"]
    features: str
    """The backbone whose features are read."""
    pooling: Pooling
    """How a feature map becomes a vector: the average of each channel, or the average and the
    maximum. A small defect changes the maximum as much as a large one."""
    C: Annotated[float, Field(gt=0)]
    """Inverse strength of the L2 penalty."""
    max_iter: Positive
    """Largest number of iterations of the solver."""
    class_weight: Literal["none", "balanced"]
    """`balanced`: every class has the same total weight, however many images it has."""


KINDS: dict[str, type[Dense] | type[Logistic]] = {"dense": Dense, "logistic": Logistic}


def validate_subnet(values: Any, name: str) -> Dense | Logistic:
    """Return `subnets.NAME`, validated as the kind that it names.

    Raises:
        UserError: the kind is unknown, or a value is invalid.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"subnets.{name}.kind = {kind!r}: expected one of {', '.join(KINDS)}."
            f"{did_you_mean(kind, KINDS)}"
        )
    return validate(KINDS[kind], values, "subnets", name)


def trained_head(settings: dict[str, Any], place: str) -> DenseHead | Logistic:
    """Return the head that a record.json describes, of this version or of November 2026.

    Args:
        settings: the record's settings. Only those that describe the head are read.
        place: file or key of the settings, for messages.

    Raises:
        UserError: they describe no head.
    """
    head: type[DenseHead] | type[Logistic]
    head = Logistic if settings.get("kind") == "logistic" else DenseHead
    return validate(head, {k: settings[k] for k in head.model_fields if k in settings}, place)
