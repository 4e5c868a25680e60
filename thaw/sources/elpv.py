"""The ELPV solar cells, out of the authors' own package."""

import zipfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from thaw.config.dataset import Source
from thaw.data.download.package import fetch_package

IMAGES = 2624
FOLDER = "elpv_dataset/data/"


class Parameters(Source):
    kind: Literal["elpv"]
    package: str
    version: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the package's wheel."""
    defective_above: Annotated[float, Field(ge=0, lt=1)]
    """Defect probability above which a cell is called defective."""


def collect(source: Parameters, into: Path) -> list[dict]:
    """Write the cells into `into`, and tell of each its path there, label, group (module type),
    probability of a defect and confidence |2p - 1|.

    Source: Buerhop-Lutz et al. 2018; Deitsch et al. 2019. Labels are the experts' probability,
    in thirds.
    """
    rows = []
    with zipfile.ZipFile(fetch_package(source.package, source.version, source.sha256)) as wheel:
        for line in wheel.read(FOLDER + "labels.csv").decode().splitlines():
            path, probability, module = line.split()
            probability = float(probability)
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
    assert len(rows) == IMAGES, f"{len(rows)} cells instead of {IMAGES}"  # the pin says so
    return rows
