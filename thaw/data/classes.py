"""Match a value of params.yaml to the name of a class."""

import yaml

from thaw.config.base import Loader, did_you_mean
from thaw.errors import UserError

Scalar = str | bool | int | float | None  # as YAML reads a value


def named_class(value: Scalar, labels: list[str]) -> str:
    """Return the class that a value of `dataset.positive_class` names.

    Args:
        value: a class, or what YAML reads a class as: 1 names the class "1", true the class "true".
        labels: names of the classes.

    Raises:
        UserError: it names none of the classes, or several.
    """
    named = [label for label in labels if label == str(value)]
    named = named or [label for label in labels if _reads_as(label, value)]
    if len(named) > 1:
        raise UserError(
            f"dataset.positive_class = {value!r}: expected one class, and {' and '.join(named)} "
            f"are read so. Quote it twice: -S 'dataset.positive_class=\"{named[0]}\"'."
        )
    if not named:
        raise UserError(
            f"dataset.positive_class = {value!r}: expected one of {', '.join(labels)}."
            f"{did_you_mean(value, labels)}"
        )
    return named[0]


def _reads_as(label: str, value: Scalar) -> bool:
    """Return whether DVC (YAML 1.2) or Hydra (YAML 1.1) reads the text `label` as `value`."""
    if isinstance(value, str):
        return False
    readings = []
    for loader in (Loader, yaml.SafeLoader):
        try:
            readings.append(yaml.load(label, loader))
        except (yaml.YAMLError, ValueError):
            continue
    return any(
        isinstance(reading, bool) == isinstance(value, bool) and reading == value
        for reading in readings
    )
