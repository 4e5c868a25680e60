"""`subnets.NAME`: a head on features (dense layers, logistic regression), or a search for one."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.base import S, Section, did_you_mean, validate
from thaw.config.search import Range, Search, check_names, searched, with_values
from thaw.config.training import Positive, Share, Training, loss_file
from thaw.errors import UserError

Penalty = Annotated[float, Field(ge=0)]
Pooling = Literal["average", "average_max"]


class DenseHead(Section):
    """Fully connected layers, each followed by dropout, and the output layer."""

    kind: Literal["dense"]
    """The kind of head."""
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
    """Activation function of the hidden layers."""
    l1: Penalty = 0.0
    """L1 penalty on the hidden layers' kernels."""


class Dense(Training, DenseHead):
    """A dense head and how it is trained."""


class Logistic(Section):
    """scikit-learn's logistic regression on pooled, standardised features."""

    kind: Literal["logistic"]
    """The kind of head."""
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


Head = Dense | Logistic


class Tuned(Section):
    """A search for the head and the hyperparameters with the lowest cross-validated log loss."""

    kind: Literal["tuned"]
    """The kind of subnet: a search."""
    features: str
    """The backbone whose features are read, also by each of the `heads`."""
    search: Search
    """Number of trials, folds and seconds."""
    heads: Annotated[dict[str, Any], Field(min_length=1)]
    """Complete subnets by name, of kind dense or logistic. They are tried first, as they are, if
    `space` contains their values. Each later trial changes the values of one of them."""
    space: dict[str, Any]
    """For each head, the values to try: its parameters, each with a list of choices or with `low`
    and `high` (and `log: true`). What is not listed stays as in `heads`."""


HEADS: dict[str, type[Head]] = {"dense": Dense, "logistic": Logistic}
KINDS: dict[str, type[Head | Tuned]] = {**HEADS, "tuned": Tuned}


def validate_subnet(values: Any, name: str) -> Head | Tuned:
    """Return `subnets.NAME`, validated as the kind that it names.

    Raises:
        UserError: the kind is unknown, or a value is invalid.
    """
    subnet = _validate_kind(values, KINDS, "subnets", name)
    if isinstance(subnet, Tuned):
        dense = [head for head in _candidates(subnet, name) if isinstance(head, Dense)]
        files = {loss_file(term.function) for head in dense for term in head.losses.values()}
        if len(files) > 1:
            raise UserError(
                f"subnets.{name}.heads: expected losses of one file, and they are in "
                f"{', '.join(sorted(files))}."
            )
    return subnet


def validate_head(values: Any, *keys: str) -> Head:
    """Return a subnet that is no search, validated as the kind that it names.

    Args:
        values: its parameters.
        keys: their keys in params.yaml, or a file, for messages.

    Raises:
        UserError: the kind is unknown, or a value is invalid.
    """
    return _validate_kind(values, HEADS, *keys)


def possible_kinds(subnet: Head | Tuned) -> set[str]:
    """Return the kinds of head that a subnet can be, more than one only for a search."""
    if isinstance(subnet, Tuned):
        return {head["kind"] for head in subnet.heads.values()}
    return {subnet.kind}


def _validate_kind(values: Any, kinds: dict[str, type[S]], *keys: str) -> S:
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(
            f"{'.'.join(keys)}.kind = {kind!r}: expected one of {', '.join(kinds)}."
            f"{did_you_mean(kind, kinds)}"
        )
    return validate(kinds[kind], values, *keys)


def _candidates(tuned: Tuned, name: str) -> Iterator[Head]:
    """Yield each head, and each head with one parameter at each choice or limit, validated."""
    check_names(tuned.space, tuned.heads, "subnets", name, "space")
    for head, values in tuned.heads.items():
        yield _validate_candidate(values, tuned, "subnets", name, "heads", head)
        keys = ("subnets", name, "space", head)
        for path, choices in searched(tuned.space.get(head, {}), *keys).items():
            for choice in [choices.low, choices.high] if isinstance(choices, Range) else choices:
                yield _validate_candidate(with_values(values, {path: choice}), tuned, *keys)


def _validate_candidate(values: Any, tuned: Tuned, *keys: str) -> Head:
    head = validate_head(values, *keys)
    if head.features != tuned.features:
        raise UserError(
            f"{'.'.join(keys)}.features = {head.features!r}: expected {tuned.features!r}, the "
            f"features of the search."
        )
    return head


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
