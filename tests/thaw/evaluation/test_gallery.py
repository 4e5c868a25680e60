import numpy as np
import pytest
from PIL import Image

from thaw.evaluation.gallery import gallery

CLASSES = ["cat", r"a $\frac$ dog"]
"""The second is no formula."""


@pytest.fixture
def drawn(tmp_path):
    """A function that draws a gallery and tells of its bytes and the images that were asked for."""

    def draw(true, probabilities, most=6, channels=1) -> tuple[bytes, list[int]]:
        asked = []

        def image(number: int) -> np.ndarray:
            asked.append(int(number))
            return np.full((12, 12, channels), number % 256, "uint8")

        path = tmp_path / "images.png"
        gallery(np.array(true), np.array(probabilities), CLASSES, most, image, path, "title")
        with Image.open(path) as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
        return path.read_bytes(), asked

    return draw


def guesses(count: int) -> tuple[np.ndarray, np.ndarray]:
    positive = np.linspace(0, 1, count)
    true = np.where(np.arange(count) % 3 == 0, positive < 0.5, positive > 0.5)
    return true.astype(int), np.stack([1 - positive, positive], axis=1)


def test_the_same_results_are_the_same_bytes(drawn):
    assert drawn(*guesses(40)) == drawn(*guesses(40))


def test_the_most_confidently_wrong_come_first_and_the_right_ones_are_spread(drawn):
    true, probabilities = guesses(40)
    wrong = probabilities.argmax(axis=1) != true
    _, asked = drawn(true, probabilities, most=4)
    right, shown = asked[:4], asked[4:]
    assert not wrong[right].any() and right[0] == np.flatnonzero(~wrong)[0]
    assert right[-1] == np.flatnonzero(~wrong)[-1]
    assert wrong[shown].all() and len(shown) == 4
    confidence = probabilities.max(axis=1)
    assert confidence[shown].tolist() == sorted(confidence[wrong], reverse=True)[:4]


@pytest.mark.parametrize("right", [True, False])
def test_it_is_drawn_when_all_are_right_or_all_are_wrong(drawn, right):
    true = np.array([0, 1, 1])
    _, asked = drawn(true, np.eye(2)[true if right else 1 - true], most=6, channels=3)
    assert sorted(asked) == [0, 1, 2]
