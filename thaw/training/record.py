"""The record of a training: record.json beside each model."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Record:
    """The settings and results of a training.

    Attributes:
        kept: the epoch whose weights the model has, counted from 1; 0 is a trained start.
        epochs: how many epochs were run.
        settings: the training's parameters.
        parameters: how many numbers the model has.
        classes: the labels in the order of their numbers.
        image: how a file is decoded to the pixels that the model, or its backbone, reads.
        backbone: for a subnet, the backbone's parameters, its `name`, and the `digest` of the
            weights that computed the features; None for a model of pixels.
        trained: how many of the parameters were trained.
        history: the metrics of each epoch.
        start: the metrics before the first epoch, if the start was a trained model.
        frozen: for a fine-tuning on cached outputs, the backbone's parameters, its `name` and the
            `digest` of its weights.
    """

    kept: int
    epochs: int
    settings: dict[str, Any]
    parameters: int
    classes: list[str] = field(default_factory=list)
    image: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] | None = None
    trained: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    start: dict[str, float] | None = None
    frozen: dict[str, Any] | None = None

    def json(self) -> str:
        """Return the record as JSON text, equal for equal trainings."""
        fields = asdict(self)
        if self.frozen is None:  # the bytes of other records stay as they were
            del fields["frozen"]
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"
