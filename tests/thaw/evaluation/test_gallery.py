import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from thaw.evaluation.gallery import gallery

PRIVATE = "\U0010ff00"  # a character that no font of the machine has
CLASSES = ["cat", r"a $\frac$ dog"]  # the second must not be draw_gallery as a formula


@pytest.fixture
def draw_gallery(tmp_path):
    """Return a function that draws a gallery and returns its bytes and the requested images."""

    def draw(true, probabilities, most=6, channels=1, classes=CLASSES) -> tuple[bytes, list[int]]:
        requested = []

        def image(number: int) -> np.ndarray:
            requested.append(int(number))
            return np.full((12, 12, channels), number % 256, "uint8")

        path = tmp_path / "images.png"
        gallery(np.array(true), np.array(probabilities), classes, most, image, path, "title")
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


@pytest.fixture
def font(tmp_path):
    """Write a font that has a single character."""

    def write(character: str) -> str:
        builder = FontBuilder(1000)
        builder.setupGlyphOrder([".notdef", "one"])
        builder.setupCharacterMap({ord(character): "one"})
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        pen.lineTo((0, 900))
        pen.lineTo((900, 0))
        pen.closePath()
        builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "one": pen.glyph()})
        builder.setupHorizontalMetrics({".notdef": (500, 0), "one": (1000, 0)})
        builder.setupHorizontalHeader(ascent=900, descent=-100)
        builder.setupNameTable({"familyName": "One Character", "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        builder.save(tmp_path / "one.ttf")
        return str(tmp_path / "one.ttf")

    return write


@pytest.mark.filterwarnings("error")  # matplotlib warns of glyphs that it lacks
def test_class_names_are_drawn_with_fonts_that_have_their_characters(
    draw_gallery, font, capsys, monkeypatch
):
    classes = ["cat", f"{PRIVATE} dog"]
    without, _ = draw_gallery(*guesses(9), classes=classes)
    said = capsys.readouterr().out
    assert f"No font on this machine has the characters {PRIVATE}, so images.png shows" in said
    numbered, _ = draw_gallery(*guesses(9), classes=["cat", "class 1 dog"])
    assert without == numbered
    fonts = [*font_manager.fontManager.ttflist]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    font_manager.fontManager.addfont(font(PRIVATE))
    drawn, _ = draw_gallery(*guesses(9), classes=classes)
    assert capsys.readouterr().out == ""
    assert drawn not in (numbered, draw_gallery(*guesses(9), classes=["cat", "dog"])[0])
