"""Outputs of a backbone's frozen part for images and augmented views of them, in the store."""

import shutil
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.runtime import selected_runtime
from thaw.config.training import Augmentation
from thaw.data.augmentation import distinct_views, flips
from thaw.errors import UserError
from thaw.models.backbones.filling import filler
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.storage.arrays import ArrayFolder
from thaw.storage.store import store_root

END_BATCH_SIZE = 32  # images per pass of the thawed part
# Largest difference of a probability between the subnet on its features and on its backbone.
# bfloat16 keeps 8 significant bits, and the split changes the order of its sums.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}
# The same if OpenVINO computes the frozen part in bfloat16 and TensorFlow the rest. They round
# differently: up to 0.046 was seen for EfficientNet-Lite0. Wrong preprocessing gives 0.5 and more.
TWO_ENGINES = 0.1

# as thaw.training.batches.Inputs: row numbers and a random generator to inputs (n, ...)
Inputs = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def largest_difference(backbone: Backbone) -> float:
    """Return by how much probabilities may differ between the whole network and its two parts."""
    if backbone.engine == "openvino" and backbone.precision == "bfloat16":
        return TWO_ENGINES
    return TOLERANCE[backbone.precision]


class CachedViews:
    """Outputs of the frozen part for images and their augmented views, in the store.

    Args:
        frozen: the frozen part.
        images: the decoded images.
        augmentation: how views differ from the image.
        views: for each image, the image itself included. Views that would be equal are left out.
    """

    def __init__(
        self, frozen: FrozenBackbone, images: ArrayFolder, augmentation: Augmentation, views: int
    ) -> None:
        self.frozen, self.images = frozen, images
        self.views = distinct_views(augmentation, views)
        self.augmentation = augmentation
        self.image_store = frozen.store()
        self.view_store = frozen.store(augmentation=augmentation.model_dump())

    def fill(self, augmented: Iterable[str], plain: Iterable[str] = ()) -> None:
        """Compute and store the outputs that are missing.

        Args:
            augmented: keys of the images that are needed in all views.
            plain: keys of the images that are needed only as they are.

        Raises:
            UserError: the disk has too little space.
        """
        # sorted, so that a worker of a cluster reads adjacent images
        augmented = sorted({*augmented})
        keys = sorted({*augmented, *plain})
        view_keys = [f"{key}-{n}" for n in range(1, self.views) for key in augmented]
        missing = len(self.image_store.missing(keys)) + len(self.view_store.missing(view_keys))
        shape = self.frozen.network.output_shape[1:]
        size = missing * int(np.prod(shape)) * np.dtype(self.frozen.dtype).itemsize
        free = shutil.disk_usage(store_root()).free
        print(f"frozen part: {missing:,} outputs to compute, {size / 1e9:.2f} GB in the store")
        if size > free:
            raise UserError(
                f"{size / 1e9:.1f} GB are needed in {store_root()} and {free / 1e9:.1f} GB are "
                f"free. Lower augmented_views, choose precision=bfloat16 (half the size), thaw "
                f"later, or train with cached=false."
            )
        with filler(selected_runtime(), self.frozen, self.images, self.augmentation) as fill:
            fill(self.image_store, keys, "frozen part")
            fill(self.view_store, view_keys, "frozen part, views")
        for store, wanted in ((self.image_store, keys), (self.view_store, view_keys)):
            store.missing(wanted)  # downloads what workers computed, several shards at once
            store.share(wanted)

    def plain(self, rows: pd.DataFrame) -> Inputs:
        """Return inputs for Batches: the outputs for the images themselves."""
        keys = rows["pixel_sha256"].to_list()
        return lambda n, _: self.outputs([keys[i] for i in n])

    def augmented(self, rows: pd.DataFrame) -> Inputs:
        """Return inputs for Batches: in each epoch, the output for a random view of each image."""
        keys = rows["pixel_sha256"].to_list()

        def random_views(n: np.ndarray, random: np.random.Generator) -> np.ndarray:
            views = random.integers(self.views, size=len(n))
            return self.outputs([keys[i] for i in n], views.tolist())

        return random_views

    def outputs(self, keys: list[str], views: list[int] | None = None) -> np.ndarray:
        """Return outputs (n, ...), float32, for images and one view of each, by default view 0."""
        rows = [
            self.view_store[f"{key}-{view}"] if view else self.image_store[key]
            for key, view in zip(keys, views or [0] * len(keys), strict=True)
        ]
        return np.stack(rows).astype("float32")

    def averaged(self, end: Any, keys: list[str], views: int | None = None) -> np.ndarray:
        """Return the outputs of `end`, averaged over the views of each image.

        Args:
            end: keras.Model that reads outputs of the frozen part.
            keys: of images.
            views: how many to average, the image first; None: all.

        Returns:
            (n, units), float32, what one model of pixels that averages its flips returns.
        """
        batches = []
        for start in range(0, len(keys), END_BATCH_SIZE):
            part = keys[start : start + END_BATCH_SIZE]
            by_view = [
                end.predict_on_batch(self.outputs(part, [view] * len(part)))
                for view in range(views or self.views)
            ]
            batches.append(np.mean(by_view, axis=0, dtype="float32"))
        return np.concatenate(batches)


def flipped_views(
    frozen: FrozenBackbone, images: ArrayFolder, augmentation: Augmentation, averaged: bool
) -> CachedViews:
    """Return the views over which a model averages its predictions.

    Args:
        frozen: the frozen part.
        images: the decoded images.
        augmentation: says which flips are allowed.
        averaged: False if the model predicts from the image alone.
    """
    still = augmentation.model_copy(update={"shear": 0.0, "zoom": 0.0})
    return CachedViews(frozen, images, still, len(flips(still)) if averaged else 1)
