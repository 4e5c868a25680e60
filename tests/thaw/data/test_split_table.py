import numpy as np
import pandas as pd
import pytest

from thaw.data.split_table import SplitTable, sample_weights

HEADER = "pixels,label,class,group,confidence,split\n"


def rows(tmp_path, *lines: str) -> SplitTable:
    (tmp_path / "split.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return SplitTable(tmp_path / "split.csv")


def test_a_split_has_its_rows_numbered_from_zero(tmp_path):
    read = rows(tmp_path, "aa,cat,0,,,test", "bb,dog,1,mono,0.5,train", "cc,cat,0,,,train")
    train = read.of("train")
    assert train["pixel_sha256"].tolist() == ["bb", "cc"] and train.index.tolist() == [0, 1]
    assert train["class"].tolist() == [1, 0] and train["confidence"][0] == 0.5
    assert np.isnan(train["confidence"][1])
    assert read.of("validation").empty


def test_skipped_images_are_counted_and_left_out(tmp_path):
    read = rows(tmp_path, ",cat,0,,,skipped", "aa,cat,0,,,test", "bb,dog,1,,,train")
    assert read.skipped == 1 and len(read.table) == 2


def test_classes_are_in_the_order_of_their_numbers(tmp_path):
    read = rows(tmp_path, "aa,zebra,0,,,test", "bb,ant,1,,,train", "cc,zebra,0,,,train")
    assert read.classes == ["zebra", "ant"]


@pytest.mark.parametrize("names", [("007", "7"), ("NA", "None"), ("null", "nan")])
def test_labels_are_what_the_folders_were_called(tmp_path, names):
    read = rows(tmp_path, f"aa,{names[0]},0,,,test", f"bb,{names[1]},1,,,train")
    assert read.classes == list(names)


def test_rows_of_no_group_form_none(tmp_path):
    read = rows(tmp_path, "aa,cat,0,,,test", "bb,dog,1,,,test")
    assert list(read.of("test").groupby("group").indices) == []


def test_the_digest_is_of_the_file(tmp_path):
    one = rows(tmp_path, "aa,cat,0,,,test").digest()
    assert rows(tmp_path, "aa,cat,0,,,test").digest() == one
    assert rows(tmp_path, "aa,cat,0,,,train").digest() != one


TABLE = pd.DataFrame({"class": [0, 0, 0, 1], "confidence": [1.0, 0.5, np.nan, 0.25]})


def test_unweighted_rows_count_the_same():
    assert sample_weights(TABLE, "none", False).tolist() == [1, 1, 1, 1]
    assert sample_weights(TABLE, "none", False).dtype == "float32"


def test_balanced_classes_have_the_same_total_as_in_scikit_learn():
    np.testing.assert_allclose(sample_weights(TABLE, "balanced", False), [2 / 3, 2 / 3, 2 / 3, 2])


def test_rows_count_by_their_confidence_where_it_is_known():
    expected = np.array([1, 0.5, 1, 0.25]) / 0.6875
    np.testing.assert_allclose(sample_weights(TABLE, "none", True), expected)


def test_both_at_once_balance_the_totals_and_keep_a_mean_of_one():
    given = sample_weights(TABLE, "balanced", True)
    assert given.mean() == pytest.approx(1) and given[:3].sum() == pytest.approx(given[3])
    assert given[0] == pytest.approx(2 * given[1])
