"""What a training is by default, for those that are made here."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TRAINING = {
    **yaml.safe_load((ROOT / "conf/training/base.yaml").read_text()),
    "loss_file": str(ROOT / "stages/training/losses.py"),
    "learning_rate": 0.01,
    "batch_size": 16,
    "epochs": 4,
    "keep": "last",
}
"""conf/training/base.yaml and what it leaves to each training."""


def term(function: str = "cross_entropy", weight: float = 1.0, at=None, reads=None) -> dict:
    """An entry of `losses`."""
    return {"function": function, "weight": weight, "at": at, "reads": reads}
