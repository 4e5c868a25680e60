"""Each format in float32 and int8: exported, run in its runtime, compared with Keras."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.thaw.export.conftest import COUNTS, agreement, require_extra
from thaw.cli.main import command
from thaw.errors import UserError
from thaw.export.agreement import Disagreement, check_tolerance, compare
from thaw.export.data import ExportData
from thaw.export.export import FORMATS, format_module
from thaw.export.float32 import assemble_in_float32, precision
from thaw.export.job import Job
from thaw.models.bundle import find_model

FILES = {
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "savedmodel": {"saved_model"},
    "tflite": {"model.tflite"},
}
ALL = [  # format, int8
    (form, int8) for form in FORMATS for int8 in (False, True) if form != "savedmodel" or not int8
]
PHOTO = 4  # the photo that the card's code classifies, larger than the models' images


def export(model: str, form: str, out, *more: str) -> int:
    require_extra(form)
    return command(["export", model, "--to", form, "--out", str(out), *more])


def classes_in(form: str, folder) -> list[str]:
    """Return the names of the classes in the exported model itself, without other files."""
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")
        return json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    if form == "openvino":
        import openvino

        model = openvino.Core().read_model(folder / "model.xml")
        assert model.get_rt_info(["model_info", "labels"]).astype(str) == "a_b c é"
        return json.loads(model.get_rt_info(["model_info", "classes"]).astype(str))
    if form == "savedmodel":
        import tensorflow

        module = tensorflow.saved_model.load(str(folder / "saved_model"))
        return Path(module.labels.asset_path.numpy().decode()).read_text("utf-8").splitlines()
    with zipfile.ZipFile(folder / "model.tflite") as archive:
        return archive.read("labels.txt").decode().splitlines()


@pytest.mark.parametrize("form", FORMATS)
def test_the_names_of_the_classes_are_in_the_model_and_beside_it(grey, tmp_path, monkeypatch, form):
    classes = ["a b", "c", "é"]
    shutil.copytree(grey.folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    record = Path("models/cnn/record.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "classes": classes}))
    table = pd.read_csv("data/split.csv", keep_default_na=False)
    table["label"] = table["label"].replace(dict(zip("abc", classes, strict=True)))
    table.to_csv("data/split.csv", index=False)
    assert export("cnn", form, tmp_path / "out") == 0
    assert (tmp_path / "out" / "labels.txt").read_text("utf-8") == "a b\nc\né\n"
    assert classes_in(form, tmp_path / "out") == classes


def run_example_code(card: str, folder, photo: str) -> tuple[str, float]:
    """Return what the card's code prints for a photo, in a process without this repository."""
    with Image.open(photo) as opened:
        opened.convert("RGB").save(folder / "photo.jpg", "PNG")  # the same pixels
    (script,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    block = "import sys; sys.modules['stages'] = sys.modules['thaw'] = None\n"
    call = [sys.executable, "-I", "-c", block + script]
    done = subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True)
    name, probability = done.stdout.strip().rsplit(" ", 1)
    return name, float(probability)


@pytest.mark.parametrize(("form", "int8"), ALL)
def test_the_export_agrees_and_the_code_of_its_card_works(inside, tmp_path, capsys, form, int8):
    out = tmp_path / "out"
    more = ["--int8", "--calibration", "32", "--tolerance", "0.1"] if int8 else []
    assert export("cnn", form, out, *more) == 0
    printed = capsys.readouterr().out
    assert os.listdir(tmp_path) == ["out"]
    assert set(os.listdir(out)) == {"README.md", "agreement.json", "labels.txt", *FILES[form]}
    result = agreement(out)
    assert (result["images"], result["split"]) == (COUNTS["validation"], "validation")
    assert result["format"] == form and result["int8"] is int8
    assert list(result["against"]) == ["Keras in float32"]
    difference = result["against"]["Keras in float32"]
    if int8:
        assert difference["same_class"] >= 0.9 and 0 < difference["largest_difference"] < 0.1
        assert result["calibration"] == 32
    else:
        assert difference["largest_difference"] < 1e-5 and difference["same_class"] == 1
    assert result["takes"] == ("pixels" if form == "tflite" else "pictures")
    assert min(result["images_per_second"].values()) > 0 and result["megabytes"]["exported"] > 0
    inputs = {"pictures": "RGB images of any size", "pixels": "pixels already resized to 32 x 32"}
    assert f"out: from uint8 {inputs[result['takes']]}" in printed
    row = next(line.split() for line in printed.splitlines() if line.startswith("exported"))
    assert row[1] == f"{result['accuracy']['exported']:.4f}"
    expected = inside.expected["cnn"][PHOTO]
    name, probability = run_example_code((out / "README.md").read_text(), out, inside.photos[PHOTO])
    assert name == ["cat", "dog"][expected.argmax()]
    # in the card's code for pixels, Pillow resizes and rounds twice
    tolerance = 0.1 if int8 else 0.005 if form == "tflite" else 1e-3
    assert probability == pytest.approx(expected.max(), abs=tolerance)


