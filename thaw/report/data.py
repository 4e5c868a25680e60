"""What the page says of the data: balance, sizes, what was left out, and what is there twice."""

import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from thaw.data.duplicates import AT_ONCE, embeddings, normalize, pairs_across_splits
from thaw.data.raw import RawFiles, original_path
from thaw.report.audit import Doubts
from thaw.report.results import RunResults

SPLITS = ["train", "validation", "test", "unused", "skipped"]
CARVED = ["train", "validation", "test"]
MOST_MEASURED = 3000
"""Files whose size is read; of more, as many spread evenly."""
MOST_COMPARED = 8000
"""Pictures that are compared pair by pair; of more, as many spread evenly."""
NEAR = 0.99
"""Cosine of averaged features from which two pictures count as nearly the same."""
MOST_PAIRS = 12
MOST_NAMED = 20
EXAMPLES, CLASSES_SHOWN = 8, 20
PATCH = 16
"""Pixels along a side to which pictures are averaged where no features are cached."""


@dataclass
class Data:
    """Attributes:
    splits: that hold anything.
    classes: (label, count in each of `splits`, share of the training data).
    groups: the same by group; empty where there is one group.
    examples: the identities of some training images of each class shown.
    sizes: (width x height, files), the most frequent first; how many were measured; bytes in all.
    skipped: (path, reason) of the first; how many in all.
    same_files, same_pixels: (files more than needed, of which across splits).
    conflicts: pictures that stand under several labels, each with its paths.
    near: (identity, split, identity, split, cosine) of the most alike across splits.
    near_count: pairs of at least `near_from`; none where nothing could be compared.
    near_from: the cosine from which two pictures count as nearly the same.
    compared: how many pictures were compared, by what.
    """

    splits: list[str]
    classes: list[tuple]
    groups: list[tuple]
    examples: dict[str, list[str]]
    sizes: list[tuple[str, int]] = field(default_factory=list)
    measured: int = 0
    file_bytes: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_count: int = 0
    same_files: tuple[int, int] = (0, 0)
    same_pixels: tuple[int, int] = (0, 0)
    conflicts: list[list[str]] = field(default_factory=list)
    near: list[tuple] = field(default_factory=list)
    near_count: int | None = None
    near_from: float = NEAR
    compared: tuple[int, str] | None = None


def describe(found: RunResults, features, doubts: Doubts | None) -> Data | None:
    """What is known of the data; none where the split is not here.

    Args:
        features: name and Arrays of cached features, or none.
        doubts: of stage doubts, which has compared pictures by features; else it is done here.
    """
    table = found.table
    if table is None:
        return None
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    used = table[table["split"] != "skipped"]
    groups = sorted(set(used["group"]))
    data = Data(
        splits,
        _balance(table, "label", found.classes, splits),
        _balance(table, "group", groups, splits) if len(groups) > 1 else [],
        _examples(table, found.classes),
    )
    bad = found.index[found.index["problem"] != ""]
    data.skipped_count = len(bad)
    data.skipped = [
        (original_path(row.path), row.problem)
        for row in bad.head(MOST_NAMED).itertuples(index=False)
    ]
    _measure(data, found.index)
    data.same_files = _repeated(used, "sha256")
    data.same_pixels = _repeated(used.drop_duplicates("sha256"), "pixels")
    several = used.groupby("pixels")["label"].nunique()
    for key in several[several > 1].index[:MOST_NAMED]:
        rows = used[used["pixels"] == key]
        data.conflicts.append(
            [
                f"{original_path(r.path)} ({r.label}, {r.split})"
                for r in rows.itertuples(index=False)
            ]
        )
    if doubts:
        data.near, data.near_count = doubts.near, doubts.summary["near_pairs"]
        data.near_from = doubts.summary["settings"]["near"]
        by = f"features of {found.backbone(doubts.summary['settings']['features'])}"
        data.compared = doubts.summary["compared"], f"{by}, averaged over the image"
    else:
        _compare(data, found, used, features)
    return data


