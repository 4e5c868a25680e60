"""The training images that an image is most like, by the features that a run cached."""

from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params, validate
from thaw.config.dataset import Image
from thaw.data.duplicates import embed, embeddings, nearest_neighbors
from thaw.data.raw import original_path
from thaw.errors import UserError
from thaw.models.backbones.recipe import frozen_recipe
from thaw.models.bundle import ModelBundle, read_json_object
from thaw.report.results import read_table
from thaw.report.thumbnails import thumbnails
from thaw.storage.arrays import ArrayFolder

NEIGHBOURS = 4
SMALL = 88
"""Pixels."""


class Neighbours:
    """Training images and their features' directions.

    Attributes:
        name, backbone, weights: of what made the features.
        problem: why there are none, as a sentence without its full stop; none: there are.
    """

    def __init__(self, problem: str | None = None):
        self.name, self.problem = "", problem

    @classmethod
    def find(cls, trained: ModelBundle) -> "Neighbours":
        """What data/ holds for this model; where it cannot be used, an instance that says why."""
        made = cls()
        try:
            made._load(trained)
        except (UserError, OSError) as error:  # a run beside it may rewrite data/
            made.problem = " ".join(str(error).split()).removesuffix(".")
        return made

    def _load(self, trained: ModelBundle) -> None:
        table, _ = read_table()
        if table is None:
            raise UserError("the training images are not here (data/split.csv and data/index.csv)")
        if strange := set(table["label"]) - set(trained.classes):
            raise UserError(
                f"the images in data/ are of other classes: {min(strange)!r:.100} is one"
            )
        self.name, self.backbone, self.weights = _backbone(trained)
        folder = Path(f"data/features/{self.name}")
        if not (folder / "keys.txt").exists():
            raise UserError(f"{folder} is not here")
        if _recipe(folder) != frozen_recipe(self.backbone, self.weights, None):
            raise UserError(f"{folder} was made by other weights, settings or versions")
        if not _same_pixels(trained):
            raise UserError("the images in data/ have another size or colour than the model's")
        train = table[table["split"] == "train"].drop_duplicates("pixels")
        features = ArrayFolder(folder)
        known = set(features.keys)
        train = train[[key in known for key in train["pixels"]]].reset_index(drop=True)
        if train.empty:
            raise UserError(f"{folder} has no training image")
        self._train: pd.DataFrame = train
        self._among = embeddings(features, train["pixels"].tolist())
        here = Path("data/images/keys.txt").exists()
        self._images = ArrayFolder("data/images") if here else None

    def nearest(self, features: np.ndarray) -> list[list[tuple[int, float]]]:
        """Numbers and cosines of the nearest training images, the nearest first, for each."""
        numbers, cosines = nearest_neighbors(embed(features), self._among, NEIGHBOURS)
        return [
            [(int(n), float(c)) for n, c in zip(*each, strict=True)]
            for each in zip(numbers, cosines, strict=True)
        ]

    def told(self, like: list[tuple[int, float]]) -> list[dict]:
        """Of each training image its file, label, similarity, and a picture as a data URI or
        none."""
        rows = self._train.iloc[[number for number, _ in like]]
        pictures = {}
        if self._images is not None:
            pictures = thumbnails(self._images, rows["pixels"].tolist(), SMALL)
        return [
            {
                "file": original_path(row.path),
                "label": row.label,
                "similarity": round(cosine, 4),
                "picture": pictures.get(row.pixels),
            }
            for row, (_, cosine) in zip(rows.itertuples(index=False), like, strict=True)
        ]


def _backbone(trained: ModelBundle) -> tuple[str, Backbone, Path]:
    """That of the model; else the one it was fine-tuned from; else the first that is cached."""
    if trained.backbone is not None:
        return trained.weights.stem, trained.backbone, trained.weights
    if not Path("params.yaml").exists():
        raise UserError("there is no params.yaml here")
    known = list(read_params().get("backbones") or {})
    for name in (trained.settings.get("features"), *known):
        if name in known and Path(f"data/features/{name}/keys.txt").exists():
            weights = Path(f"data/weights/{name}.npz")
            if not weights.exists():
                raise UserError(f"{weights} is not here")
            return name, load_section(Backbone, "backbones", name), weights
    raise UserError("no features are cached (data/features)")


def _same_pixels(trained: ModelBundle) -> bool:
    images = Path("data/images")
    held = _recipe(images) if (images / "recipe.json").exists() else read_params("dataset", "image")
    held = {key: held[key] for key in Image.model_fields if key in held}
    return trained.image == validate(Image, held, f"{images}/recipe.json")


def _recipe(folder: Path) -> dict:
    """What shaped a folder's rows, as thaw.storage.arrays keeps it."""
    return read_json_object(folder / "recipe.json", (folder / "recipe.json").read_bytes)
