"""Doubts about generated features, in which the truth is known."""

import numpy as np
import pandas as pd
import pytest

from thaw.config.audit import Audit
from thaw.data.duplicates import normalize
from thaw.evaluation.label_errors import (
    fit_probabilities,
    label_quality,
    near_duplicate_pairs,
    out_of_fold,
    outlier_distances,
    overlapping_classes,
    similarity_to_training,
)
from thaw.evaluation.learning_curve import learning_curve

CLASSES = ["ant", "bee", "cat"]
EACH, CHANNELS = 60, 24


@pytest.fixture
def parameters(composed):
    # so few rows of so few channels bear a weaker penalty
    return Audit(**{**composed["doubts"]["vgg16"], "C": 1.0})


@pytest.fixture
def drawn():
    """Images of three classes and their features: ant and bee near each other, cat far away."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, CHANNELS))
    centres[1] = centres[0] + 0.3 * random.normal(size=CHANNELS)
    label = np.repeat([0, 1, 2], EACH)
    inputs = (centres[label] + 0.5 * random.normal(size=(3 * EACH, CHANNELS))).astype("float32")
    split = np.array(["train", "train", "train", "validation", "test"])[np.arange(3 * EACH) % 5]
    images = pd.DataFrame(
        {
            "pixel_sha256": [f"{n:04x}" for n in range(3 * EACH)],
            "class": label,
            "split": split,
            "confidence": np.nan,
        }
    )
    return images, inputs


def test_a_wrong_label_is_suspected_in_every_split_and_right_ones_are_not(drawn, parameters):
    images, inputs = drawn
    wrong = [0, 3, 4, 130, 131, 134]
    assert set(images["split"].iloc[wrong]) == {"train", "validation", "test"}
    images.loc[wrong, "class"] = (images.loc[wrong, "class"] + 2) % 3
    told = label_quality(images, out_of_fold(images, inputs, parameters, 0), CLASSES)
    worst = told.sort_values("probability").index[: len(wrong) + 3]
    assert set(wrong) <= set(worst)
    assert told.loc[wrong, "suspect"].sum() >= 5
    right = told.drop(wrong).loc[2 * EACH :]  # cats, which nothing is like
    assert len(right) > 50 and right["suspect"].mean() < 0.05
    assert told.loc[0, "suggested"] == "ant" and told.loc[130, "suggested"] == "cat"


def test_test_labels_train_nothing(drawn, parameters):
    images, inputs = drawn
    before = out_of_fold(images, inputs, parameters, 0)
    test = images["split"] == "test"
    images.loc[test, "class"] = (images.loc[test, "class"] + 1) % 3
    np.testing.assert_array_equal(out_of_fold(images, inputs, parameters, 0), before)


def test_equal_pictures_stand_in_one_fold(drawn, parameters):
    images, inputs = drawn
    # a class whose every picture is there twice, and which nothing else is like
    random = np.random.default_rng(1)
    odd = np.repeat(random.normal(size=(20, CHANNELS)) * 5, 2, axis=0).astype("float32")
    more = pd.DataFrame(
        {
            "pixel_sha256": np.repeat([f"f{n:03x}" for n in range(20)], 2),
            "class": random.permutation(np.repeat([0, 1], 20)),
            "split": "train",
            "confidence": np.nan,
        }
    )
    images = pd.concat([images, more], ignore_index=True)
    made = out_of_fold(images, np.vstack([inputs, odd]), parameters, 0)
    own = made[np.arange(len(images)), images["class"]][-40:]
    assert own.mean() < 0.75, "its twin's label gave it away"


def test_a_class_of_one_image_is_not_judged(drawn, parameters):
    images, inputs = drawn
    images.loc[7, "class"] = 3
    made = out_of_fold(images, inputs, parameters, 0)
    assert np.isnan(made[7]).all() and not np.isnan(np.delete(made, 7, axis=0)).any()
    told = label_quality(images, made, [*CLASSES, "dog"])
    assert not told.loc[7, "suspect"] and np.isnan(told.loc[7, "probability"])
    assert "dog" not in set(told["suggested"])


def test_classes_that_are_near_are_named_first(drawn, parameters):
    images, inputs = drawn
    found = overlapping_classes(images, out_of_fold(images, inputs, parameters, 0), CLASSES)
    assert found.iloc[0][["one", "other"]].tolist() == ["ant", "bee"]
    assert found.iloc[0]["images"] > 0 and 0.5 < found.iloc[0]["told_apart"] < 1


def test_what_is_unlike_all_is_an_outlier(drawn, parameters):
    images, inputs = drawn
    inputs[11] = -inputs.mean(axis=0) * 4
    far, fence = outlier_distances(normalize(inputs), images["pixel_sha256"].tolist(), parameters)
    assert far.argmax() == 11 and far[11] > fence and (far > fence).sum() <= 3


def test_twins_are_no_neighbours_of_each_other(drawn, parameters):
    images, inputs = drawn
    inputs[11] = inputs[12] = -inputs.mean(axis=0) * 4
    keys = images["pixel_sha256"].tolist()
    keys[12] = keys[11]
    one = parameters.model_copy(update={"neighbours": 1})
    far, _ = outlier_distances(normalize(inputs), keys, one)
    assert far[11] == far[12] == far.max() > 0.5


def test_of_many_images_some_are_compared(drawn, parameters):
    images, inputs = drawn
    inputs[90] = inputs[91] + 1e-4  # train and validation or the like
    assert images["split"][90] != images["split"][93]
    inputs[93] = inputs[90]
    few = parameters.model_copy(update={"compared": 100})
    compared, count, near = near_duplicate_pairs(images, normalize(inputs), parameters)
    assert compared == len(images) and count >= 1
    assert {90, 93} in [{a, b} for a, b, _ in near]
    assert all(images["split"][a] != images["split"][b] for a, b, _ in near)
    assert near_duplicate_pairs(images, normalize(inputs), few)[0] == 100
    assert outlier_distances(normalize(inputs), images["pixel_sha256"].tolist(), few)[0].shape == (
        len(images),
    )


def test_what_is_like_an_image_to_learn_from_is_told_of_validation_and_test(drawn, parameters):
    images, inputs = drawn
    split = images["split"]
    test, train, validation = (np.flatnonzero(split == s) for s in ("test", "train", "validation"))
    inputs[test[0]], inputs[test[1]] = 2 * inputs[train[5]], inputs[validation[2]]
    inputs[test[3]] = inputs[test[2]]
    found = similarity_to_training(images, normalize(inputs), parameters)
    assert np.isnan(found[train]).all() and not np.isnan(found[[*test, *validation]]).any()
    assert found[test[:2]] == pytest.approx(1) and (found[test[2:]] < 0.999).all()
    assert (found[validation] < 0.999).all(), "test images teach nothing"


def test_accuracy_grows_with_labels(drawn, parameters):
    images, inputs = drawn
    few = parameters.model_copy(update={"labelled": [6, 1000]})
    grown, measured, count = learning_curve(images, inputs, few, 0)
    assert (measured, count) == ("validation images", (images["split"] == "validation").sum())
    assert grown["images"].tolist() == [6, 54, 108] and grown["draws"].tolist() == [5, 5, 1]
    assert grown["accuracy"].iloc[0] < grown["accuracy"].iloc[-1]
    assert (grown["lowest"] <= grown["accuracy"]).all()
    assert learning_curve(images, inputs, few, 0)[0].equals(grown)


def test_fewer_labels_have_the_mixture_of_all(drawn, parameters, monkeypatch):
    images, inputs = drawn
    images = images.drop(images.index[(images["class"] == 2) & (images.index % 6 > 0)])
    seen = []

    def noted(inputs, rows, *others):
        seen.append(rows["class"].value_counts(normalize=True).sort_index().tolist())
        return fit_probabilities(inputs, rows, *others)

    monkeypatch.setattr("thaw.evaluation.learning_curve.fitted", noted)
    images = images.reset_index(drop=True)
    learning_curve(images, inputs[: len(images)], parameters, 0)
    assert len(seen) > 5
    assert np.allclose(seen, seen[-1], atol=0.06)


def test_without_validation_images_some_are_held_out(drawn, parameters):
    images, inputs = drawn
    images.loc[images["split"] == "validation", "split"] = "train"
    grown, measured, count = learning_curve(images, inputs, parameters, 0)
    assert measured.startswith("of the training images, a fifth")
    train = (images["split"] == "train").sum()
    assert grown["images"].iloc[-1] == train - count == round(0.8 * train)
