"""Stage split: assign images to train, validation and test, and number the classes."""

import pandas as pd

from thaw.config.base import load_section, read_params, read_value
from thaw.config.dataset import NEAR_DUPLICATES, Dataset, Split
from thaw.data.classes import Scalar, named_class
from thaw.data.consistency import left_out
from thaw.data.grouping import split_groups
from thaw.data.split_summary import describe_splits
from thaw.data.split_table import divided_groups
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError
from thaw.storage.arrays import ArrayFolder
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.tables import INDEX_COLUMNS, SPLIT_COLUMNS, SPLIT_GROUP, read_table


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
    used = labelled[~left_out(labelled, *actions)].copy()
    near = split.group == NEAR_DUPLICATES
    features = ArrayFolder(read_params("derived", "split")) if near else None
    used[SPLIT_GROUP] = split_groups(used, split, features)
    splits = assign_splits(used, split)
    limit = read_value(Dataset, "dataset", "max_train_images")
    if limit is not None:
        splits = splits.mask(beyond_limit(used, splits, limit, split), "unused")
    used["split"] = splits
    if split.group is not None:
        assert not divided_groups(used), "no group is in two splits"
    if untrained := sorted(set(labelled["label"]) - set(used.loc[splits == "train", "label"])):
        raise UserError(
            f"no training image is left of {', '.join(untrained)}. Expected at least one of each "
            f"class. Add images, repair those that cannot be read, or stratify by label."
        )
    index["split"] = "skipped"
    index.loc[readable, "split"] = "unlabelled"
    index.loc[labelled.index, "split"] = "unused"
    index.loc[used.index, ["split", SPLIT_GROUP]] = used[["split", SPLIT_GROUP]]
    order = classes(set(used["label"]), read_value(Dataset, "dataset", "positive_class"))
    numbers = {label: number for number, label in enumerate(order)}
    index["class"] = index["label"].map(numbers).astype("Int64")  # NA if it has no label
    rows = pd.concat([index[readable], index[~readable]])  # as in thaw.data.split_table.join_paths
    rows = rows.sort_values(["pixel_sha256", "label", "sha256"])
    with atomic_write("data/split.csv") as part:
        columns = [*SPLIT_COLUMNS, *([SPLIT_GROUP] if split.group is not None else [])]
        rows[columns].to_csv(part, index=False, lineterminator="\n")
    print(describe_splits(used, split))


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
