"""`search` and `space` of a model: the hyperparameters that Optuna chooses, and for how long."""

import copy
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from thaw.config.base import Section, did_you_mean, unit, validate
from thaw.errors import UserError

Path = tuple[str, ...]  # keys from a model to one of its parameters: ("optimizer", "learning_rate")


class Search(Section):
    """How long a search takes and how it compares candidates."""

    trials: Annotated[int, Field(ge=1, le=10_000)]
    """Number of candidates to try."""
    folds: Annotated[int, Field(ge=2, le=20)]
    """Cross-validation folds of the training images. A candidate's score is its mean log loss on
    the images of each fold after a training on the others."""
    seconds: Annotated[Annotated[float, Field(gt=0)] | None, unit("seconds")]
    """Time after which no trial starts; null: no limit. With a limit, the number of trials, and so
    the result, depends on the machine's speed."""


class Range(Section):
    """Numbers to search: whole numbers if both limits are, such as 1 and 4 but not 1.0 and 4.0."""

    low: float | int
    """Smallest value."""
    high: float | int
    """Largest value."""
    log: bool = False
    """Search powers: as many candidates between 0.001 and 0.01 as between 0.01 and 0.1."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError("expected low < high")
        if self.log and self.low <= 0:
            raise ValueError("expected low > 0, since log = true")
        return self


def searched(space: dict[str, Any], *keys: str) -> dict[Path, Range | list[Any]]:
    """Return the parameters of a space with the values to search: a range or a list of choices.

    Args:
        space: nested like the model. A leaf is a list or a section with `low` and `high`.
        keys: the keys of `space` in params.yaml, for messages.

    Raises:
        UserError: a leaf is neither.
    """

    def walk(values: Any, path: Path) -> Iterator[tuple[Path, Range | list[Any]]]:
        if isinstance(values, list) and values:
            yield path, values
        elif isinstance(values, dict) and {"low", "high"} & set(values):
            yield path, validate(Range, values, *keys, *path)
        elif isinstance(values, dict) and (values or not path):
            for key, value in values.items():
                yield from walk(value, (*path, str(key)))
        else:
            raise UserError(
                f"{'.'.join([*keys, *path])} = {values!r:.200}: expected a list of choices, or "
                f"{{low: NUMBER, high: NUMBER}}."
            )

    return dict(walk(space, ()))


def with_values(model: dict[str, Any], values: dict[Path, Any]) -> dict[str, Any]:
    """Return a copy of a model's parameters in which some have other values."""
    changed = copy.deepcopy(model)
    for (*sections, last), value in values.items():
        section = changed
        for key in sections:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise UserError(f"{'.'.join([*sections, last])}: {key} has no parameters.")
        section[last] = value
    return changed


def check_names(space: dict[str, Any], models: dict[str, Any], *keys: str) -> None:
    """Check that every key of `space` is the name of one of the models that are searched.

    Raises:
        UserError: a name is unknown.
    """
    for name in space:
        if name not in models:
            raise UserError(
                f"{'.'.join([*keys, name])}: expected one of {', '.join(models)}."
                f"{did_you_mean(name, models)}"
            )
