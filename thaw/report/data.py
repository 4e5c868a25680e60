"""Summarize the data: class balance, image sizes, unreadable files and duplicates."""

import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from thaw.data.decoding import open_picture
from thaw.data.duplicates import AT_ONCE, embeddings, normalize, pairs_across_splits
from thaw.data.raw import REMOTE_TABLE, RawFiles, original_path
from thaw.report.audit import AuditSection, Pair
from thaw.report.run_results import DRAWN, Features, RunResults, split_classes
from thaw.report.split import describe_split

SPLITS = [*DRAWN, "unused", "skipped", "unlabelled"]
MOST_MEASURED = 3000  # files whose size is read; of more files, an evenly spaced sample
MOST_COMPARED = 8000  # images compared pair by pair; of more images, an evenly spaced sample
NEAR_DUPLICATE_SIMILARITY = 0.99  # cosine similarity of averaged features
MOST_PAIRS = 12
MOST_LISTED = 20  # file names in a list
EXAMPLES, MOST_CLASSES = 8, 20  # example images of a class; classes with examples
PATCH = 16  # width and height in pixels of the images compared if there are no features

BalanceRow = tuple[str, list[int], float]  # name, images in each split, share of training images


@dataclass
class DataSummary:
    """The data as the page shows it.

    Attributes:
        splits: the splits that are not empty.
        classes: balance of each class.
        groups: balance of each group; empty if there is only one.
        split: sentences on how the data were split.
        examples: `pixel_sha256` of a few training images, by class.
        sizes: (width x height, files), the most frequent first.
        measured: number of files whose size was read.
        file_bytes: total size of these files.
        skipped: (path, reason) of the first unreadable files.
        skipped_count: number of unreadable files.
        truncated_count: number of files that are used without their missing end.
        same_files: redundant files with identical bytes, and how many of their contents are in
            several splits.
        same_pixels: the same for different files with identical pixels.
        conflicts: for images that have several labels, their paths.
        near_duplicates: the most similar pairs of images in different splits.
        near_duplicate_count: number of pairs above the threshold; None if nothing was compared.
        near_duplicate_similarity: the threshold.
        compared: number of compared images, and what was compared.
    """

    splits: list[str]
    classes: list[BalanceRow]
    groups: list[BalanceRow]
    split: list[str]
    examples: dict[str, list[str]]
    sizes: list[tuple[str, int]] = field(default_factory=list)
    measured: int = 0
    file_bytes: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_count: int = 0
    truncated_count: int = 0
    same_files: tuple[int, int] = (0, 0)
    same_pixels: tuple[int, int] = (0, 0)
    conflicts: list[list[str]] = field(default_factory=list)
    near_duplicates: list[Pair] = field(default_factory=list)
    near_duplicate_count: int | None = None
    near_duplicate_similarity: float = NEAR_DUPLICATE_SIMILARITY
    compared: tuple[int, str] | None = None


def summarize_data(
    results: RunResults, features: Features | None, audit: AuditSection | None
) -> DataSummary | None:
    """Summarize the data of the current split.

    Args:
        results: of the project.
        features: cached features, to find near-duplicates.
        audit: the audit's near-duplicates are used if there is one.

    Returns:
        None if the split is missing.
    """
    table, index = results.table, results.index
    if table is None or index is None:
        return None
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    used = table[~table["split"].isin(["skipped", "unlabelled"])]
    classes, groups = split_classes(table), sorted(set(used["group"]))
    data = DataSummary(
        splits,
        _balance(table, "label", classes, splits),
        _balance(table, "group", groups, splits) if len(groups) > 1 else [],
        describe_split(table, index, results.parameters["dataset"]["split"]),
        _examples(table, classes),
    )
    bad = index[index["problem"] != ""]
    data.skipped_count = len(bad)
    data.skipped = [
        (original_path(row.path), row.problem)
        for row in bad.head(MOST_LISTED).itertuples(index=False)
    ]
    if "truncated" in index:
        data.truncated_count = int((index["truncated"] != "").sum())
    _measure(data, index)
    data.same_files = _repeated(used, "sha256")
    data.same_pixels = _repeated(used.drop_duplicates("sha256"), "pixel_sha256")
    labels = used.groupby("pixel_sha256")["label"].nunique()
    for key in labels[labels > 1].index[:MOST_LISTED]:
        rows = used[used["pixel_sha256"] == key]
        data.conflicts.append(
            [
                f"{original_path(r.path)} ({r.label}, {r.split})"
                for r in rows.itertuples(index=False)
            ]
        )
    if audit:
        settings = audit.summary["settings"]
        data.near_duplicates = audit.near_duplicates
        data.near_duplicate_count = audit.summary["near_duplicate_pairs"]
        data.near_duplicate_similarity = settings["near_duplicate_similarity"]
        by = f"averaged features of {results.backbone(settings['features'])}"
        data.compared = audit.summary["images_compared"], by
    else:
        _compare(data, results, used, features)
    return data


