import pandas as pd
import pytest

from thaw.config.dataset import Split
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError

SPLIT = Split(test=0.25, validation=0.2, stratify=["label"], seed=0)


def index(count: int = 200, split: str = "", share: float = 0.3) -> pd.DataFrame:
    """Pictures of two classes, `share` of them dogs."""
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


def changed(**values) -> Split:
    return Split(**{**SPLIT.model_dump(), **values})


def test_carved_splits_have_the_size_and_the_mixture_that_was_asked_for():
    table = index()
    table["made"] = assign_splits(table, SPLIT)
    assert table["made"].value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}
    dogs = table[table["label"] == "dog"].groupby("made").size().to_dict()
    assert dogs == {"train": 36, "test": 15, "validation": 9}


def test_mixture_of_several_columns_is_kept():
    table = index()
    table["group"] = ["mono", "poly"] * 100
    made = assign_splits(table, changed(stratify=["label", "group"]))
    counts = table.assign(made=made).groupby(["made", "label", "group"]).size().unstack()
    assert (counts["mono"] - counts["poly"]).abs().max() <= 1


def test_another_seed_carves_another_split_and_the_same_seed_the_same():
    table = index()
    assert assign_splits(table, SPLIT).equals(assign_splits(table, SPLIT))
    assert not assign_splits(table, SPLIT).equals(assign_splits(table, changed(seed=1)))


def test_names_and_order_of_files_have_no_effect():
    table = index()
    columns = ["pixel_sha256", "sha256"]
    table.loc[10, columns] = table.loc[150, columns]  # one picture, under two labels
    table.loc[20, "pixel_sha256"] = table.loc[160, "pixel_sha256"]  # and the same in two files
    renamed = table.assign(path=[f"{999 - n}.png" for n in range(200)])
    renamed = renamed[::-1]
    before, after = assign_splits(table, SPLIT), assign_splits(renamed, SPLIT)
    assert after.sort_index().equals(before)


def test_the_same_files_at_another_size_are_split_alike():
    table = index()
    table.loc[7, "pixel_sha256"] = table.loc[9, "pixel_sha256"]  # equal at either size
    resized = table.assign(pixel_sha256=[f"{int(p, 16) * 31 % 10007:064x}" for p in table["pixel_sha256"]])
    assert assign_splits(resized, SPLIT).equals(assign_splits(table, SPLIT))


def test_equal_pictures_stay_in_one_split():
    table = index()
    table["pixel_sha256"] = [f"{n % 50:064x}" for n in range(200)]
    splits = table.assign(made=assign_splits(table, SPLIT)).groupby("pixel_sha256")["made"].nunique()
    assert (splits == 1).all()


def test_splits_that_the_source_made_stay():
    table = index()
    table["split"] = ["train", "test", "validation", "train"] * 50
    assert assign_splits(table, SPLIT).equals(table["split"])


def test_of_train_and_validation_alone_validation_is_the_test_data():
    table = index()
    table["split"] = ["train", "train", "train", "validation"] * 50
    made = assign_splits(table, SPLIT)
    assert (made[table["split"] == "validation"] == "test").all()
    assert made[table["split"] == "train"].value_counts().to_dict() == {
        "train": 120,
        "validation": 30,
    }


def test_of_train_and_test_alone_validation_is_carved_from_train():
    table = index()
    table["split"] = ["train", "train", "train", "test"] * 50
    made = assign_splits(table, SPLIT)
    assert (made[table["split"] == "test"] == "test").all()
    assert (made == "validation").sum() == 30


def test_without_a_validation_share_there_is_none():
    assert set(assign_splits(index(), changed(validation=0.0))) == {"train", "test"}


def test_without_a_test_share_there_is_a_refusal():
    with pytest.raises(UserError, match=r"dataset.split.test = 0: expected more"):
        assign_splits(index(), changed(test=0.0))


def test_a_picture_in_two_splits_of_the_users_is_refused_and_every_one_is_named():
    table = index()
    table["split"] = ["train", "train", "test", "validation"] * 50
    table.loc[[2, 6], "pixel_sha256"] = table.loc[[0, 5], "pixel_sha256"].to_list()
    table.loc[4, "pixel_sha256"] = table.loc[1, "pixel_sha256"]  # twice in train, which does no harm
    with pytest.raises(UserError) as refusal:
        assign_splits(table, SPLIT)
    assert "2 pictures are in two splits" in str(refusal.value)
    assert "0000.jpg = 0002.jpg" in str(refusal.value)
    assert "0005.jpg = 0006.jpg" in str(refusal.value)
    assert "0001.jpg" not in str(refusal.value)


def test_a_class_too_small_to_split_is_refused_and_named():
    table = index()
    table.loc[0, "label"] = "axolotl"
    with pytest.raises(UserError, match="no test split of 0.25 can be carved.*'axolotl' 1"):
        assign_splits(table, SPLIT)


def test_stratifying_by_an_unknown_column_is_refused_and_the_columns_are_named():
    with pytest.raises(UserError, match="no column .breed.. Expected some of path, sha256, pixels"):
        assign_splits(index(), changed(stratify=["breed"]))


def test_stratifying_by_nothing_carves_by_size_alone():
    made = assign_splits(index(), changed(stratify=[]))
    assert made.value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}


def limited(table: pd.DataFrame, limit: int, **values) -> pd.DataFrame:
    """The training images that a limit leaves."""
    made = assign_splits(table, changed(**values))
    out = beyond_limit(table, made, limit, changed(**values))
    assert (made[out] == "train").all(), "validation and test data stay whole"
    return table[(made == "train") & ~out]


def test_a_limit_leaves_so_many_training_images_of_the_same_mixture():
    table = index()  # 120 to train on, 36 of them dogs
    left = limited(table, 40)
    assert left["label"].value_counts().to_dict() == {"cat": 28, "dog": 12}
    assert len(limited(table, 41)) == 41
    assert len(limited(table, 120)) == 120
    assert len(limited(table, 40, stratify=[])) == 40


def test_a_larger_limit_keeps_what_a_smaller_one_left_and_another_seed_draws_others():
    table = index()
    assert set(limited(table, 40).index) < set(limited(table, 41).index)
    made = assign_splits(table, SPLIT)
    assert not beyond_limit(table, made, 40, SPLIT).equals(
        beyond_limit(table, made, 40, changed(seed=1))
    )


def test_names_and_order_of_files_have_no_effect_on_a_limit():
    table = index()
    renamed = table.assign(path=[f"{999 - n}.png" for n in range(200)])[::-1]
    assert set(limited(renamed, 33).index) == set(limited(table, 33).index)


def test_a_limit_above_the_training_images_or_too_small_for_a_class_is_refused():
    with pytest.raises(UserError, match="dataset.max_train_images = 121: expected at most 120, the number of"):
        limited(index(), 121)
    table = index(share=0.1)  # 12 dogs of 120
    with pytest.raises(
        UserError, match="no training image of dog would .* at least (.+)\\."
    ) as refusal:
        limited(table, 2)
    least = int(str(refusal.value).split()[-1].rstrip("."))
    assert set(limited(table, least)["label"]) == {"cat", "dog"}
    with pytest.raises(UserError, match="no training image of dog"):
        limited(table, least - 1)
