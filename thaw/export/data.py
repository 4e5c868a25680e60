"""The pipeline's pictures that an export is made and checked with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.models.bundle import ModelBundle
from thaw.storage.arrays import ArrayFolder

SEED = 0


@dataclass
class Sample:
    """Pictures of one split.

    Attributes:
        split: train or validation.
        pixels: (n, size, size, channels), uint8.
        labels: the numbers of their classes, (n,).
    """

    split: str
    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class Data:
    """data/split.csv and data/images of the repository that a model lies in.

    Raises:
        UserError: they are not there, or of other classes or images than the model's.
    """

    def __init__(self, trained: ModelBundle):
        root = trained.path.resolve().parent.parent
        folder = (
            Path("data") if root == Path.cwd() else root / "data"  # as dvc.lock names it
        )
        split, images = folder / "split.csv", folder / "images"
        if missing := [str(path) for path in (split, images) if not path.exists()]:
            raise UserError(
                f"an export is checked on the pipeline's images, and {' and '.join(missing)} "
                f"are not there: `dvc pull` or `dvc repro` brings them."
            )
        self.rows, self._images = SplitTable(split), ArrayFolder(images)
        if self.rows.classes != trained.classes:
            raise UserError(
                f"{split} has the classes {', '.join(self.rows.classes)}, and {trained.path} was "
                f"trained on {', '.join(trained.classes)}: `dvc checkout` or `dvc repro` brings "
                f"both together."
            )
        size = trained.image.size
        shape = (size, size, 3 if trained.image.colour == "rgb" else 1)
        if self._images.shape != shape:
            raise UserError(
                f"{images} holds pictures of shape {self._images.shape}, and {trained.path} was "
                f"trained on {shape}: `dvc checkout` or `dvc repro` brings both together."
            )

    def counts(self) -> dict[str, int]:
        """Images by split."""
        return self.rows.table["split"].value_counts().to_dict()

    def check(self, most: int) -> Sample:
        """Up to `most` validation images; where there are none, training images."""
        split = "validation" if len(self.rows.of("validation")) else "train"
        return self.drawn(split, most)

    def drawn(self, split: str, most: int) -> Sample:
        """Up to `most` images of a split in which classes keep their shares, each at least once
        where there is room: the same ones each time."""
        rows = self.rows.of(split)
        shuffled = rows.sample(frac=1, random_state=SEED)
        # an image stands in the queue where it stands in its class: the first of each, then on
        classes = shuffled.groupby("class")["pixels"]
        place = classes.cumcount() / classes.transform("size")
        chosen = rows.loc[place.sort_values(kind="stable").index[:most]]
        pixels = np.asarray(self._images.select(chosen["pixels"])[:])
        return Sample(split, pixels, chosen["class"].to_numpy())
