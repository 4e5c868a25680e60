import pandas as pd
import pytest

from thaw.config.dataset import Split
from thaw.data import splitting
from thaw.errors import UserError

SPLIT = Split(test=0.25, validation=0.2, stratify=["label"], seed=0)


def index(count: int = 200, split: str = "", share: float = 0.3) -> pd.DataFrame:
    """Return an index of images of two classes, `share` of them dogs."""
    dogs = int(count * share)
    return pd.DataFrame(
        {
            "path": [f"{n:04}.jpg" for n in range(count)],
            "sha256": [f"{n * 7919 % 10007:064x}" for n in range(count)],
            "pixel_sha256": [f"{n * 104729 % 10007:064x}" for n in range(count)],
            "label": ["dog"] * dogs + ["cat"] * (count - dogs),
            "split": split,
        }
    )


def assign_splits(table: pd.DataFrame, split: Split) -> pd.Series:
    """Assign splits with the groups of the table, or of identical images."""
    groups = table.get("split_group", table["pixel_sha256"])
    return splitting.assign_splits(table.assign(split_group=groups), split)


def beyond_limit(table: pd.DataFrame, splits: pd.Series, limit: int, split: Split) -> pd.Series:
    groups = table.get("split_group", table["pixel_sha256"])
    return splitting.beyond_limit(table.assign(split_group=groups), splits, limit, split)


def changed(**values) -> Split:
    return Split(**{**SPLIT.model_dump(), **values})


def test_drawn_splits_have_the_requested_shares_and_class_proportions():
    table = index()
    table["splits"] = assign_splits(table, SPLIT)
    assert table["splits"].value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}
    dogs = table[table["label"] == "dog"].groupby("splits").size().to_dict()
    assert dogs == {"train": 36, "test": 15, "validation": 9}


def test_stratifying_by_two_columns_keeps_their_proportions():
    table = index()
    table["group"] = ["mono", "poly"] * 100
    splits = assign_splits(table, changed(stratify=["label", "group"]))
    counts = table.assign(splits=splits).groupby(["splits", "label", "group"]).size().unstack()
    assert (counts["mono"] - counts["poly"]).abs().max() <= 1


def test_split_depends_on_the_seed():
    table = index()
    assert assign_splits(table, SPLIT).equals(assign_splits(table, SPLIT))
    assert not assign_splits(table, SPLIT).equals(assign_splits(table, changed(seed=1)))


def test_split_does_not_depend_on_names_and_order_of_files():
    table = index()
    columns = ["pixel_sha256", "sha256"]
    table.loc[10, columns] = table.loc[150, columns]  # one image under two labels
    table.loc[20, "pixel_sha256"] = table.loc[160, "pixel_sha256"]  # one image in two files
    renamed = table.assign(path=[f"{999 - n}.png" for n in range(200)])
    renamed = renamed[::-1]
    before, after = assign_splits(table, SPLIT), assign_splits(renamed, SPLIT)
    assert after.sort_index().equals(before)


def test_split_does_not_depend_on_the_image_size():
    table = index()
    table.loc[7, "pixel_sha256"] = table.loc[9, "pixel_sha256"]  # identical at both sizes
    resized = table.assign(
        pixel_sha256=[f"{int(p, 16) * 31 % 10007:064x}" for p in table["pixel_sha256"]]
    )
    assert assign_splits(resized, SPLIT).equals(assign_splits(table, SPLIT))


def test_identical_images_stay_in_one_split():
    table = index()
    table["pixel_sha256"] = [f"{n % 50:064x}" for n in range(200)]
    splits = (
        table.assign(splits=assign_splits(table, SPLIT)).groupby("pixel_sha256")["splits"].nunique()
    )
    assert (splits == 1).all()


def test_splits_of_the_source_are_kept():
    table = index()
    table["split"] = ["train", "test", "validation", "train"] * 50
    assert assign_splits(table, SPLIT).equals(table["split"])


def test_validation_becomes_test_if_the_source_has_no_test_split():
    table = index()
    table["split"] = ["train", "train", "train", "validation"] * 50
    splits = assign_splits(table, SPLIT)
    assert (splits[table["split"] == "validation"] == "test").all()
    assert splits[table["split"] == "train"].value_counts().to_dict() == {
        "train": 120,
        "validation": 30,
    }


def test_validation_is_drawn_from_train_if_the_source_has_only_train_and_test():
    table = index()
    table["split"] = ["train", "train", "train", "test"] * 50
    splits = assign_splits(table, SPLIT)
    assert (splits[table["split"] == "test"] == "test").all()
    assert (splits == "validation").sum() == 30


def test_validation_share_zero_gives_no_validation_split():
    assert set(assign_splits(index(), changed(validation=0.0))) == {"train", "test"}


def test_test_share_zero_is_refused():
    with pytest.raises(
        UserError, match=r"dataset.split.test = 0, but the source has no test images"
    ):
        assign_splits(index(), changed(test=0.0))


def test_too_small_classes_are_refused_by_name():
    table = index()
    table.loc[0, "label"] = "axolotl"
    with pytest.raises(
        UserError,
        match="cannot draw a test split of 25 %: 1 of 3 classes have .*\n  'axolotl': 1 image",
    ):
        assign_splits(table, SPLIT)


def test_stratifying_by_an_unknown_column_is_refused_with_the_known_columns():
    with pytest.raises(UserError, match="no column .breed.. Expected some of path, sha256, pixel"):
        assign_splits(index(), changed(stratify=["breed"]))


def test_split_without_stratification_has_the_requested_shares():
    splits = assign_splits(index(), changed(stratify=[]))
    assert splits.value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}


def limited(table: pd.DataFrame, limit: int, **values) -> pd.DataFrame:
    """Return the training images that remain under a limit."""
    splits = assign_splits(table, changed(**values))
    out = beyond_limit(table, splits, limit, changed(**values))
    assert (splits[out] == "train").all(), "validation and test data stay complete"
    return table[(splits == "train") & ~out]


def test_limit_keeps_the_class_proportions():
    table = index()  # 120 training images, 36 of them dogs
    remaining = limited(table, 40)
    assert remaining["label"].value_counts().to_dict() == {"cat": 28, "dog": 12}
    assert len(limited(table, 41)) == 41
    assert len(limited(table, 120)) == 120
    assert len(limited(table, 40, stratify=[])) == 40


def test_larger_limit_keeps_the_images_of_a_smaller_one_and_the_seed_matters():
    table = index()
    assert set(limited(table, 40).index) < set(limited(table, 41).index)
    splits = assign_splits(table, SPLIT)
    assert not beyond_limit(table, splits, 40, SPLIT).equals(
        beyond_limit(table, splits, 40, changed(seed=1))
    )


def test_limit_does_not_depend_on_names_and_order_of_files():
    table = index()
    renamed = table.assign(path=[f"{999 - n}.png" for n in range(200)])[::-1]
    assert set(limited(renamed, 33).index) == set(limited(table, 33).index)


def test_too_large_and_too_small_limits_are_refused():
    with pytest.raises(
        UserError, match="dataset.max_train_images = 121: expected at most 120, the number of"
    ):
        limited(index(), 121)
    table = index(share=0.1)  # 12 dogs of 120
    with pytest.raises(
        UserError, match="leaves no training image of dog. Expected at least (.+)\\."
    ) as refusal:
        limited(table, 2)
    smallest = int(str(refusal.value).split()[-1].rstrip("."))
    assert set(limited(table, smallest)["label"]) == {"cat", "dog"}
    with pytest.raises(UserError, match="no training image of dog"):
        limited(table, smallest - 1)
