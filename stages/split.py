"""Stage split: which image is for training, validation and test; which number a class has."""

import pandas as pd

from thaw.config.base import did_you_mean, load_section, read_value
from thaw.config.dataset import Dataset, Split
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.tables import INDEX_COLUMNS, SPLIT_COLUMNS, read_table


def main() -> None:
    """Write data/split.csv: a row for each image that could be read, in the order of its pixels'
    identity, and one with split `skipped` for each that could not. Training images beyond the
    limit have split `unused`."""
    split = load_section(Split, "dataset", "split")
    verify_outputs("data/index.csv")
    index = read_table("data/index.csv", INDEX_COLUMNS, dtype=str)
    readable = index[index["problem"] == ""].copy()
    made = assign_splits(readable, split)
    limit = read_value(Dataset, "dataset", "max_train_images")
    if limit is not None:
        made = made.mask(beyond_limit(readable, made, limit, split), "unused")
    readable["split"] = made
    trained = set(readable.loc[readable["split"] == "train", "label"])
    if untrained := sorted({*readable["label"]} - trained):
        raise UserError(
            f"no training image is left of {', '.join(untrained)}: expected one of each class at "
            f"least. Give more images, see to those that cannot be read, or stratify by label."
        )
    skipped = index[index["problem"] != ""].assign(split="skipped")
    rows = pd.concat([readable, skipped])
    order = classes(set(readable["label"]), read_value(Dataset, "dataset", "positive_class"))
    numbers = {label: number for number, label in enumerate(order)}
    rows["class"] = rows["label"].map(numbers).astype("Int64")  # none where all were skipped
    rows = rows.sort_values(["pixel_sha256", "label", "sha256"])
    with atomic_write("data/split.csv") as part:
        rows[SPLIT_COLUMNS].to_csv(part, index=False, lineterminator="\n")
    counts = readable.groupby(["split", "label"]).size()
    print("\n".join(f"{s:<10} {label:<20} {n:>7,}" for (s, label), n in counts.items()))
    for held_out in ("validation", "test"):
        labels = readable.loc[readable["split"] == held_out, "label"]
        if len(labels) and (absent := sorted(set(order) - set(labels))):
            print(f"no {held_out} image is of {', '.join(absent)}: nothing is measured on them")


def classes(labels: set[str], positive: str | None) -> list[str]:
    """The classes in the order of their numbers: by name, the positive one last.

    Raises:
        UserError: there is one class, or the positive one is none of them.
    """
    order = sorted(labels)
    if len(order) < 2:
        raise UserError(f"there is one class, {order}: expected two or more.")
    if positive is not None:
        if positive not in labels:
            raise UserError(
                f"dataset.positive_class = {positive!r}: expected one of {', '.join(order)}."
                f"{did_you_mean(positive, order)}"
            )
        order.remove(positive)
        order.append(positive)
    return order
