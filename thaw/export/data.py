"""Select the images of data/ that an export is calibrated and checked with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.models.bundle import ModelBundle
from thaw.storage.arrays import ArrayFolder

SEED = 0  # of the random sample


@dataclass
class Sample:
    """Images of one split.

    Attributes:
        split: train or validation.
        pixels: (n, height, width, channels), uint8.
        labels: class numbers, (n,).
    """

    split: str
    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class ExportData:
    """data/split.csv and data/images of the repository that contains a model.

    Args:
        bundle: the trained model.

    Attributes:
        rows: data/split.csv.

    Raises:
        UserError: they are missing, or do not fit the model's classes or image size.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        root = bundle.path.resolve().parent.parent
        # relative where possible, since dvc.lock has relative paths
        folder = Path("data") if root == Path.cwd() else root / "data"
        split, images = folder / "split.csv", folder / "images"
        if missing := [str(path) for path in (split, images) if not path.exists()]:
            raise UserError(
                f"an export is checked on the pipeline's images, and {' and '.join(missing)} "
                f"do not exist. Run `dvc pull` or `dvc repro`."
            )
        self.rows, self._images = SplitTable(split), ArrayFolder(images)
        if self.rows.classes != bundle.classes:
            raise UserError(
                f"{split} has the classes {', '.join(self.rows.classes)}, and {bundle.path} was "
                f"trained on {', '.join(bundle.classes)}. Run `dvc checkout` or `dvc repro`."
            )
        shape = bundle.image.shape
        if self._images.shape != shape:
            raise UserError(
                f"{images} has images of shape {self._images.shape}, and {bundle.path} was "
                f"trained on {shape}. Run `dvc checkout` or `dvc repro`."
            )

    def counts(self) -> dict[str, int]:
        """Return the number of images of each split."""
        counts = self.rows.table["split"].value_counts()
        return {str(split): int(count) for split, count in counts.items()}

    def check_sample(self, max_images: int) -> Sample:
        """Return up to `max_images` validation images, or training images if there are none."""
        split = "validation" if len(self.rows.of("validation")) else "train"
        return self.sample(split, max_images)

    def sample(self, split: str, max_images: int) -> Sample:
        """Return a stratified sample of a split, the same for the same arguments.

        Classes keep their proportions. Each has at least one image if `max_images` allows it.
        """
        rows = self.rows.of(split)
        shuffled = rows.sample(frac=1, random_state=SEED)
        # sorting by the rank within the class, as a share of the class, interleaves the classes
        classes = shuffled.groupby("class")["pixel_sha256"]
        rank = classes.cumcount() / classes.transform("size")
        selected = rows.loc[rank.sort_values(kind="stable").index[:max_images]]
        pixels = np.asarray(self._images.select(selected["pixel_sha256"])[:])
        return Sample(split, pixels, selected["class"].to_numpy())
