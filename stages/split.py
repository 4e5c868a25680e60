"""Stage split: assign images to train, validation and test, and number the classes."""

import pandas as pd

from thaw.config.base import load_section, read_value
from thaw.config.dataset import Dataset, Split
from thaw.data.classes import Scalar, named_class
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.tables import INDEX_COLUMNS, SPLIT_COLUMNS, read_table


def main() -> None:
    """Write data/split.csv, with one row for each image, in the order of pixel_sha256.

    Images that could not be read have split `skipped`. Training images beyond
    `dataset.max_train_images` have split `unused`.
    """
    split = load_section(Split, "dataset", "split")
    verify_outputs("data/index.csv")
    index = read_table("data/index.csv", INDEX_COLUMNS, dtype=str)
    readable = index[index["problem"] == ""].copy()
    splits = assign_splits(readable, split)
    limit = read_value(Dataset, "dataset", "max_train_images")
    if limit is not None:
        splits = splits.mask(beyond_limit(readable, splits, limit, split), "unused")
    readable["split"] = splits
    trained = set(readable.loc[readable["split"] == "train", "label"])
    if untrained := sorted({*readable["label"]} - trained):
        raise UserError(
            f"no training image is left of {', '.join(untrained)}. Expected at least one of each "
            f"class. Add images, repair those that cannot be read, or stratify by label."
        )
    skipped = index[index["problem"] != ""].assign(split="skipped")
    rows = pd.concat([readable, skipped])
    order = classes(set(readable["label"]), read_value(Dataset, "dataset", "positive_class"))
    numbers = {label: number for number, label in enumerate(order)}
    rows["class"] = (
        rows["label"].map(numbers).astype("Int64")
    )  # NA if all images of a class were skipped
    rows = rows.sort_values(["pixel_sha256", "label", "sha256"])
    with atomic_write("data/split.csv") as part:
        rows[SPLIT_COLUMNS].to_csv(part, index=False, lineterminator="\n")
    counts = readable.groupby(["split", "label"]).size()
    print("\n".join(f"{s:<10} {label:<20} {n:>7,}" for (s, label), n in counts.items()))
    for held_out in ("validation", "test"):
        labels = readable.loc[readable["split"] == held_out, "label"]
        if len(labels) and (absent := sorted(set(order) - set(labels))):
            print(f"No {held_out} image is of {', '.join(absent)}, so no result covers them.")


def classes(labels: set[str], positive: Scalar) -> list[str]:
    """Return the classes in the order of their numbers: by name, the positive class last.

    Raises:
        UserError: There are fewer than two classes, or `positive` does not name one.
    """
    order = sorted(labels)
    if len(order) < 2:
        raise UserError(f"The dataset has one class, {order}. Expected two or more.")
    if positive is not None:
        named = named_class(positive, order)
        order.remove(named)
        order.append(named)
    return order
