"""Audit generated features whose true classes are known."""

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
    # few rows and channels need a weaker penalty
    return Audit(**{**composed["audits"]["vgg16"], "C": 1.0})


@pytest.fixture
def data():
    """Return images of three classes and their features: ant and bee are similar, cat is not."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, CHANNELS))
    centres[1] = centres[0] + 0.3 * random.normal(size=CHANNELS)
    label = np.repeat([0, 1, 2], EACH)
    inputs = (centres[label] + 0.5 * random.normal(size=(3 * EACH, CHANNELS))).astype("float32")
    split = np.array(["train", "train", "train", "validation", "test"])[np.arange(3 * EACH) % 5]
    images = pd.DataFrame(
        {
            "pixel_sha256": [f"{n:04x}" for n in range(3 * EACH)],
            "split_group": [f"{n:04x}" for n in range(3 * EACH)],
            "class": label,
            "split": split,
            "confidence": np.nan,
        }
    )
    return images, inputs


def test_wrong_labels_are_flagged_in_every_split_and_correct_ones_are_not(data, parameters):
    images, inputs = data
    wrong = [0, 3, 4, 130, 131, 134]
    assert set(images["split"].iloc[wrong]) == {"train", "validation", "test"}
    images.loc[wrong, "class"] = (images.loc[wrong, "class"] + 2) % 3
    quality = label_quality(images, out_of_fold(images, inputs, parameters, 0), CLASSES)
    worst = quality.sort_values("probability").index[: len(wrong) + 3]
    assert set(wrong) <= set(worst)
    assert quality.loc[wrong, "likely_error"].sum() >= 5
    right = quality.drop(wrong).loc[2 * EACH :]  # cats, which are unlike the others
    assert len(right) > 50 and right["likely_error"].mean() < 0.05
    assert quality.loc[0, "suggested"] == "ant" and quality.loc[130, "suggested"] == "cat"


def test_labels_of_test_images_are_not_learned(data, parameters):
    images, inputs = data
    before = out_of_fold(images, inputs, parameters, 0)
    test = images["split"] == "test"
    images.loc[test, "class"] = (images.loc[test, "class"] + 1) % 3
    np.testing.assert_array_equal(out_of_fold(images, inputs, parameters, 0), before)


def test_images_of_a_group_are_in_one_fold(data, parameters):
    images, inputs = data
    # pairs of images with random labels, unlike all others
    random = np.random.default_rng(1)
    odd = np.repeat(random.normal(size=(20, CHANNELS)) * 5, 2, axis=0).astype("float32")
    more = pd.DataFrame(
        {
            "pixel_sha256": [f"f{n:03x}" for n in range(40)],
            "split_group": np.repeat([f"pair {n}" for n in range(20)], 2),
            "class": random.permutation(np.repeat([0, 1], 20)),
            "split": "train",
            "confidence": np.nan,
        }
    )
    images = pd.concat([images, more], ignore_index=True)
    probabilities = out_of_fold(images, np.vstack([inputs, odd]), parameters, 0)
    own = probabilities[np.arange(len(images)), images["class"]][-40:]
    assert own.mean() < 0.75, "the label of the other image was learned"


def test_a_class_of_one_image_is_not_judged(data, parameters):
    images, inputs = data
    images.loc[7, "class"] = 3
    probabilities = out_of_fold(images, inputs, parameters, 0)
    assert (
        np.isnan(probabilities[7]).all() and not np.isnan(np.delete(probabilities, 7, axis=0)).any()
    )
    quality = label_quality(images, probabilities, [*CLASSES, "dog"])
    assert not quality.loc[7, "likely_error"] and np.isnan(quality.loc[7, "probability"])
    assert "dog" not in set(quality["suggested"])


def test_the_most_similar_classes_are_first(data, parameters):
    images, inputs = data
    result = overlapping_classes(images, out_of_fold(images, inputs, parameters, 0), CLASSES)
    assert result.iloc[0][["one", "other"]].tolist() == ["ant", "bee"]
    assert result.iloc[0]["images"] > 0 and 0.5 < result.iloc[0]["told_apart"] < 1


def test_an_image_unlike_all_others_is_an_outlier(data, parameters):
    images, inputs = data
    inputs[11] = -inputs.mean(axis=0) * 4
    far, limit = outlier_distances(normalize(inputs), images["pixel_sha256"].tolist(), parameters)
    assert far.argmax() == 11 and far[11] > limit and (far > limit).sum() <= 3


def test_identical_images_are_not_neighbors_of_each_other(data, parameters):
    images, inputs = data
    inputs[11] = inputs[12] = -inputs.mean(axis=0) * 4
    keys = images["pixel_sha256"].tolist()
    keys[12] = keys[11]
    one = parameters.model_copy(update={"k": 1})
    far, _ = outlier_distances(normalize(inputs), keys, one)
    assert far[11] == far[12] == far.max() > 0.5


def test_at_most_max_images_are_compared(data, parameters):
    images, inputs = data
    inputs[90] = inputs[91] + 1e-4  # train and validation or the like
    assert images["split"][90] != images["split"][93]
    inputs[93] = inputs[90]
    few = parameters.model_copy(update={"max_images": 100})
    compared, count, near = near_duplicate_pairs(images, normalize(inputs), parameters)
    assert compared == len(images) and count >= 1
    assert {90, 93} in [{a, b} for a, b, _ in near]
    assert all(images["split"][a] != images["split"][b] for a, b, _ in near)
    assert near_duplicate_pairs(images, normalize(inputs), few)[0] == 100
    assert outlier_distances(normalize(inputs), images["pixel_sha256"].tolist(), few)[0].shape == (
        len(images),
    )


def test_training_similarity_of_validation_and_test_images(data, parameters):
    images, inputs = data
    split = images["split"]
    test, train, validation = (np.flatnonzero(split == s) for s in ("test", "train", "validation"))
    inputs[test[0]], inputs[test[1]] = 2 * inputs[train[5]], inputs[validation[2]]
    inputs[test[3]] = inputs[test[2]]
    result = similarity_to_training(images, normalize(inputs), parameters)
    assert np.isnan(result[train]).all() and not np.isnan(result[[*test, *validation]]).any()
    assert result[test[:2]] == pytest.approx(1) and (result[test[2:]] < 0.999).all()
    assert (result[validation] < 0.999).all(), "test images are not learned from"


def test_accuracy_grows_with_labels(data, parameters):
    images, inputs = data
    few = parameters.model_copy(update={"train_sizes": [6, 1000]})
    curve, measured, count = learning_curve(images, inputs, few, 0)
    assert (measured, count) == ("validation images", (images["split"] == "validation").sum())
    assert curve["images"].tolist() == [6, 54, 108] and curve["repeats"].tolist() == [5, 5, 1]
    assert curve["accuracy"].iloc[0] < curve["accuracy"].iloc[-1]
    assert (curve["lowest"] <= curve["accuracy"]).all()
    assert learning_curve(images, inputs, few, 0)[0].equals(curve)


def test_smaller_training_sets_have_the_class_proportions_of_all(data, parameters, monkeypatch):
    images, inputs = data
    images = images.drop(images.index[(images["class"] == 2) & (images.index % 6 > 0)])
    seen = []

    def record_classes(inputs, rows, *others):
        seen.append(rows["class"].value_counts(normalize=True).sort_index().tolist())
        return fit_probabilities(inputs, rows, *others)

    monkeypatch.setattr("thaw.evaluation.learning_curve.fit_probabilities", record_classes)
    images = images.reset_index(drop=True)
    learning_curve(images, inputs[: len(images)], parameters, 0)
    assert len(seen) > 5
    assert np.allclose(seen, seen[-1], atol=0.06)


def test_without_validation_images_a_fifth_is_left_out(data, parameters):
    images, inputs = data
    images.loc[images["split"] == "validation", "split"] = "train"
    curve, measured, count = learning_curve(images, inputs, parameters, 0)
    assert measured.startswith("of the training images, a fifth")
    train = (images["split"] == "train").sum()
    assert curve["images"].iloc[-1] == train - count == round(0.8 * train)


def test_a_rare_class_makes_no_fewer_folds_and_no_warning(data, parameters, recwarn):
    images, inputs = data
    before = out_of_fold(images, inputs, parameters, 0)
    images.loc[[0, 1], "class"] = 3
    after = out_of_fold(images, inputs, parameters, 0)
    rest = images.index[images["class"] != 3]
    assert np.abs(after[rest, :3] - before[rest]).mean() < 0.02
    assert not recwarn.list


def test_many_classes_have_different_training_sizes_and_no_warning(parameters, recwarn):
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(50), 5)
    images = pd.DataFrame(
        {
            "split_group": [f"{n}" for n in range(250)],
            "class": classes,
            "split": np.tile(["train", "train", "train", "validation", "test"], 50),
            "confidence": np.nan,
        }
    )
    centres = random.normal(size=(50, CHANNELS))
    inputs = (centres[classes] + 0.3 * random.normal(size=(250, CHANNELS))).astype("float32")
    curve, _, _ = learning_curve(images, inputs, parameters, 0)
    assert curve["images"].tolist() == [50, 100, 150]
    probabilities = out_of_fold(images, inputs, parameters, 0)
    assert not np.isnan(probabilities).any()
    assert not recwarn.list


def test_much_work_gets_fewer_repeats(data, parameters, monkeypatch):
    images, inputs = data
    monkeypatch.setattr("thaw.evaluation.learning_curve.MOST_WORK", 2.5 * 3 * 84 * CHANNELS)
    few = parameters.model_copy(update={"train_sizes": [30]})
    curve, _, _ = learning_curve(images, inputs, few, 0)
    assert curve["images"].tolist() == [30, 54, 108] and curve["repeats"].tolist() == [2, 2, 1]