def _balance(
    table: pd.DataFrame, column: str, values: list[str], splits: list[str]
) -> list[BalanceRow]:
    counts = table.groupby([column, "split"]).size().unstack(fill_value=0)
    train = max(int((table["split"] == "train").sum()), 1)
    rows = []
    for value in values:
        by_split = [int(counts.at[value, s]) if value in counts.index else 0 for s in splits]
        own = int(counts.at[value, "train"]) if value in counts.index and "train" in counts else 0
        rows.append((value, by_split, own / train))
    return rows


def _examples(table: pd.DataFrame, classes: list[str]) -> dict[str, list[str]]:
    train = table[table["split"] == "train"]
    examples = {}
    for label in classes[:MOST_CLASSES]:
        keys = train.loc[train["label"] == label, "pixel_sha256"].drop_duplicates().tolist()
        numbers = np.unique(np.linspace(0, len(keys) - 1, EXAMPLES).astype(int))
        examples[label] = [keys[n] for n in numbers] if keys else []
    return examples


def _measure(data: DataSummary, index: pd.DataFrame) -> None:
    """Read the width, height and bytes of the original files, if they are in data/raw."""
    if not Path("data/raw").is_dir() or Path("data/raw", REMOTE_TABLE).exists():
        return
    paths = index.loc[index["problem"] == "", "path"].tolist()
    if len(paths) > MOST_MEASURED:
        paths = [paths[n] for n in np.linspace(0, len(paths) - 1, MOST_MEASURED).astype(int)]
    try:
        with RawFiles(Path("data/raw")) as raw, ThreadPoolExecutor(2) as pool:
            measured = list(pool.map(lambda path: _size(raw.read(path)), paths))
    except (OSError, KeyError, zipfile.BadZipFile):  # pulled in part, or downloaded again since
        return
    sizes = Counter(size for size, _ in measured)
    data.sizes = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    data.measured = len(paths)
    data.file_bytes = sum(count for _, count in measured)


def _size(content: bytes) -> tuple[str, int]:
    with open_picture(content) as image:
        return f"{image.width} × {image.height}", len(content)


def _repeated(rows: pd.DataFrame, column: str) -> tuple[int, int]:
    """Count rows that repeat an earlier value, and values that are in several splits."""
    drawn = rows[rows["split"].isin(DRAWN)]
    splits = drawn.groupby(column)["split"].nunique()
    return int(rows[column].duplicated().sum()), int((splits > 1).sum())


def _compare(
    data: DataSummary, results: RunResults, used: pd.DataFrame, features: Features | None
) -> None:
    """Find the most similar pairs of different images in different splits."""
    if features is None and results.images is None:
        return
    rows = used[used["split"].isin(DRAWN)].drop_duplicates("pixel_sha256")
    if len(rows) > MOST_COMPARED:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, MOST_COMPARED).astype(int)]
    keys, splits = rows["pixel_sha256"].tolist(), rows["split"].to_numpy()
    if features:
        vectors = embeddings(features[1], keys)
        by = f"averaged features of {results.backbone(features[0])}"
    else:
        vectors = _patches(results, keys)
        by = f"pixels, averaged to {PATCH} × {PATCH}"
    count, pairs = pairs_across_splits(vectors, splits, NEAR_DUPLICATE_SIMILARITY, MOST_PAIRS)
    data.near_duplicates = [
        (keys[a], splits[a], keys[b], splits[b], cosine) for a, b, cosine in pairs
    ]
    data.near_duplicate_count, data.compared = count, (len(keys), by)


def _patches(results: RunResults, keys: list[str]) -> np.ndarray:
    """Return images as small grey patches, centred and scaled to length 1.

    Returns:
        Shape (n, PATCH * PATCH), float32.
    """
    assert results.images is not None
    patches = np.empty((len(keys), PATCH * PATCH), "float32")
    rows = results.images.select(keys)
    for start in range(0, len(keys), AT_ONCE):
        for n, pixels in enumerate(rows[start : start + AT_ONCE], start=start):
            grey = Image.fromarray(pixels.mean(axis=-1).astype("uint8"))
            small = grey.resize((PATCH, PATCH), Image.Resampling.BOX)
            patches[n] = np.asarray(small, "float32").ravel()
    patches -= patches.mean(axis=1, keepdims=True)
    return normalize(patches)
