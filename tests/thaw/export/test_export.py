"""Each format, float32 and int8: written, run by its own runtime, held against Keras."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.thaw.export.conftest import COUNTS, agreement, needed
from thaw.cli.main import command
from thaw.errors import UserError
from thaw.export.agreement import Disagreement, compare, judge
from thaw.export.data import Data
from thaw.export.export import FORMATS, writer
from thaw.export.float32 import in_float32, precision
from thaw.models.bundle import find_model

FILES = {
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "savedmodel": {"saved_model"},
    "tflite": {"model.tflite"},
}
ALL = [
    (form, int8)
    for form in FORMATS
    for int8 in (False, True)
    if (form, int8)[0] != "savedmodel" or not int8
]
"""Formats and whether in int8."""
PHOTO = 4
"""Which of the photos the card's code is shown; larger than the models' images."""


def exported(model: str, form: str, out, *more: str) -> int:
    needed(form)
    return command(["export", model, "--to", form, "--out", str(out), *more])


def shown(card: str, folder, photo: str) -> tuple[str, float]:
    """What the card's code prints of a photo, in a process without this repository."""
    with Image.open(photo) as opened:
        opened.convert("RGB").save(folder / "photo.jpg", "PNG")  # the same pixels
    (script,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    before = "import sys; sys.modules['stages'] = None\n"
    call = [sys.executable, "-I", "-c", before + script]
    done = subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True)
    name, probability = done.stdout.strip().rsplit(" ", 1)
    return name, float(probability)


@pytest.mark.parametrize(("form", "int8"), ALL)
def test_it_agrees_and_its_card_tells_how_to_use_it(inside, tmp_path, capsys, form, int8):
    out = tmp_path / "out"
    more = ["--int8", "--calibration", "32", "--tolerance", "0.1"] if int8 else []
    assert exported("cnn", form, out, *more) == 0
    said = capsys.readouterr().out
    assert os.listdir(tmp_path) == ["out"]
    assert set(os.listdir(out)) == {"README.md", "agreement.json", *FILES[form]}
    found = agreement(out)
    assert (found["images"], found["split"]) == (COUNTS["validation"], "validation")
    assert found["format"] == form and found["int8"] is int8
    assert list(found["against"]) == ["Keras in float32"]
    apart = found["against"]["Keras in float32"]
    if int8:
        assert apart["same_class"] >= 0.9 and 0 < apart["largest_difference"] < 0.1
        assert found["calibration"] == 32
    else:
        assert apart["largest_difference"] < 1e-5 and apart["same_class"] == 1
    assert found["takes"] == ("pixels" if form == "tflite" else "pictures")
    assert min(found["images_per_second"].values()) > 0 and found["megabytes"]["exported"] > 0
    what = {"pictures": "RGB pictures of any size", "pixels": "pixels already resized to 32 x 32"}
    assert f"out: from uint8 {what[found['takes']]}" in said
    row = next(line.split() for line in said.splitlines() if line.startswith("exported"))
    assert row[1] == f"{found['accuracy']['exported']:.4f}"
    expected = inside.expected["cnn"][PHOTO]
    name, probability = shown((out / "README.md").read_text(), out, inside.photos[PHOTO])
    assert name == ["cat", "dog"][expected.argmax()]
    # Pillow rounds twice where the card has it resize
    near = 0.1 if int8 else 0.005 if form == "tflite" else 1e-3
    assert probability == pytest.approx(expected.max(), abs=near)


@pytest.mark.parametrize("form", FORMATS)
def test_grey_pictures_and_three_classes(within_grey, tmp_path, form):
    assert exported("cnn", form, tmp_path / "out") == 0
    found = agreement(tmp_path / "out")
    assert found["against"]["Keras in float32"]["largest_difference"] < 1e-5
    if form == "savedmodel":
        return  # the same code is tried above, and TensorFlow takes seconds to start
    expected = within_grey.expected["cnn"][PHOTO]
    card = (tmp_path / "out" / "README.md").read_text()
    name, probability = shown(card, tmp_path / "out", within_grey.photos[PHOTO])
    assert name == "abc"[expected.argmax()]
    assert probability == pytest.approx(expected.max(), abs=0.005)


@pytest.mark.parametrize("form", FORMATS)
def test_an_average_over_flips(inside, tmp_path, form):
    assert exported("turned", form, tmp_path / "out") == 0
    apart = agreement(tmp_path / "out")["against"]["Keras in float32"]
    assert apart["largest_difference"] < 1e-5


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_what_a_format_cannot_resize_takes_pixels(inside, tmp_path, capsys, form):
    assert exported("lanczos", form, tmp_path / "out") == 0
    assert agreement(tmp_path / "out")["takes"] == "pixels"
    assert "from uint8 pixels already resized to 32 x 32" in capsys.readouterr().out
    assert "Image.Resampling.LANCZOS" in (tmp_path / "out" / "README.md").read_text()