def _balance(table: pd.DataFrame, column: str, values: list[str], splits: list[str]) -> list:
    counts = table.groupby([column, "split"]).size().unstack(fill_value=0)
    train = max(int((table["split"] == "train").sum()), 1)
    rows = []
    for value in values:
        some = [int(counts.at[value, s]) if value in counts.index else 0 for s in splits]
        own = int(counts.at[value, "train"]) if value in counts.index and "train" in counts else 0
        rows.append((value, some, own / train))
    return rows


def _examples(table: pd.DataFrame, classes: list[str]) -> dict[str, list[str]]:
    train = table[table["split"] == "train"]
    chosen = {}
    for label in classes[:CLASSES_SHOWN]:
        keys = train.loc[train["label"] == label, "pixels"].drop_duplicates().tolist()
        some = np.unique(np.linspace(0, len(keys) - 1, EXAMPLES).astype(int)) if keys else []
        chosen[label] = [keys[n] for n in some]
    return chosen


def _measure(data: Data, index: pd.DataFrame) -> None:
    """Width and height of the files as they came, where data/raw is here."""
    if not Path("data/raw").is_dir():
        return
    paths = index.loc[index["problem"] == "", "path"].tolist()
    if len(paths) > MOST_MEASURED:
        paths = [paths[n] for n in np.linspace(0, len(paths) - 1, MOST_MEASURED).astype(int)]
    try:
        with RawFiles(Path("data/raw")) as raw, ThreadPoolExecutor(2) as pool:
            measured = list(pool.map(lambda path: _size(raw.read(path)), paths))
    except (OSError, KeyError):  # pulled in part
        return
    sizes = Counter(size for size, _ in measured)
    data.sizes = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    data.measured = len(paths)
    data.file_bytes = sum(count for _, count in measured)


def _size(content: bytes) -> tuple[str, int]:
    with Image.open(io.BytesIO(content)) as opened:
        return f"{opened.width} × {opened.height}", len(content)


def _repeated(rows: pd.DataFrame, column: str) -> tuple[int, int]:
    """How many rows have a twin before them, and how many values stand in several splits."""
    carved = rows[rows["split"].isin(CARVED)]
    across = carved.groupby(column)["split"].nunique()
    return int(rows[column].duplicated().sum()), int((across > 1).sum())


def _compare(data: Data, found: RunResults, used: pd.DataFrame, features) -> None:
    """Find the pairs of different pictures, in different splits, that are most alike."""
    arrays = features[1] if features else found.images
    if arrays is None:
        return
    rows = used[used["split"].isin(CARVED)].drop_duplicates("pixels")
    if len(rows) > MOST_COMPARED:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, MOST_COMPARED).astype(int)]
    keys, splits = rows["pixels"].tolist(), rows["split"].to_numpy()
    if features:
        made = embeddings(arrays, keys)
        by = f"features of {found.backbone(features[0])}, averaged over the image"
    else:
        made = _patches(found, keys)
        by = f"pixels, averaged to {PATCH} × {PATCH}"
    count, pairs = pairs_across_splits(made, splits, NEAR, MOST_PAIRS)
    data.near = [(keys[a], splits[a], keys[b], splits[b], cosine) for a, b, cosine in pairs]
    data.near_count, data.compared = count, (len(keys), by)


def _patches(found: RunResults, keys: list[str]) -> np.ndarray:
    """Pictures averaged to a few grey pixels around their mean, scaled to length 1."""
    made = np.empty((len(keys), PATCH * PATCH), "float32")
    rows = found.images.select(keys)
    for start in range(0, len(keys), AT_ONCE):
        for n, pixels in enumerate(rows[start : start + AT_ONCE], start=start):
            grey = Image.fromarray(pixels.mean(axis=-1).astype("uint8"))
            small = grey.resize((PATCH, PATCH), Image.Resampling.BOX)
            made[n] = np.asarray(small, "float32").ravel()
    made -= made.mean(axis=1, keepdims=True)
    return normalize(made)