@pytest.mark.parametrize("form", FORMATS)
def test_export_with_grey_images_and_three_classes(within_grey, tmp_path, form):
    assert export("cnn", form, tmp_path / "out") == 0
    result = agreement(tmp_path / "out")
    assert result["against"]["Keras in float32"]["largest_difference"] < 1e-5
    if form == "savedmodel":
        return  # the same code runs in the test above, and TensorFlow takes seconds to start
    expected = within_grey.expected["cnn"][PHOTO]
    card = (tmp_path / "out" / "README.md").read_text()
    name, probability = run_example_code(card, tmp_path / "out", within_grey.photos[PHOTO])
    assert name == "abc"[expected.argmax()]
    assert probability == pytest.approx(expected.max(), abs=0.005)


@pytest.mark.parametrize("form", FORMATS)
def test_export_with_test_time_augmentation(inside, tmp_path, form):
    assert export("averaged", form, tmp_path / "out") == 0
    difference = agreement(tmp_path / "out")["against"]["Keras in float32"]
    assert difference["largest_difference"] < 1e-5


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_an_export_without_the_filter_reads_pixels(inside, tmp_path, capsys, form):
    assert export("lanczos", form, tmp_path / "out") == 0
    assert agreement(tmp_path / "out")["takes"] == "pixels"
    assert "from uint8 pixels already resized to 32 x 32" in capsys.readouterr().out
    assert "Image.Resampling.LANCZOS" in (tmp_path / "out" / "README.md").read_text()


def test_a_savedmodel_resizes_with_every_filter(inside, tmp_path):
    assert export("lanczos", "savedmodel", tmp_path / "out") == 0
    assert agreement(tmp_path / "out")["takes"] == "pictures"
    assert agreement(tmp_path / "out")["stretched"]["largest_difference"] < 1e-5


def test_a_model_trained_in_bfloat16_is_compared_with_both_precisions(inside, tmp_path):
    assert export("half", "savedmodel", tmp_path / "out") == 0
    against = agreement(tmp_path / "out")["against"]
    assert list(against) == ["Keras in float32", "Keras in bfloat16, as trained"]
    assert against["Keras in float32"]["largest_difference"] < 1e-5
    assert 1e-5 < against["Keras in bfloat16, as trained"]["largest_difference"] < 0.05


def test_in_float32_every_layer_computes_in_float32(inside):
    bundle = find_model("normalized")
    pixels = inside.pixels(bundle.image.model_dump())
    model = assemble_in_float32(bundle)
    assert precision(model) == "float32" and "bfloat16" not in f"{model.get_config()}"
    probabilities = model.predict_on_batch(pixels)
    difference = np.abs(probabilities - inside.expected["normalized"]).max()
    assert 0 < difference < 0.02 and probabilities.std(axis=0).min() > 0.05


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_logistic_regression_in_int8(inside, tmp_path, form):
    more = ["--int8", "--calibration", "40", "--tolerance", "0.2"]
    assert export("logistic", form, tmp_path / "out", *more) == 0


@pytest.mark.parametrize("form", ["onnx", "openvino", "tflite"])
def test_nothing_is_written_beyond_the_tolerance(inside, tmp_path, capsys, form):
    """No other runtime gives the same bits as Keras, so all exceed a tolerance of 0."""
    code = export("cnn", form, tmp_path / "out", "--tolerance", "0")
    printed = capsys.readouterr()
    assert code == 5 and os.listdir(tmp_path) == []
    assert printed.err.strip().endswith("Nothing was written.")
    assert printed.err.count("\n") == 1 and printed.out.splitlines()[1].startswith("exported")


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_with_other_weights_is_rejected(inside, tmp_path, form):
    require_extra(form)
    bundle = find_model("cnn")
    right, wrong = assemble_in_float32(bundle), assemble_in_float32(bundle)
    wrong.set_weights([-weight for weight in wrong.get_weights()])
    converter = format_module(form, int8=False)
    takes = converter.write(Job(wrong, bundle.image, bundle.classes, tmp_path))
    run = converter.runtime(tmp_path, takes, 1)
    sample = ExportData(bundle).check_sample(20)
    result = compare(run, {"Keras": right.predict_on_batch}, takes, sample, 8)
    with pytest.raises(Disagreement, match="probabilities differ from Keras's by up to"):
        check_tolerance(result, False, 1e-3)
    with pytest.raises(Disagreement, match="for .*% of 20 images. The tolerance is 2.0%"):
        check_tolerance(result, True, 0.02)


def test_an_export_that_returns_nan_is_rejected(inside, tmp_path):
    bundle = find_model("cnn")
    right, wrong = assemble_in_float32(bundle), assemble_in_float32(bundle)
    wrong.set_weights([weight * np.nan for weight in wrong.get_weights()])
    converter = format_module("savedmodel", int8=False)
    takes = converter.write(Job(wrong, bundle.image, bundle.classes, tmp_path))
    run = converter.runtime(tmp_path, takes, 1)
    with pytest.raises(Disagreement, match="values that are not finite"):
        sample = ExportData(bundle).check_sample(20)
        compare(run, {"Keras": right.predict_on_batch}, takes, sample, 8)


