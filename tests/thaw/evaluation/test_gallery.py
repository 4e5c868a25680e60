import numpy as np
import pytest
from PIL import Image

from thaw.evaluation.gallery import gallery

CLASSES = ["cat", r"a $\frac$ dog"]  # the second must not be draw_gallery as a formula


@pytest.fixture
def draw_gallery(tmp_path):
    """Return a function that draws a gallery and returns its bytes and the requested images."""

    def draw(true, probabilities, most=6, channels=1) -> tuple[bytes, list[int]]:
        requested = []

        def image(number: int) -> np.ndarray:
            requested.append(int(number))
            return np.full((12, 12, channels), number % 256, "uint8")

        path = tmp_path / "images.png"
        gallery(np.array(true), np.array(probabilities), CLASSES, most, image, path, "title")
        with Image.open(path) as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
        return path.read_bytes(), requested

    return draw


def guesses(count: int) -> tuple[np.ndarray, np.ndarray]:
    positive = np.linspace(0, 1, count)
    true = np.where(np.arange(count) % 3 == 0, positive < 0.5, positive > 0.5)
    return true.astype(int), np.stack([1 - positive, positive], axis=1)


def test_the_same_results_are_the_same_bytes(draw_gallery):
    assert draw_gallery(*guesses(40)) == draw_gallery(*guesses(40))


def test_the_most_confident_errors_are_first_and_correct_images_are_spread(draw_gallery):
    true, probabilities = guesses(40)
    wrong = probabilities.argmax(axis=1) != true
    _, requested = draw_gallery(true, probabilities, most=4)
    right, shown = requested[:4], requested[4:]
    assert not wrong[right].any() and right[0] == np.flatnonzero(~wrong)[0]
    assert right[-1] == np.flatnonzero(~wrong)[-1]
    assert wrong[shown].all() and len(shown) == 4
    confidence = probabilities.max(axis=1)
    assert confidence[shown].tolist() == sorted(confidence[wrong], reverse=True)[:4]


@pytest.mark.parametrize("right", [True, False])
def test_a_gallery_of_only_correct_or_only_wrong_images(draw_gallery, right):
    true = np.array([0, 1, 1])
    _, requested = draw_gallery(true, np.eye(2)[true if right else 1 - true], most=6, channels=3)
    assert sorted(requested) == [0, 1, 2]
