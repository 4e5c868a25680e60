import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages import download, preprocess, split
from tests.conftest import ROOT
from thaw.storage.tables import INDEX_COLUMNS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the stages up to split on a manifest with 40 images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    dataset = yaml.safe_load((ROOT / "conf/dataset/manifest.yaml").read_text())
    dataset["source"]["path"] = "labels.csv"
    dataset["image"]["size"] = 8
    Path("photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        pixels = random.integers(0, 256, (8, 8, 3), dtype="uint8")
        Image.fromarray(pixels).save(f"photos/{number}.png")

    def call(header: str, *lines: str, **changed: object) -> None:
        Path("labels.csv").write_text("\n".join([header, *lines]) + "\n")
        Path("params.yaml").write_text(yaml.safe_dump({"dataset": dataset | changed}))
        for stage in (download, preprocess, split):
            stage.main()

    return call


def test_rows_without_a_label_are_kept_as_unlabelled(run):
    run("id,label", *(f"{n},{['cat', 'dog', 'dog', ''][n % 4]}" for n in range(40)))
    table = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    unlabelled = table[table["label"] == ""]
    assert set(unlabelled["split"]) == {"unlabelled"} and len(unlabelled) == 10
    assert set(table["class"]) == {"0", "1", ""} and "unlabelled" not in set(
        table.loc[table["label"] != "", "split"]
    )


def test_labels_and_further_columns_of_a_manifest_reach_the_split(run):
    stratify = {"test": 0.25, "validation": 0.25, "stratify": ["label", "site"], "seed": 0}
    lines = [f"{n},{['NA', '007'][n % 2]},{'ab'[n // 2 % 2]}, p{n} " for n in range(40)]
    run("id,label,site,path", *lines, split=stratify)
    with open("data/index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*INDEX_COLUMNS, "site", "manifest_path"]
    assert len(rows) == 40
    for row in rows:
        number = int(Path(row["path"]).stem)
        assert row["label"] == ["NA", "007"][number % 2] and row["site"] == "ab"[number // 2 % 2]
        assert row["manifest_path"] == f"p{number}"
    table = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    assert set(table["label"]) == {"NA", "007"} and len(table) == 40
    sites = pd.DataFrame(rows).set_index("pixel_sha256")["site"].loc[table["pixel_sha256"]]
    counts = pd.crosstab(table["split"].to_numpy(), [table["label"].to_numpy(), sites.to_numpy()])
    assert counts.loc["test"].isin([2, 3]).all() and counts.loc["test"].sum() == 10
