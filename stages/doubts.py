"""Stage doubts@D: which labels, images and classes to look at again, by cached features."""

import json

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from stages.command import Refusal, whole
from stages.images.alike import unit
from stages.images.arrays import Arrays
from stages.images.located import located
from stages.inputs import checked
from stages.networks.logistic import pooled
from stages.params.base import Common, load, one
from stages.params.doubt import Doubt
from stages.results.growth import growth
from stages.results.suspects import alike, judge, out_of_fold, outlying, overlapping, pairs
from stages.sources.packed import given
from stages.tables import AGAIN, table
from stages.training.rows import COLUMNS, Rows

ORDER = [
    "path",
    "split",
    "label",
    "suggested",
    "probability",
    "suspect",
    "distance",
    "outlier",
    "alike",
]


def main(name: str) -> None:
    """Write results/doubts/NAME/ and results/labels/NAME.csv.

    images.csv has a row for each image of train, validation and test, the most doubtful label
    first: `suggested` is the class that the other labels speak for, `probability` that of the label
    it has, `distance` how far it is from its nearest others; of an image of validation or test,
    `alike` is the cosine with the most alike one that was there to learn from. pairs.csv has images
    in different splits that are nearly the same, classes.csv pairs of classes that are taken for
    each other, summary.json the counts. labels/NAME.csv tells accuracy by the number of labelled
    images.
    """
    parameters = load(Doubt, "doubts", name)
    seed, threads = one(Common, "seed"), one(Common, "threads")
    rows, features = Rows(), Arrays(f"data/features/{parameters.features}")
    images = _located(rows)
    inputs = pooled(features.select(images["pixels"]), "average").astype("float32")
    vectors = unit(inputs)
    with threadpool_limits(threads):
        probabilities = out_of_fold(images, inputs, parameters, seed)
        images["distance"], fence = outlying(vectors, images["pixels"].tolist(), parameters)
        compared, near_count, near = pairs(images, vectors, parameters)
        images["alike"] = alike(images, vectors, parameters)
        grown, measured, measured_count = growth(images, inputs, parameters, seed)
    images = images.join(judge(images, probabilities, rows.classes))
    images["outlier"] = images["distance"] > fence
    classes = overlapping(images, probabilities, rows.classes)
    summary = {
        "classes": rows.classes,
        "images": len(images),
        "suspects": {
            split: int(images.loc[images["split"] == split, "suspect"].sum())
            for split in ("train", "validation", "test")
        },
        "not_judged": int(images["probability"].isna().sum()),
        "outliers": int(images["outlier"].sum()),
        "near_pairs": near_count,
        "compared": compared,
        "measured_on": measured,
        "measured": measured_count,
        "settings": {**parameters.model_dump(), "seed": seed},
    }
    with whole(f"results/doubts/{name}") as folder:
        folder.mkdir()
        order = images.sort_values(
            ["probability", "distance", "pixels"], ascending=[True, False, True]
        )
        _write(order[[*ORDER, "pixels"]], folder / "images.csv")
        _write(_named(images, near), folder / "pairs.csv")
        _write(classes, folder / "classes.csv")
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    with whole(f"results/labels/{name}.csv") as part:
        _write(grown, part)
    print(
        f"{sum(summary['suspects'].values()):,} of {len(images):,} labels to look at again, "
        f"{summary['outliers']:,} images unlike the others, {near_count:,} pairs nearly the same "
        f"in different splits"
    )
    for row in grown.itertuples():
        print(f"{row.images:>9,} labelled images: accuracy {row.accuracy:.2%}")


def _located(rows: Rows) -> pd.DataFrame:
    """The rows that are used, each with its path as the user knows it."""
    checked("data/index.csv")
    index = table("data/index.csv", ["path", "sha256", "pixels", "label", "problem"], dtype=str)
    split = table("data/split.csv", COLUMNS, dtype=str)
    found = located(split, index)
    if found is None:
        raise Refusal(f"data/split.csv is not of the images that data/index.csv has. {AGAIN}")
    used = found[~found["split"].isin(["skipped", "unused"])].reset_index(drop=True)
    paths = [given(path) for path in used["path"]]
    return rows.table.reset_index(drop=True).assign(path=paths)


def _named(images: pd.DataFrame, near: list[tuple[int, int, float]]) -> pd.DataFrame:
    columns = ["path", "split", "label", "pixels"]
    one, other = ([pair[side] for pair in near] for side in (0, 1))
    made = [
        images[columns].iloc[side].reset_index(drop=True).add_prefix(prefix)
        for side, prefix in ((one, "one_"), (other, "other_"))
    ]
    return pd.concat(made, axis=1).assign(cosine=np.array([pair[2] for pair in near], float))


def _write(rows: pd.DataFrame, path) -> None:
    rows.to_csv(path, index=False, lineterminator="\n", float_format="%.5f")
