"""What is written down of a training."""

import json
from dataclasses import asdict, dataclass, field


@dataclass
class Record:
    """What became of a training.

    Attributes:
        kept: the epoch whose weights the model has, counted from 1; 0 is the start, where that
            was a trained model.
        epochs: how many were run.
        settings: the parameters it was run with.
        classes: the labels in the order of their numbers.
        image: how a file becomes the pixels that the model, or its backbone, reads.
        backbone: the parameters of the backbone whose features a subnet reads, and its `name`;
            none for a model of pixels. Its `digest` is that of the weights which made them.
        parameters: how many numbers the model has, of which `trained` were learnt here.
        history: the metrics of each epoch.
        start: the metrics before the first epoch, where it was a trained model.
    """

    kept: int
    epochs: int
    settings: dict
    parameters: int
    classes: list[str] = field(default_factory=list)
    image: dict = field(default_factory=dict)
    backbone: dict | None = None
    trained: int | None = None
    history: list[dict] = field(default_factory=list)
    start: dict | None = None

    def json(self) -> str:
        """The record as text, the same for the same training."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
