import contextlib
import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.networks import narrow_vgg16
from tests.thaw.cli.conftest import MODELS, lines
from thaw.cli.main import command
from thaw.data.decoding import resize as decoded
from thaw.errors import UserError
from thaw.models.bundle import find_model
from thaw.models.resizing import resize_pictures
from thaw.runtime.tensorflow import keras

WITHOUT_THAW = """
import sys
sys.modules["stages"] = sys.modules["thaw"] = None  # imports of the library fail
import keras, numpy as np
from PIL import Image
*packaged, out = sys.argv[1:sys.argv.index("--")]
photos = sys.argv[sys.argv.index("--") + 1:]
for path in packaged:
    model = keras.saving.load_model(path)
    probabilities = [model(np.asarray(Image.open(photo).convert("RGB"))[None]) for photo in photos]
    np.save(path + ".npy", np.concatenate(probabilities))
"""


@pytest.fixture(scope="module")
def packaged(repository, tmp_path_factory):
    """The package of each model, and its probabilities for the photos without Thaw."""
    folder = tmp_path_factory.mktemp("packaged")
    with contextlib.chdir(repository.folder), narrow_vgg16():
        for name in MODELS:
            command(["package", name, str(folder / f"{name}.keras")])
    paths = [str(folder / f"{name}.keras") for name in MODELS]
    call = [sys.executable, "-I", "-c", WITHOUT_THAW, *paths, "out", "--", *repository.photos]
    subprocess.run(call, cwd=folder, check=True)
    return {name: (p, np.load(p + ".npy")) for name, p in zip(MODELS, paths, strict=True)}


@pytest.mark.parametrize("name", MODELS)
def test_without_thaw_it_predicts_the_probabilities_of_the_evaluation(repository, packaged, name):
    _, probabilities = packaged[name]
    expected = repository.expected[name]
    assert probabilities.dtype == "float32" and probabilities.shape == expected.shape
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    tolerance = 0.02 if name == "gap_half" else 2e-3  # some resized pixels differ by 1
    assert np.abs(probabilities - expected).max() < tolerance
    assert expected.std(axis=0).min() > 10 * tolerance or name == "gap_half"


def test_without_a_name_the_best_model_is_packaged(
    repository, tmp_path, monkeypatch, capsys, afresh
):
    for name in ("models", "data"):
        (tmp_path / name).symlink_to(repository.folder / name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    best = {"model": "cnn", "why": "highest validation accuracy of 8 models", "ranking": []}
    (tmp_path / "results/best.json").write_text(json.dumps(best))
    afresh()
    assert command(["package", "best.keras", "--allow", "keras.layers:Dense"]) == 0
    assert capsys.readouterr().err == "thaw: model cnn: highest validation accuracy of 8 models\n"
    afresh()
    assert command(["package", "cnn", "--allow", "keras.layers:Dense", "named.keras"]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "best.keras").read_bytes() == (tmp_path / "named.keras").read_bytes()


@pytest.mark.parametrize("name", ["gap", "gap_grey", "cnn_grey"])
def test_predict_reads_a_packaged_file_and_its_classes(inside, packaged, capsys, name):
    assert command(["predict", packaged[name][0], "photos", "--json"]) == 0
    predictions = lines(capsys.readouterr().out)
    record = json.loads((inside.folder / "models" / name / "record.json").read_text())
    assert list(predictions[0]["probabilities"]) == record["classes"]
    probabilities = [list(row["probabilities"].values()) for row in predictions]
    np.testing.assert_allclose(probabilities, inside.expected[name], atol=1e-5)


def test_it_has_no_thaw_layers_and_the_same_bytes_each_time(inside, tmp_path, afresh):
    for name in ("a", "b"):
        afresh()
        command(["package", "gap", str(tmp_path / f"{name}.keras")])
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        config = archive.read("config.json")
        # no class of the library or of stages/; the model itself is named "thaw"
        assert not re.search(rb'stages|thaw(?!")', config)
        card = json.loads(archive.read("thaw.json"))
    assert card["classes"] == ["cat", "dog"] and card["model"] == "gap"
    assert card["backbone"]["application"] == "VGG16"


def test_it_records_the_training_parameters(inside, packaged):
    """`thaw serve` reads the backbone of a fine-tuned model from them."""
    settings = find_model("finetuned").settings
    assert settings and find_model(packaged["finetuned"][0]).settings == settings


def test_unusable_models_and_paths_are_refused(inside, tmp_path, packaged):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UserError, match="expected the name of a file that ends in .keras"):
        command(["package", "gap", ""])
    for out in ("model.h5", "folder.keras"):
        with pytest.raises(
            UserError, match=f"{out}: expected the name of a file that ends in .ker"
        ):
            command(["package", "gap", str(tmp_path / out)])
    with pytest.raises(UserError, match="is in the folder of a trained model: expected another pl"):
        command(["package", "gap", "models/gap/model.keras"])
    with pytest.raises(UserError, match="gap.keras is packaged already"):
        command(["package", packaged["gap"][0], str(tmp_path / "again.keras")])
    with pytest.raises(UserError, match="there is no model 'gpa'. Did you mean gap"):
        command(["package", "gpa", str(tmp_path / "out.keras")])


def test_a_file_with_a_damaged_card_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("thaw.json", "cats and dogs " * 99)
        start = archive.getinfo("thaw.json").header_offset + 30 + len("thaw.json")
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(UserError, match="model.keras cannot be read: error"):
        find_model(str(path))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("colour", "fit", "size"),
    [
        ("rgb", "stretch", 50),
        ("grey", "stretch", [30, 64]),
        ("rgb", "crop", 50),
        ("grey", "crop", [30, 64]),
        ("grey", "pad", 50),
        ("rgb", "pad", [64, 30]),
    ],
)
def test_its_resizing_equals_the_pipelines(picture, resampling, colour, fit, size):
    """Values differ by at most 1, and rarely, for all sizes, smooth images and noise."""
    raw = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(raw, resize_pictures(raw, size, resampling, colour, fit))
    different, count = 0, 0
    sizes = [(37, 53), (101, 63), (224, 224), (300, 200), (50, 200), (1, 1), (3, 400), (99, 25)]
    for number, (height, width) in enumerate(sizes):
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype="uint8")
        for pixels in (picture(number, height, width), noise):
            opened = Image.fromarray(pixels).convert("RGB" if colour == "rgb" else "L")
            expected = decoded(opened, size, resampling, fit).astype(int)
            resized = np.asarray(model(pixels[None]))[0]
            assert resized.dtype == "uint8" and resized.shape == expected.shape
            assert np.abs(resized - expected).max() <= (0 if resampling == "nearest" else 1)
            different, count = different + (resized != expected).sum(), count + resized.size
    assert different / count < 0.002


def test_colours_are_converted_to_grey_as_pillow_does():
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    colours[0, 0], colours[0, 1] = 255, 0
    raw = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(raw, resize_pictures(raw, 64, "bicubic", "grey", "stretch"))
    grey = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(model(colours[None])[0, ..., 0], grey)
