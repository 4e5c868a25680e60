"""Files of models that versions up to November 2026 wrote are still read."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from thaw.config.dataset import Image
from thaw.config.subnet import DenseHead, Logistic, trained_head
from thaw.models.bundle import find_model
from thaw.storage.npz import file_digest, save_npz

# models/gap256/record.json of 27 November 2026, without most of its history
SUBNET = """{
 "backbone": {
  "application": "VGG16",
  "batch_size": 32,
  "digest": "c94d410ea35e6dea69c610955ec09a2c5eea4af5e4b1334d781b0a701bbcbfc1",
  "name": "vgg16",
  "precision": "bfloat16",
  "preprocessing": "own",
  "weights": "imagenet"
 },
 "classes": ["functional", "defective"],
 "epochs": 21,
 "history": [
  {
   "accuracy": 0.7547847032546997,
   "loss": 0.5688740611076355,
   "val_accuracy": 0.8108108043670654,
   "val_loss": 0.4405940771102905
  }
 ],
 "image": {"bits": 16, "colour": "grey", "resampling": "bicubic", "size": 224},
 "kept": 13,
 "parameters": 131585,
 "settings": {
  "activation": "relu",
  "batch_size": 32,
  "class_weight": "none",
  "confidence_weight": true,
  "dropout": 0.5,
  "epochs": 50,
  "epsilon": 1e-07,
  "features": "vgg16",
  "keep": "best",
  "kind": "dense",
  "l1": 0.0,
  "l2": 0.0,
  "learning_rate": 0.001,
  "loss_file": "stages/training/losses.py",
  "losses": {"main": {"at": null, "function": "cross_entropy", "reads": null, "weight": 1.0}},
  "momentum": 0.0,
  "monitor": "loss",
  "optimizer": "adam",
  "output": "auto",
  "patience": 8,
  "pooling": "average",
  "schedule": "constant",
  "seed": 0,
  "tensorboard": false,
  "units": [256],
  "weight_decay": 0.0
 },
 "start": null,
 "trained": 131585
}
"""
# the settings of models/logistic/record.json of the same day
LOGISTIC = """{
  "C": 0.01,
  "class_weight": "none",
  "confidence_weight": true,
  "features": "vgg16",
  "kind": "logistic",
  "loss_file": "stages/training/losses.py",
  "max_iter": 2000,
  "pooling": "average_max",
  "seed": 0
}
"""
IMAGE = Image(size=224, resampling="bicubic", colour="grey", bit_depth=16)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty models/gap256, and weights of a backbone."""
    monkeypatch.chdir(tmp_path)
    for name in ("models/gap256", "data/weights"):
        Path(name).mkdir(parents=True)
    save_npz("data/weights/vgg16.npz", {"conv/kernel": np.zeros(3, "float32")})
    return Path("models/gap256")


def test_record_of_november_2026_is_read(folder):
    record = json.loads(SUBNET)
    digest = file_digest("data/weights/vgg16.npz")
    (folder / "record.json").write_text(SUBNET.replace(record["backbone"]["digest"], digest))
    (folder / "model.keras").touch()
    bundle = find_model("gap256")
    assert bundle.classes == ["functional", "defective"] and bundle.image == IMAGE
    assert bundle.backbone.application == "VGG16" and bundle.backbone.digest == digest
    assert bundle.weights.samefile("data/weights/vgg16.npz") and bundle.batch_size == 32
    assert bundle.settings == record["settings"]


def test_card_of_a_package_of_november_2026_is_read(folder):
    record = json.loads(SUBNET)
    card = {key: record[key] for key in ("backbone", "classes", "image", "settings")}
    with zipfile.ZipFile("packaged.keras", "w") as archive:
        archive.writestr("thaw.json", json.dumps(card))
    bundle = find_model("packaged.keras")
    assert bundle.packaged and bundle.backbone is None
    assert bundle.classes == ["functional", "defective"] and bundle.image == IMAGE
    assert bundle.settings == record["settings"]


def test_fewer_bits_in_records_of_november_2026_are_read(folder):
    record = {**json.loads(SUBNET), "backbone": None}
    record["image"]["bits"] = 12
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "model.keras").touch()
    assert find_model("gap256").image.bit_depth == 12


def test_heads_of_november_2026_are_read():
    dense = trained_head(json.loads(SUBNET)["settings"], "record.json")
    assert type(dense) is DenseHead
    assert (dense.units, dense.dropout, dense.pooling) == ([256], 0.5, "average")
    assert (dense.activation, dense.l1, dense.l2, dense.output) == ("relu", 0.0, 0.0, "auto")
    logistic = trained_head(json.loads(LOGISTIC), "record.json")
    assert type(logistic) is Logistic
    assert (logistic.C, logistic.max_iter, logistic.pooling) == (0.01, 2000, "average_max")


@pytest.mark.parametrize("bits", [16, 12])
def test_image_sections_are_recorded_in_the_vocabulary_of_november_2026(bits):
    image = Image(size=64, resampling="nearest", colour="rgb", bit_depth=bits)
    recorded = {"size": 64, "resampling": "nearest", "colour": "rgb", "bits": bits}
    assert image.record() == recorded and Image.from_record(recorded, "image") == image
