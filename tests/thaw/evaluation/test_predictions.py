import numpy as np
import pandas as pd
import pytest

from thaw.evaluation.predictions import (
    most_informative,
    read_maps,
    read_predictions,
    write_maps,
    write_predictions,
)


def test_predictions_are_read_as_they_were_written(tmp_path):
    test = pd.DataFrame({"pixel_sha256": ["0a", "0b", "1e5"], "label": ["NA", "dog", "dog"]})
    expected = np.array([[0.5000001, 0.4999999], [1 / 3, 2 / 3], [0.0, 1.0]])
    write_predictions(tmp_path, test, expected, ["NA", "dog"])
    keys, classes, probabilities = read_predictions(tmp_path)
    assert keys == ["0a", "0b", "1e5"] and classes == ["NA", "dog"]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-8)
    text = (tmp_path / "predictions.csv").read_text().splitlines()
    assert text[0] == "pixel_sha256,label,predicted,probability of NA,probability of dog"
    assert text[2].startswith("0b,dog,dog,0.333333333,")


def test_each_map_is_scaled_by_its_maximum_to_the_same_bytes(tmp_path):
    maps = np.array([[[0.0, 2.0], [1.0, 0.5]], [[0, 0], [0, 0]]], "float32")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_maps(tmp_path / name, np.array([4, 7]), maps)
    maps_by_row = read_maps(tmp_path / "a")
    assert sorted(maps_by_row) == [4, 7]
    assert maps_by_row[4].tolist() == [[0, 255], [128, 64]] and not maps_by_row[7].any()
    assert (tmp_path / "a/maps.npz").read_bytes() == (tmp_path / "b/maps.npz").read_bytes()


def test_without_maps_there_is_no_file(tmp_path):
    write_maps(tmp_path, np.array([0]), None)
    assert read_maps(tmp_path) == {} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "right", "most", "expected_wrong"),
    [(10, 90, 20, 10), (40, 60, 20, 10), (40, 2, 20, 18), (5, 5, 100, 5)],
)
def test_the_most_confident_errors_and_correct_rows_are_chosen(wrong, right, most, expected_wrong):
    random = np.random.default_rng(0)
    confidence = random.uniform(0.51, 1, wrong + right)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    true = np.array([1] * wrong + [0] * right)
    chosen = most_informative(true, probabilities, most)
    assert len(chosen) == min(most, wrong + right) == len(set(chosen.tolist()))
    assert (np.diff(chosen) > 0).all()
    own = chosen[chosen < wrong]
    assert len(own) == expected_wrong
    left = np.setdiff1d(np.arange(wrong), own)
    assert not len(left) or confidence[own].min() >= confidence[left].max()