def test_only_an_earlier_export_is_replaced(inside, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        assert export("cnn", "savedmodel", out) == 0
    (out / ".git").mkdir()
    with pytest.raises(
        UserError, match="other files than an export, for example .git. They would be"
    ):
        export("cnn", "savedmodel", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(UserError, match="mine: the folder exists and is not an export"):
        export("cnn", "savedmodel", tmp_path / "mine")
    with pytest.raises(
        UserError, match="letter.txt is a file. Expected the name of a folder to write"
    ):
        export("cnn", "savedmodel", tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


def test_an_export_of_another_model_is_not_replaced(inside, tmp_path):
    out = tmp_path / "out"
    assert export("cnn", "savedmodel", out) == 0
    before = (out / "agreement.json").read_bytes()
    with pytest.raises(
        UserError, match="out has an export of cnn to savedmodel. Choose another name"
    ):
        export("averaged", "savedmodel", out)
    assert (out / "agreement.json").read_bytes() == before
    values = json.loads(before)
    for change, message in (
        ({"format": "onnx"}, "export of cnn to onnx. Choose"),
        ({"int8": True}, "export of cnn to savedmodel in int8. Choose"),
        ({"model": None}, "export of None to savedmodel. Choose"),
    ):
        (out / "agreement.json").write_text(json.dumps({**values, **change}))
        with pytest.raises(UserError, match=message):
            export("cnn", "savedmodel", out)
    (out / "agreement.json").write_text("{")
    with pytest.raises(
        UserError, match=r"export of an unknown model \(its agreement.json is damaged\)"
    ):
        export("cnn", "savedmodel", out)


@pytest.mark.parametrize("out", ["", ".", "nowhere/.."])
def test_the_output_folder_needs_a_name(inside, out):
    with pytest.raises(UserError, match=r"--out .*: expected the name of a folder to write"):
        export("cnn", "savedmodel", out)


def test_without_validation_data_training_images_are_used(colour, tmp_path, monkeypatch, capsys):
    shutil.copytree(colour.folder, tmp_path / "all")
    monkeypatch.chdir(tmp_path / "all")
    table = pd.read_csv("data/split.csv", keep_default_na=False)
    table.loc[table["split"] == "validation", "split"] = "train"
    table.to_csv("data/split.csv", index=False)
    assert export("cnn", "savedmodel", tmp_path / "out", "--check", "10") == 0
    assert "on 10 training images, since there is no validation split" in capsys.readouterr().out
    assert "(there is no validation split)" in (tmp_path / "out" / "README.md").read_text()
    assert command(["export", "cnn", "--to", "savedmodel"]) == 0
    assert (tmp_path / "all" / "exports" / "cnn-savedmodel" / "README.md").exists()


def test_samples_are_stratified_and_reproducible(inside):
    data = ExportData(find_model("cnn"))
    sample, same = data.sample("train", 10), data.sample("train", 10)
    np.testing.assert_array_equal(sample.pixels, same.pixels)
    assert np.bincount(sample.labels).tolist() == [5, 5]
    assert len(data.sample("train", 1000)) == COUNTS["train"]
    training = {pixels.tobytes() for pixels in inside.pictures[: COUNTS["train"]]}
    assert {pixels.tobytes() for pixels in sample.pixels} <= training


def test_invalid_exports_are_refused_in_one_line(inside, tmp_path, monkeypatch):
    command(["package", "cnn", str(tmp_path / "cnn.keras")])

    def refused(model: str, form: str, *more: str) -> str:
        with pytest.raises(UserError) as error:
            command(["export", model, "--to", form, "--out", str(tmp_path / "out"), *more])
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
        return str(error.value)

    assert "no model 'cn'. Did you mean cnn?" in refused("cn", "savedmodel")
    packaged = refused(str(tmp_path / "cnn.keras"), "savedmodel")
    assert "cnn.keras is packaged, without the data it was trained on" in packaged
    assert "--int8: a SavedModel does not support int8" in refused("cnn", "savedmodel", "--int8")
    for form, module in (("onnx", "tf2onnx"), ("openvino", "nncf"), ("tflite", "ai_edge_litert")):
        monkeypatch.setitem(sys.modules, module, None)  # find_spec then returns None
        message = refused("cnn", form)
        assert f"--to {form} needs " in message and f"{module}" in message
        assert message.endswith(f"make setup EXTRA={form}")
    shutil.copytree(inside.folder / "models", tmp_path / "other" / "models")
    monkeypatch.chdir(tmp_path / "other")
    message = refused("cnn", "savedmodel")
    assert "split.csv and data/images do not exist. Run `dvc pull` or `dvc repro`" in message
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
def test_invalid_arguments_are_refused(inside, arguments):
    with pytest.raises(SystemExit) as exit:
        command(["export", "cnn", *arguments])
    assert exit.value.code == 2


def test_openvino_sends_no_telemetry(inside, tmp_path):
    require_extra("openvino")
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
    assert done.stdout.splitlines()[-1] == "MagicMock", "NNCF's substitute without telemetry"
    assert not (tmp_path / "intel").exists(), "the folder of the consent and the identity"
