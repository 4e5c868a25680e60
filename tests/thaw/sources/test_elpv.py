import zipfile

import pytest

from thaw.data.download.mirror import sha256
from thaw.sources import elpv

LABELS = """\
images/cell0001.png  1.0   mono
images/cell0002.png  0.0   poly
images/cell0003.png  0.3333333333333333  poly
images/cell0004.png  0.6666666666666666  mono
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return a function that gives the parameters of a mirrored package with four images."""
    wheel = tmp_path / "elpv_dataset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("elpv_dataset/data/labels.csv", LABELS)
        for number in range(1, 5):
            archive.writestr(f"elpv_dataset/data/images/cell000{number}.png", f"cell {number}")
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path))
    monkeypatch.setattr(elpv, "IMAGES", 4)

    def make(defective_above: float) -> elpv.Parameters:
        pins = {"package": "elpv-dataset", "version": "1.0", "sha256": sha256(wheel)}
        return elpv.Parameters(kind="elpv", **pins, defective_above=defective_above)

    return make


def test_images_are_collected_with_label_group_and_confidence(source, tmp_path, content):
    rows = elpv.collect(source(0.5), tmp_path / "raw")
    columns = ("path", "label", "group", "confidence", "probability")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("images/cell0001.png", "defective", "mono", 1.0, 1.0),
        ("images/cell0002.png", "functional", "poly", 1.0, 0.0),
        ("images/cell0003.png", "functional", "poly", 0.3333, 0.3333),
        ("images/cell0004.png", "defective", "mono", 0.3333, 0.6667),
    ]
    assert content(tmp_path / "raw") == {
        f"images/cell000{number}.png": f"cell {number}".encode() for number in range(1, 5)
    }


def test_label_is_defective_above_the_threshold_and_not_at_it(source, tmp_path):
    for above, defective in ((0.0, 3), (1 / 3, 2), (0.7, 1)):
        labels = [row["label"] for row in elpv.collect(source(above), tmp_path / "raw")]
        assert labels.count("defective") == defective
        assert labels.count("functional") == 4 - defective


def test_package_with_another_number_of_images_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(elpv, "IMAGES", 5)
    with pytest.raises(AssertionError, match="4 images instead of 5"):
        elpv.collect(source(0.5), tmp_path / "raw")
