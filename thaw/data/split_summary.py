"""Describe a split in a few lines, for the screen."""

import pandas as pd

from thaw.config.dataset import NEAR_DUPLICATES, Split

MOST_CLASSES = 20  # classes that get a line in each split
MOST_NAMED = 10  # classes that a message names
LARGE = 0.1  # share of all images from which one group of near-duplicates is suspicious
FEW_GROUPS = 10  # test groups below which intervals are rough


def describe_splits(rows: pd.DataFrame, split: Split) -> str:
    """Return lines with the number of images and groups in each split, and what is unusual.

    Args:
        rows: Columns label, split and split_group of the images that could be read.
        split: How the splits were drawn.
    """
    labels = rows["label"].nunique()
    if labels <= MOST_CLASSES:
        counts = rows.groupby(["split", "label"]).size()
        lines = [f"{name:<10} {label:<20} {n:>7,}" for (name, label), n in counts.items()]
    else:
        lines = [
            f"{name:<10} {len(part):>7,} images of {part['label'].nunique():,} classes"
            for name, part in rows.groupby("split")
        ]
    if split.group is not None:
        lines += _describe_groups(rows, split)
    for held_out in ("validation", "test"):
        covered = set(rows.loc[rows["split"] == held_out, "label"])
        if covered and (absent := sorted(set(rows["label"]) - covered)):
            more = f" and {len(absent) - MOST_NAMED:,} more" if len(absent) > MOST_NAMED else ""
            named = ", ".join(absent[:MOST_NAMED])
            lines.append(f"No {held_out} image is of {named}{more}, so no result covers them.")
    return "\n".join(lines)


def _describe_groups(rows: pd.DataFrame, split: Split) -> list[str]:
    sizes = rows["split_group"].value_counts()
    by_split = rows.groupby("split")["split_group"].nunique()
    where = ", ".join(f"{name} {count:,}" for name, count in by_split.items())
    lines = [
        f"{len(rows):,} images are in {len(sizes):,} groups by dataset.split.group = "
        f"{split.group} ({where}). The largest has {sizes.iloc[0]:,}."
    ]
    if sizes.iloc[0] == 1 and split.group != NEAR_DUPLICATES:
        lines.append("No two images have the same group, so dataset.split.group has no effect.")
    if split.group == NEAR_DUPLICATES and sizes.iloc[0] > LARGE * len(rows):
        higher = (1 + split.near_duplicate_similarity) / 2
        lines.append(
            f"More than {LARGE:.0%} of all images are in one group of near-duplicates. It may "
            f"contain different objects. Consider "
            f"-S dataset.split.near_duplicate_similarity={higher:g}."
        )
    if by_split.get("test", FEW_GROUPS) < FEW_GROUPS:
        lines.append(
            f"The test images are of {by_split['test']} groups. Intervals from so few are rough."
        )
    return lines
