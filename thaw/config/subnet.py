"""`subnets.NAME`: a small network, or a logistic regression, trained on features."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section, did_you_mean, validate
from thaw.config.training import Positive, Share, Training
from thaw.errors import UserError

Penalty = Annotated[float, Field(ge=0)]
Pooling = Literal["average", "average_max"]


class Dense(Training):
    """Fully connected layers, each followed by dropout, and the output."""

    kind: Literal["dense"]
    features: str
    """The backbone whose features it reads."""
    pooling: Literal["flatten", "average"]
    """What makes a vector of a feature map."""
    units: list[Positive]
    """Of each hidden layer."""
    activation: Literal["relu", "elu", "gelu", "tanh"]
    dropout: Share
    l1: Penalty
    l2: Penalty
    """Penalties on the hidden layers' kernels."""
    output: Literal["auto", "softmax"]
    """`auto`: one sigmoid unit for two classes, softmax for more."""


class Logistic(Section):
    """scikit-learn's logistic regression on pooled, standardised features."""

    kind: Literal["logistic"]
    features: str
    """The backbone whose features it reads."""
    pooling: Pooling
    """What makes a vector of a feature map: each channel's average, or that and its maximum, which
    a small defect moves as much as a large one."""
    C: Annotated[float, Field(gt=0)]
    """Inverse strength of the L2 penalty."""
    max_iter: Positive
    class_weight: Literal["none", "balanced"]
    confidence_weight: bool


KINDS = {"dense": Dense, "logistic": Logistic}


def validate_subnet(values, name: str) -> Dense | Logistic:
    """`subnets.NAME`, checked as the kind that it names.

    Raises:
        UserError: there is no such kind, or a value is not what it declares.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"subnets.{name}.kind = {kind!r}: expected one of {', '.join(KINDS)}."
            f"{did_you_mean(kind, KINDS)}"
        )
    return validate(KINDS[kind], values, "subnets", name)
