"""Train a subnet: a small head, or the logistic baseline, on cached features."""

import json
from pathlib import Path

from thaw.config.backbone import Backbone
from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image
from thaw.config.subnet import Logistic, validate_subnet
from thaw.data.split_table import SplitTable
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write
from thaw.training.subnets import train_dense, train_logistic


def main(name: str) -> None:
    """Write models/NAME: the model, record.json and DVCLive's learning curves."""
    parameters = validate_subnet(read_params("subnets", name), name)
    rows = SplitTable(confidence_weight=read_value(Dataset, "dataset", "confidence_weight"))
    features = ArrayFolder(f"data/features/{parameters.features}")
    with atomic_write(f"models/{name}") as folder:
        folder.mkdir()
        train = train_logistic if isinstance(parameters, Logistic) else train_dense
        record = train(parameters, rows, features, read_value(Common, "seed"), folder)
        record.classes = rows.classes
        record.image = load_section(Image, "dataset", "image").record()
        backbone = load_section(Backbone, "backbones", parameters.features)
        recipe = json.loads(Path(f"data/features/{parameters.features}/recipe.json").read_text())
        of = {**backbone.model_dump(), "digest": recipe["weights"]}
        record.backbone = {"name": parameters.features, **of}
        (folder / "record.json").write_text(record.json())
