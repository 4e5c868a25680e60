"""Stage split: assign images to train, validation and test, and number the classes."""

import pandas as pd

from thaw.config.base import did_you_mean, load_section, read_value
from thaw.config.dataset import Dataset, Split
from thaw.data.consistency import left_out
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.tables import INDEX_COLUMNS, SPLIT_COLUMNS, read_table


def main() -> None:
    """Write data/split.csv, with one row for each image, in the order of pixel_sha256.

    Images that could not be read have split `skipped`, those without a label `unlabelled`. Training
    images beyond `dataset.max_train_images`, and contradictions and leaks that are dropped, have
    split `unused`.
    """
    split = load_section(Split, "dataset", "split")
    verify_outputs("data/index.csv")
    index = read_table("data/index.csv", INDEX_COLUMNS, dtype=str)
    readable = index["problem"] == ""
    labelled = index[readable & (index["label"] != "")]
    actions = (read_value(Dataset, "dataset", key) for key in ("on_contradiction", "on_leak"))
    used = labelled[~left_out(labelled, *actions)]
    splits = assign_splits(used, split)
    limit = read_value(Dataset, "dataset", "max_train_images")
    if limit is not None:
        splits = splits.mask(beyond_limit(used, splits, limit, split), "unused")
    if untrained := sorted(set(labelled["label"]) - set(used.loc[splits == "train", "label"])):
        raise UserError(
            f"no training image is left of {', '.join(untrained)}. Expected at least one of each "
            f"class. Add images, repair those that cannot be read, or stratify by label."
        )
    index["split"] = "skipped"
    index.loc[readable, "split"] = "unlabelled"
    index.loc[labelled.index, "split"] = "unused"
    index.loc[used.index, "split"] = splits
    order = classes(set(used["label"]), read_value(Dataset, "dataset", "positive_class"))
    numbers = {label: number for number, label in enumerate(order)}
    index["class"] = index["label"].map(numbers).astype("Int64")  # NA if it has no label
    rows = pd.concat([index[readable], index[~readable]])  # as in thaw.data.split_table.join_paths
    rows = rows.sort_values(["pixel_sha256", "label", "sha256"])
    with atomic_write("data/split.csv") as part:
        rows[SPLIT_COLUMNS].to_csv(part, index=False, lineterminator="\n")
    used = used.assign(split=splits)
    counts = used.groupby(["split", "label"]).size()
    print("\n".join(f"{s:<10} {label:<20} {n:>7,}" for (s, label), n in counts.items()))
    for held_out in ("validation", "test"):
        labels = used.loc[used["split"] == held_out, "label"]
        if len(labels) and (absent := sorted(set(order) - set(labels))):
            print(f"No {held_out} image is of {', '.join(absent)}, so no result covers them.")


def classes(labels: set[str], positive: str | None) -> list[str]:
    """Return the classes in the order of their numbers: by name, the positive class last.

    Raises:
        UserError: There are fewer than two classes, or `positive` is not one of them.
    """
    order = sorted(labels)
    if len(order) < 2:
        raise UserError(f"The dataset has one class, {order}. Expected two or more.")
    if positive is not None:
        if positive not in labels:
            raise UserError(
                f"dataset.positive_class = {positive!r}: expected one of {', '.join(order)}."
                f"{did_you_mean(positive, order)}"
            )
        order.remove(positive)
        order.append(positive)
    return order
