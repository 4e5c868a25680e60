"""Find the training images that are most similar to an image, by cached bottleneck features."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params
from thaw.config.dataset import Image
from thaw.data.duplicates import embed, embeddings, nearest_neighbors
from thaw.data.raw import original_path
from thaw.errors import UserError
from thaw.models.backbones.recipe import frozen_recipe
from thaw.models.bundle import ModelBundle, read_json_object
from thaw.report.run_results import read_table
from thaw.report.thumbnails import thumbnails
from thaw.storage.arrays import ArrayFolder

COUNT = 4  # similar training images shown for each image
THUMBNAIL_SIZE = 88  # pixels

Match = tuple[int, float]  # the number of a training image, and its cosine similarity


class NearestImages:
    """Training images that can be searched by similarity.

    Attributes:
        name: the backbone whose features are compared.
        backbone: its parameters.
        weights: its file of weights.
        problem: why there is nothing to search, without a full stop. None if there is.
    """

    backbone: Backbone
    weights: Path

    def __init__(self, problem: str | None = None) -> None:
        self.name, self.problem = "", problem

    @classmethod
    def load(cls, bundle: ModelBundle) -> "NearestImages":
        """Read the training images in data/ that fit a model.

        Returns:
            An instance whose `problem` is set if data/ cannot be used.
        """
        nearest = cls()
        try:
            nearest._load(bundle)
        except (UserError, OSError) as error:  # a run in parallel may rewrite data/
            nearest.problem = " ".join(str(error).split()).removesuffix(".")
        except Exception as error:  # damaged tables and arrays raise nearly everything
            nearest.problem = f"the files in data/ cannot be read ({error!r:.200})"
        return nearest

    def _load(self, bundle: ModelBundle) -> None:
        table, _ = read_table()
        if table is None:
            raise UserError("data/split.csv and data/index.csv are missing")
        if unknown := set(table["label"]) - set(bundle.classes):
            raise UserError(
                f"the images in data/ have other classes than the model: {min(unknown)!r:.100}"
            )
        self.name, self.backbone, self.weights = _backbone(bundle)
        folder = Path(f"data/features/{self.name}")
        if not (folder / "keys.txt").exists():
            raise UserError(f"{folder} is missing")
        if _recipe(folder) != frozen_recipe(self.backbone, self.weights, None):
            raise UserError(f"{folder} was computed with other weights, settings or versions")
        if not _same_image_section(bundle):
            raise UserError("the images in data/ have another size or colour than the model's")
        train = table[table["split"] == "train"].drop_duplicates("pixel_sha256")
        features = ArrayFolder(folder)
        known = set(features.keys)
        train = train[[key in known for key in train["pixel_sha256"]]].reset_index(drop=True)
        if train.empty:
            raise UserError(f"{folder} contains no training image")
        self._train: pd.DataFrame = train
        self._embeddings = embeddings(features, train["pixel_sha256"].tolist())
        has_images = Path("data/images/keys.txt").exists()
        self._images = ArrayFolder("data/images") if has_images else None

    def search(self, features: np.ndarray) -> list[list[Match]]:
        """Return the most similar training images for each row of features.

        Args:
            features: (n, height, width, channels).

        Returns:
            n lists of matches, the most similar first.
        """
        numbers, cosines = nearest_neighbors(embed(features), self._embeddings, COUNT)
        return [
            [(int(n), float(c)) for n, c in zip(*row, strict=True)]
            for row in zip(numbers, cosines, strict=True)
        ]

    def describe(self, matches: list[Match]) -> list[dict[str, Any]]:
        """Return file, label, similarity and picture (a data URI or None) of each match."""
        rows = self._train.iloc[[number for number, _ in matches]]
        pictures = {}
        if self._images is not None:
            pictures = thumbnails(self._images, rows["pixel_sha256"].tolist(), THUMBNAIL_SIZE)
        return [
            {
                "file": original_path(str(row.path)),
                "label": row.label,
                "similarity": round(cosine, 4),
                "picture": pictures.get(str(row.pixel_sha256)),
            }
            for row, (_, cosine) in zip(rows.itertuples(index=False), matches, strict=True)
        ]


def _backbone(bundle: ModelBundle) -> tuple[str, Backbone, Path]:
    """Return the name, parameters and weights of the backbone whose features are compared.

    It is the model's own, else the one that it was fine-tuned from, else the first cached one.
    """
    if bundle.backbone is not None and bundle.weights is not None:
        return bundle.weights.stem, bundle.backbone, bundle.weights
    if not Path("params.yaml").exists():
        raise UserError("params.yaml is missing")
    known = list(read_params().get("backbones") or {})
    for name in (bundle.settings.get("features"), *known):
        if name in known and Path(f"data/features/{name}/keys.txt").exists():
            weights = Path(f"data/weights/{name}.npz")
            if not weights.exists():
                raise UserError(f"{weights} is missing")
            return name, load_section(Backbone, "backbones", name), weights
    raise UserError("no features are cached in data/features")


def _same_image_section(bundle: ModelBundle) -> bool:
    """Return whether data/images has the size, channels and filter that the model expects."""
    images = Path("data/images")
    has_recipe = (images / "recipe.json").exists()
    values = _recipe(images) if has_recipe else read_params("dataset", "image")
    names = {*Image.model_fields, "bits"}  # bits: bit_depth in recipes
    values = {key: value for key, value in values.items() if key in names}
    return bundle.image == Image.from_record(values, f"{images}/recipe.json")


def _recipe(folder: Path) -> dict[str, Any]:
    """Return the parameters that a folder's arrays were computed with."""
    return read_json_object(folder / "recipe.json", (folder / "recipe.json").read_bytes)