def test_a_savedmodel_does_every_filter(inside, tmp_path):
    assert exported("lanczos", "savedmodel", tmp_path / "out") == 0
    assert agreement(tmp_path / "out")["takes"] == "pictures"
    assert agreement(tmp_path / "out")["stretched"]["largest_difference"] < 1e-5


def test_what_was_trained_in_bfloat16_is_held_against_both(inside, tmp_path):
    assert exported("half", "savedmodel", tmp_path / "out") == 0
    against = agreement(tmp_path / "out")["against"]
    assert list(against) == ["Keras in float32", "Keras in bfloat16, as trained"]
    assert against["Keras in float32"]["largest_difference"] < 1e-5
    assert 1e-5 < against["Keras in bfloat16, as trained"]["largest_difference"] < 0.05


def test_in_float32_every_layer_is(inside):
    trained = find_model("normalized")
    pixels = inside.pixels(trained.image.model_dump())
    plain = in_float32(trained)
    assert precision(plain) == "float32" and "bfloat16" not in f"{plain.get_config()}"
    given = plain.predict_on_batch(pixels)
    apart = np.abs(given - inside.expected["normalized"]).max()
    assert 0 < apart < 0.02 and given.std(axis=0).min() > 0.05


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_logistic_regression_survives_int8(inside, tmp_path, form):
    more = ["--int8", "--calibration", "40", "--tolerance", "0.2"]
    assert exported("logistic", form, tmp_path / "out", *more) == 0


@pytest.mark.parametrize("form", ["onnx", "openvino", "tflite"])
def test_beyond_the_tolerance_nothing_is_left(inside, tmp_path, capsys, form):
    """Other runtimes do not give Keras's bits, so nothing is within 0."""
    code = exported("cnn", form, tmp_path / "out", "--tolerance", "0")
    said = capsys.readouterr()
    assert code == 5 and os.listdir(tmp_path) == []
    assert said.err.strip().endswith("Nothing was written.")
    assert said.err.count("\n") == 1 and said.out.splitlines()[1].startswith("exported")


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_of_other_weights_disagrees(inside, tmp_path, form):
    needed(form)
    trained = find_model("cnn")
    right, wrong = in_float32(trained), in_float32(trained)
    wrong.set_weights([-weight for weight in wrong.get_weights()])
    made = writer(form, int8=False)
    takes = made.write(wrong, trained.image, tmp_path, None)
    run = made.runtime(tmp_path, takes, 1)
    drawn = Data(trained).check(20)
    found = compare(run, {"Keras": right.predict_on_batch}, takes, drawn, 8)
    with pytest.raises(Disagreement, match="probabilities differ from Keras's by up to"):
        judge(found, False, 1e-3)
    with pytest.raises(Disagreement, match="of 20 images another class than Keras, and 2.0%"):
        judge(found, True, 0.02)


def test_what_gives_no_numbers_disagrees(inside, tmp_path):
    trained = find_model("cnn")
    right, wrong = in_float32(trained), in_float32(trained)
    wrong.set_weights([weight * np.nan for weight in wrong.get_weights()])
    made = writer("savedmodel", int8=False)
    takes = made.write(wrong, trained.image, tmp_path, None)
    run = made.runtime(tmp_path, takes, 1)
    with pytest.raises(Disagreement, match="not all of them numbers"):
        compare(run, {"Keras": right.predict_on_batch}, takes, Data(trained).check(20), 8)


