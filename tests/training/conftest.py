"""What a training is by default, and a place for the stages that train."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.images.arrays import write_arrays

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


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A function that makes a folder of images, a class brighter than the other, their split, a
    third for validation, and parameters. The split has rows of other kinds too, whose images are
    not there: a training that looks for one fails."""

    def make(size: int, channels: int, classes: int, count: int = 24, **sections) -> None:
        monkeypatch.chdir(tmp_path)
        random = np.random.default_rng(0)
        keys = [f"{number:032x}" for number in range(count)]
        shape = (size, size, channels)
        noise = {key: random.integers(0, 128, shape, dtype="uint8") for key in keys}
        pixels = {key: noise[key] + 60 * (int(key, 16) % classes) for key in keys}
        write_arrays("data/images", keys, pixels.__getitem__, {})
        lines = ["pixels,label,class,group,confidence,split"]
        splits = ["train" if number % 3 else "validation" for number in range(count)]
        absent = [f"{number:032x}" for number in range(count, count + 3)]
        for number, (key, split) in enumerate(
            zip([*keys, *absent, ""], [*splits, "test", "test", "unused", "skipped"], strict=True)
        ):
            kind, confidence = number % classes, (1 + number % 5) / 5
            lines.append(f"{key},kind{kind},{kind},,{confidence},{split}")
        (tmp_path / "data/split.csv").write_text("\n".join(lines) + "\n")
        image = {"size": size, "resampling": "bicubic", "colour": "rgb"}
        dataset = {"image": image, "symmetries": ["horizontal"]}
        common = {"seed": 0, "threads": None, "runtime": {"kind": "local"}}
        parameters = {**common, "dataset": dataset, **sections}
        apart = json.loads(json.dumps(parameters))  # or YAML repeats shared parts by aliases
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(apart))

    return make
