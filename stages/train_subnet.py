"""Train a subnet, a dense head or a logistic regression, on cached features."""

import json
from pathlib import Path

from thaw.config.backbone import Backbone
from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image
from thaw.config.subnet import Logistic, Tuned, validate_head, validate_subnet
from thaw.data.split_table import SplitTable
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write
from thaw.training.subnets import train_dense, train_logistic


def main(name: str) -> None:
    """Write models/NAME: model.keras or model.npz, record.json and learning curves."""
    parameters = validate_subnet(read_params("subnets", name), name)
    if isinstance(parameters, Tuned):
        winner = f"data/searches/{name}.yaml"
        parameters = validate_head(read_params(file=winner), winner)
    backbone = load_section(Backbone, "backbones", parameters.features).model_dump()
    rows = SplitTable(confidence_weight=read_value(Dataset, "dataset", "confidence_weight"))
    features = ArrayFolder(f"data/features/{parameters.features}")
    seed = read_value(Common, "seed")
    with atomic_write(f"models/{name}") as folder:
        folder.mkdir()
        if isinstance(parameters, Logistic):
            record = train_logistic(parameters, rows, features, seed, folder)
        else:
            record = train_dense(parameters, rows, features, seed, folder)
        record.classes = rows.classes
        record.image = load_section(Image, "dataset", "image").record()
        recipe = json.loads(Path(f"data/features/{parameters.features}/recipe.json").read_text())
        digest = recipe["weights"]
        record.backbone = {"name": parameters.features, **backbone, "digest": digest}
        (folder / "record.json").write_text(record.json())