def test_an_earlier_export_is_replaced_and_nothing_else(inside, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        assert exported("cnn", "savedmodel", out) == 0
    (out / ".git").mkdir()
    with pytest.raises(
        UserError, match="has files beside it, as .git, which would be lost: choose"
    ):
        exported("cnn", "savedmodel", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(UserError, match="mine: there is a folder already, and no earlier export"):
        exported("cnn", "savedmodel", tmp_path / "mine")
    with pytest.raises(
        UserError, match="letter.txt: expected the name of a folder to write, and it"
    ):
        exported("cnn", "savedmodel", tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


def test_another_export_is_not_replaced(inside, tmp_path):
    out = tmp_path / "out"
    assert exported("cnn", "savedmodel", out) == 0
    before = (out / "agreement.json").read_bytes()
    with pytest.raises(
        UserError, match="out: the export of cnn to savedmodel is there: choose anot"
    ):
        exported("turned", "savedmodel", out)
    assert (out / "agreement.json").read_bytes() == before
    held = json.loads(before)
    for change, said in (
        ({"format": "onnx"}, "cnn to onnx is there"),
        ({"int8": True}, "cnn to savedmodel in int8 is there"),
        ({"model": None}, "None to savedmodel is there"),
    ):
        (out / "agreement.json").write_text(json.dumps({**held, **change}))
        with pytest.raises(UserError, match=said):
            exported("cnn", "savedmodel", out)
    (out / "agreement.json").write_text("{")
    with pytest.raises(
        UserError, match="export of something that its agreement.json does not tell"
    ):
        exported("cnn", "savedmodel", out)


@pytest.mark.parametrize("out", ["", ".", "nowhere/.."])
def test_an_export_has_a_name_of_its_own(inside, out):
    with pytest.raises(UserError, match=r"--out .*: expected the name of a folder to write"):
        exported("cnn", "savedmodel", out)


def test_without_validation_data_training_images_are_taken(colour, tmp_path, monkeypatch, capsys):
    shutil.copytree(colour.folder, tmp_path / "all")
    monkeypatch.chdir(tmp_path / "all")
    table = pd.read_csv("data/split.csv", keep_default_na=False)
    table.loc[table["split"] == "validation", "split"] = "train"
    table.to_csv("data/split.csv", index=False)
    assert exported("cnn", "savedmodel", tmp_path / "out", "--check", "10") == 0
    assert "on 10 training images, since there is no validation split" in capsys.readouterr().out
    assert "(there is no validation split)" in (tmp_path / "out" / "README.md").read_text()
    assert command(["export", "cnn", "--to", "savedmodel"]) == 0
    assert (tmp_path / "all" / "exports" / "cnn-savedmodel" / "README.md").exists()


def test_classes_keep_their_shares_and_the_same_images_are_drawn_each_time(inside):
    data = Data(find_model("cnn"))
    some, again = data.drawn("train", 10), data.drawn("train", 10)
    np.testing.assert_array_equal(some.pixels, again.pixels)
    assert np.bincount(some.labels).tolist() == [5, 5]
    assert len(data.drawn("train", 1000)) == COUNTS["train"]
    training = {pixels.tobytes() for pixels in inside.pictures[: COUNTS["train"]]}
    assert {pixels.tobytes() for pixels in some.pixels} <= training


def test_what_cannot_be_exported_is_refused_in_one_line(inside, tmp_path, monkeypatch):
    command(["package", "cnn", str(tmp_path / "cnn.keras")])

    def refused(model: str, form: str, *more: str) -> str:
        with pytest.raises(UserError) as refusal:
            command(["export", model, "--to", form, "--out", str(tmp_path / "out"), *more])
        assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()
        return str(refusal.value)

    assert "no model 'cn'. Did you mean cnn?" in refused("cn", "savedmodel")
    packaged = refused(str(tmp_path / "cnn.keras"), "savedmodel")
    assert "cnn.keras is packaged, and what it was trained on is not with it" in packaged
    assert "--int8: a SavedModel has none" in refused("cnn", "savedmodel", "--int8")
    for form, module in (("onnx", "tf2onnx"), ("openvino", "nncf"), ("tflite", "ai_edge_litert")):
        monkeypatch.setitem(sys.modules, module, None)  # Python says of it that it is not installed
        said = refused("cnn", form)
        assert f"--to {form} needs " in said and f"{module}" in said
        assert said.endswith(f"make setup EXTRA={form}")
    shutil.copytree(inside.folder / "models", tmp_path / "other" / "models")
    monkeypatch.chdir(tmp_path / "other")
    said = refused("cnn", "savedmodel")
    assert "split.csv and data/images are not there: `dvc pull` or `dvc repro`" in said
    shutil.copytree(inside.folder / "data", tmp_path / "other" / "data")
    table = pd.read_csv("data/split.csv", keep_default_na=False)
    table["label"] = table["label"].replace("dog", "fox")
    table.to_csv("data/split.csv", index=False)
    assert "has the classes cat, fox, and models/cnn was trained on cat, dog" in refused(
        "cnn", "savedmodel"
    )


@pytest.mark.parametrize(
    "arguments", [["--to", "coreml"], ["--to", "onnx", "--check", "0"], ["--tolerance", "-1"], []]
)
def test_arguments_that_are_none_are_refused(inside, arguments):
    with pytest.raises(SystemExit) as ended:
        command(["export", "cnn", *arguments])
    assert ended.value.code == 2


def test_no_word_is_sent_of_what_openvino_is_used_for(inside, tmp_path):
    needed("openvino")
    script = (
        "import sys; from thaw.cli.main import command\n"
        f"command(['export', 'cnn', '--to', 'openvino', '--int8', '--tolerance', '1', '--out', "
        f"{str(tmp_path / 'out')!r}])\n"
        "import nncf, openvino\n"
        "assert not [n for n in sys.modules if n.startswith('openvino_telemetry')]\n"
        "print(type(nncf.telemetry.telemetry).__name__)\n"
    )
    from tests.conftest import ROOT

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    call = [sys.executable, "-c", script]
    done = subprocess.run(call, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "MagicMock", "NNCF's stand-in where it sends nothing"
    assert not (tmp_path / "intel").exists(), "where consent and an identity would be kept"
