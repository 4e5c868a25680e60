"""Groups of images: from a column, folders, a regular expression or near-duplicates."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.config.base import validate
from thaw.config.dataset import Split
from thaw.data.drawing import draw_groups
from thaw.data.duplicates import FEW, connected_groups, merge, normalize
from thaw.data.grouping import split_groups
from thaw.data.split_summary import describe_splits
from thaw.data.split_table import divided_groups
from thaw.data.splitting import assign_splits, beyond_limit
from thaw.errors import UserError
from thaw.storage.arrays import ArrayFolder, write_array_folder

SPLIT = {"test": 0.25, "validation": 0.2, "stratify": ["label"], "seed": 0}


def split_by(group: str | None, **changed) -> Split:
    return validate(Split, {**SPLIT, "group": group, **changed}, "dataset", "split")


def index(paths: list[str], **columns) -> pd.DataFrame:
    """Return an index of different images; the label is the first folder."""
    numbers = range(len(paths))
    table = {
        "path": [f"images/{path}" for path in paths],
        "sha256": [f"{n * 7919 % 10007:064x}" for n in numbers],
        "pixel_sha256": [f"{n * 104729 % 10007:064x}" for n in numbers],
        "label": [path.split("/")[0] for path in paths],
        "split": "",
    }
    return pd.DataFrame({**table, **columns})


def patients(each: int = 3, count: int = 8) -> pd.DataFrame:
    """Return images of patients in two classes: CLASS/patient_NN/N.png."""
    names = [
        f"{kind}/{kind[0]}_{patient:02}/{n}.png"
        for kind in ("benign", "malignant")
        for patient in range(count)
        for n in range(each)
    ]
    return index(names)


def groups_of(table: pd.DataFrame, group: str, **changed) -> list[str]:
    return split_groups(table, split_by(group, **changed), None).tolist()


def drawn(table: pd.DataFrame, split: Split) -> pd.DataFrame:
    """Return the table with the columns split_group and split."""
    table = table.assign(split_group=split_groups(table, split, None))
    return table.assign(split=assign_splits(table, split))


def test_folders_between_class_and_file_are_groups():
    paths = ["a/p1/1.png", "a/p1/2.png", "a/p2/day1/1.png", "b/b/p1/1.png", "b/1.png"]
    table = index(paths)
    assert groups_of(table, "folder")[:4] == ["p1", "p1", "p2/day1", "p1"]
    assert groups_of(table, "folder")[4] == table["pixel_sha256"][4]
    nested = index(["train/a/p1/1.png", "test/a/p1/2.png"]).assign(label="a")
    assert groups_of(nested, "folder") == ["p1", "p1"]
    below = index(["a/train/p1/1.png", "a/test/p1/2.png"]).assign(split=["train", "test"])
    assert groups_of(below, "folder") == ["p1", "p1"]
    listed = index(["p1/1.png", "p2/2.png"]).assign(label="from a table")
    assert groups_of(listed, "folder") == ["p1", "p2"]


def test_a_regular_expression_or_a_column_gives_groups():
    table = index(["a/p1_x.png", "b/p1_y.png", "b/p2_x.png"], patient=["", "7", "7"])
    assert groups_of(table, r"(p\d)_") == ["p1", "p1", "p2"]
    assert groups_of(table, "patient") == [table["pixel_sha256"][0], "7", "7"]


def test_groups_that_share_an_identical_image_are_one():
    table = index(["a/1.png", "a/2.png", "a/3.png", "a/4.png"], part=["x", "y", "z", "y"])
    table.loc[2, "pixel_sha256"] = table["pixel_sha256"][0]
    assert groups_of(table, "part") == ["x", "y", "x", "y"]
    assert groups_of(table.assign(part=["", "y", "z", "y"]), "part") == ["z", "y", "z", "y"]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("patent", "expected `folder`, `near_duplicates`, .* Did you mean patient?"),
        (r"(p\d)_", "matches 2 of 3 paths. Expected all.*\n  b/q2.png"),
        ("folder", "no image has a folder between its class folder and its file"),
        ("empty", "column 'empty' is empty, so there are no groups"),
        ("(p", "expected a valid regular expression"),
        (r"(p)(\d)", "one pair of parentheses around the group's name, not 2"),
    ],
)
def test_a_group_that_does_not_fit_is_refused(group, message):
    table = index(["a/p1_x.png", "b/p1_y.png", "b/q2.png"], patient="1", empty="")
    with pytest.raises(UserError, match=message):
        groups_of(table, group)


def test_near_duplicates_are_groups_also_through_others(tmp_path):
    random = np.random.default_rng(0)
    vectors = normalize(random.normal(size=(600, 16)))
    turned = normalize(vectors[:3] + 0.02 * vectors[3:6])
    vectors[[50, 300, 599]] = turned
    vectors[400] = normalize(turned[:1] + 0.02 * vectors[9:10])[0]
    keys = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(600)]
    table = index([f"a/{n}.png" for n in range(600)], pixel_sha256=keys)
    features = dict(zip(keys, vectors[:, None, None].astype("float32"), strict=True))
    write_array_folder(str(tmp_path / "features"), keys, features.__getitem__, {})
    split = split_by("near_duplicates", near_duplicate_similarity=0.999)
    groups = split_groups(table, split, ArrayFolder(tmp_path / "features"))
    members = {frozenset(rows) for rows in table.groupby(groups.to_numpy()).indices.values()}
    members = {tuple(sorted(int(n) for n in rows)) for rows in members if len(rows) > 1}
    similar = vectors @ vectors.T >= 0.999
    assert members == {(0, 50, 400), (1, 300), (2, 599)} and similar[0, 50] and similar[50, 400]
    assert groups.iloc[400] == min(keys[0], keys[50], keys[400])
    assert len(set(connected_groups(vectors, 0.999))) == 596


@pytest.mark.parametrize("spread", [1.0, 0.05])  # few and nearly all vectors are candidates
def test_the_search_in_a_tree_finds_the_same_near_duplicates_as_comparing_all(spread):
    random = np.random.default_rng(0)
    distinct = 1 + spread * random.normal(size=(2000, 40)).astype("float32")
    copies = distinct[:400] * (1 + 0.03 * random.normal(size=(400, 40)).astype("float32"))
    vectors = normalize(np.concatenate([distinct, copies]))
    assert len(vectors) > FEW
    similar = np.nonzero(vectors @ vectors.T >= 0.999)
    expected = merge(np.arange(len(vectors)), *similar)
    assert (connected_groups(vectors, 0.999) == expected).all()
    assert len(set(expected)) < len(vectors)


def test_each_patient_is_in_one_split():
    table = drawn(patients(), split_by("folder"))
    assert not divided_groups(table)
    assert table["split"].value_counts().to_dict() == {"train": 30, "test": 12, "validation": 6}
    assert table.groupby("split")["label"].nunique().eq(2).all()
    lines = describe_splits(table, split_by("folder"))
    assert "48 images are in 16 groups by dataset.split.group = folder (test 4, train 10" in lines
    assert "The test images are of 4 groups. Intervals from so few are rough." in lines


def test_groups_keep_the_share_and_the_proportions_of_classes():
    random = np.random.default_rng(3)
    sizes = random.geometric(1 / 8, 90)
    group = np.repeat(np.arange(90), sizes)
    rare = random.random(90)[group] < random.random(len(group)) * 0.5
    table = index([f"{'rare' if r else 'usual'}/{n}.png" for n, r in enumerate(rare)])
    table = drawn(table.assign(part=group.astype(str)), split_by("part"))
    share = table["split"].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.25, abs=0.01)
    assert share["validation"] == pytest.approx(0.15, abs=0.01)
    rare_share = table["label"].eq("rare").groupby(table["split"]).mean()
    assert rare_share.max() - rare_share.min() < 0.03


def test_a_grouped_split_depends_on_the_seed_but_not_on_names():
    table = patients()
    before = drawn(table, split_by("folder"))["split"]
    assert before.equals(drawn(table, split_by("folder"))["split"])
    assert not before.equals(drawn(table, split_by("folder", seed=1))["split"])
    renamed = table.assign(path=table["path"].str.replace("/b_", "/z_"))[::-1]
    assert drawn(renamed, split_by("folder"))["split"].sort_index().equals(before)


def test_groups_in_two_splits_of_the_source_are_refused_and_listed():
    table = patients()
    table["split"] = ["train", "train", "test"] * 16
    table.loc[table["path"].str.contains("/b_0[1-7]|/m_"), "split"] = "train"
    with pytest.raises(UserError) as refusal:
        drawn(table, split_by("folder"))
    assert "1 groups of dataset.split.group = 'folder' are in two splits" in str(refusal.value)
    assert "b_00: benign/b_00/0.png and benign/b_00/2.png" in str(refusal.value)
    assert "dataset.split.group=null accepts the splits" in str(refusal.value)


def test_too_few_groups_are_refused_with_their_counts():
    one = patients(count=1)
    with pytest.raises(UserError) as refusal:
        drawn(one, split_by("folder"))
    assert "2 of 2 classes have a single group of dataset.split.group = 'folder'" in str(
        refusal.value
    )
    assert "'benign': 3 images, all in the group 'b_00'" in str(refusal.value)
    uneven = index([f"{'ab'[n % 2]}/{n}.png" for n in range(100)])
    uneven["part"] = np.repeat(["x", "y", "z"], [60, 36, 4])
    with pytest.raises(UserError) as refusal:
        drawn(uneven, split_by("part"))
    assert "cannot draw a validation split of 20 % of 64 images without dividing" in str(
        refusal.value
    )
    assert "nearest possible split has 4 images (6.25 %)" in str(refusal.value)
    assert "'x': 60 images" in str(refusal.value)


def test_limit_keeps_whole_groups_and_larger_limits_keep_those_of_smaller_ones():
    table, split, before = patients(each=5, count=20), split_by("folder"), set()
    table = drawn(table, split)
    for limit in (20, 33, 61, 100):
        excluded = beyond_limit(table, table["split"], limit, split)
        kept = table[(table["split"] == "train") & ~excluded]
        assert limit - 5 < len(kept) <= limit
        assert kept["split_group"].value_counts().eq(5).all()
        assert abs((kept["label"] == "benign").mean() - 0.5) < 0.15
        assert before <= set(kept.index)
        before = set(kept.index)
    with pytest.raises(UserError, match="no training image of .*. Expected at least 10"):
        beyond_limit(table, table["split"], 7, split)


@pytest.mark.parametrize("each", range(2, 11))
@pytest.mark.parametrize("classes", [2, 150])
def test_few_images_of_each_class_are_split(each, classes, recwarn):
    table = index([f"{c}/{n}.png" for c in range(classes) for n in range(each)])
    table = drawn(table, split_by(None, test=0.2))
    assert table.loc[table["split"] == "train", "label"].nunique() == classes
    shares = table["split"].value_counts(normalize=True)
    assert 0.1 <= shares["test"] <= 0.34 and 0.05 < shares["validation"] <= 0.3
    if each >= 4:
        assert table.groupby("split")["label"].nunique().eq(classes).all()
    assert not recwarn.list


@st.composite
def grouped_images(draw) -> pd.DataFrame:
    """Return images of random classes and groups, some of them identical."""
    count = draw(st.integers(12, 80))
    numbers = st.lists(st.integers(0, 30), min_size=count, max_size=count)
    table = index([f"{'abc'[n % 3]}/{n}.png" for n in range(count)])
    table["part"] = [str(n) if n else "" for n in draw(numbers)]
    same = draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), max_size=5))
    for one, other in same:
        table.loc[one, ["sha256", "pixel_sha256"]] = table.loc[
            other, ["sha256", "pixel_sha256"]
        ].to_numpy()
    return table


@settings(max_examples=60)
@given(grouped_images(), st.integers(0, 3), st.floats(0.1, 0.4))
def test_no_group_is_in_two_splits_and_every_image_is_in_one(table, seed, share):
    split = split_by("part", seed=seed, test=share)
    try:
        table = drawn(table, split)
    except UserError as error:
        assert str(error).startswith(("cannot draw a ", "dataset.split.group = 'part': column"))
        return
    assert set(table["split"]) == {"train", "validation", "test"}
    assert not divided_groups(table)
    for column in ("part", "pixel_sha256"):
        named = table[table[column] != ""]
        assert named.groupby(column)["split"].nunique().max() == 1
    assert set(table.loc[table["split"] == "train", "label"]) == {*table["label"]}


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=40), st.floats(0.1, 0.5))
def test_a_draw_misses_the_share_by_less_than_a_group(sizes, share):
    group = np.repeat(np.arange(len(sizes)), sizes)
    images = pd.DataFrame({"split_group": group, "stratum": "", "label": "one"})
    chosen = draw_groups(images, share, 0)
    assert abs(chosen.sum() - share * len(images)) <= max(sizes) / 2 + 1e-6
