import numpy as np
import pandas as pd
import pytest

from thaw.data.split_table import SplitTable, sample_weights
from thaw.errors import UserError

HEADER = "pixel_sha256,label,class,group,confidence,split\n"


def read_rows(tmp_path, *lines: str) -> SplitTable:
    (tmp_path / "split.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return SplitTable(tmp_path / "split.csv")


def test_rows_of_a_split_are_indexed_from_zero(tmp_path):
    table = read_rows(tmp_path, "aa,cat,0,,,test", "bb,dog,1,mono,0.5,train", "cc,cat,0,,,train")
    train = table.of("train")
    assert train["pixel_sha256"].tolist() == ["bb", "cc"] and train.index.tolist() == [0, 1]
    assert train["class"].tolist() == [1, 0] and train["confidence"][0] == 0.5
    assert np.isnan(train["confidence"][1])
    assert table.of("validation").empty


def test_skipped_images_are_counted_and_excluded(tmp_path):
    table = read_rows(tmp_path, ",cat,0,,,skipped", "aa,cat,0,,,test", "bb,dog,1,,,train")
    assert table.skipped == 1 and len(table.table) == 2


def test_classes_are_in_the_order_of_their_numbers(tmp_path):
    table = read_rows(tmp_path, "aa,zebra,0,,,test", "bb,ant,1,,,train", "cc,zebra,0,,,train")
    assert table.classes == ["zebra", "ant"]


@pytest.mark.parametrize("names", [("007", "7"), ("NA", "None"), ("null", "nan")])
def test_labels_are_read_as_text(tmp_path, names):
    table = read_rows(tmp_path, f"aa,{names[0]},0,,,test", f"bb,{names[1]},1,,,train")
    assert table.classes == list(names)


def test_images_without_a_group_form_no_group(tmp_path):
    table = read_rows(tmp_path, "aa,cat,0,,,test", "bb,dog,1,,,test")
    assert list(table.of("test").groupby("group").indices) == []


def test_a_group_in_two_splits_is_refused(tmp_path):
    (tmp_path / "split.csv").write_text(
        HEADER.replace("split\n", "split,split_group\n")
        + "aa,cat,0,,,train,7\nbb,dog,1,,,test,07\ncc,cat,0,,,test,7\n"
    )
    with pytest.raises(UserError, match="1 groups are in two splits, such as '7'. `dvc checkout`"):
        SplitTable(tmp_path / "split.csv")
    with pytest.raises(UserError, match="1 groups are in two splits, such as 'aa'"):
        read_rows(tmp_path, "aa,cat,0,,,train", "aa,dog,1,,,test")


def test_digest_depends_on_the_content_of_the_file(tmp_path):
    one = read_rows(tmp_path, "aa,cat,0,,,test").digest()
    assert read_rows(tmp_path, "aa,cat,0,,,test").digest() == one
    assert read_rows(tmp_path, "aa,cat,0,,,train").digest() != one


TABLE = pd.DataFrame({"class": [0, 0, 0, 1], "confidence": [1.0, 0.5, np.nan, 0.25]})
UNKNOWN = TABLE.assign(confidence=np.nan)  # as SplitTable gives without confidence_weight


def test_without_confidence_weight_every_confidence_is_unknown(tmp_path):
    (tmp_path / "split.csv").write_text(HEADER + "aa,cat,0,,0.5,train\nbb,dog,1,,,train\n")
    table = SplitTable(tmp_path / "split.csv", confidence_weight=False).of("train")
    assert table["confidence"].isna().all()


def test_images_of_unknown_confidence_have_equal_weights():
    assert sample_weights(UNKNOWN, "none").tolist() == [1, 1, 1, 1]
    assert sample_weights(UNKNOWN, "none").dtype == "float32"


def test_balanced_class_weights_equal_those_of_scikit_learn():
    np.testing.assert_allclose(sample_weights(UNKNOWN, "balanced"), [2 / 3, 2 / 3, 2 / 3, 2])


def test_known_confidences_weigh_images():
    expected = np.array([1, 0.5, 1, 0.25]) / 0.6875
    np.testing.assert_allclose(sample_weights(TABLE, "none"), expected)


def test_confidence_and_class_weights_combine_with_mean_one():
    weights = sample_weights(TABLE, "balanced")
    assert weights.mean() == pytest.approx(1) and weights[:3].sum() == pytest.approx(weights[3])
    assert weights[0] == pytest.approx(2 * weights[1])
