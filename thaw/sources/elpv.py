"""ELPV: 2,624 images of solar cells, from the Python package of its authors."""

import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.dataset import Source
from thaw.data.download.package import fetch_package

IMAGES = 2624  # in the published dataset
FOLDER = "elpv_dataset/data/"  # in the wheel


class Parameters(Source):
    """`dataset.source` of kind elpv."""

    kind: Literal["elpv"]
    """The kind of source."""
    package: str
    """The package that has the images."""
    version: str
    """The version of the package."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the package's wheel."""
    defective_above: Annotated[float, Field(ge=0, lt=1)]
    """Defect probability above which the label of a cell is defective."""


def collect(source: Parameters, into: Path) -> list[dict[str, Any]]:
    """Write the images into `into`.

    The dataset is by Buerhop-Lutz et al. (2018) and Deitsch et al. (2019). Experts stated the
    probability p of a defect in thirds.

    Returns:
        For each image its `path` in `into`, `label`, `group` (type of solar module), `probability`
        p and `confidence` |2p - 1|.

    Raises:
        UserError: The package cannot be downloaded.
    """
    rows = []
    with zipfile.ZipFile(fetch_package(source.package, source.version, source.sha256)) as wheel:
        for line in wheel.read(FOLDER + "labels.csv").decode().splitlines():
            path, number, module = line.split()
            probability = float(number)
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(FOLDER + path))
            rows.append(
                {
                    "path": path,
                    "label": "defective" if probability > source.defective_above else "functional",
                    "group": module,
                    "confidence": round(abs(2 * probability - 1), 4),
                    "probability": round(probability, 4),
                }
            )
    assert len(rows) == IMAGES, f"{len(rows)} images instead of {IMAGES}"  # the SHA-256 ensures it
    return rows
