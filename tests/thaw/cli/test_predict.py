import csv
import io
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.thaw.cli.conftest import CLASSES, MODELS, lines
from thaw.cli.main import command
from thaw.errors import UserError
from thaw.models.bundle import find_model
from thaw.storage.npz import file_digest


@pytest.mark.parametrize("name", MODELS)
def test_predictions_equal_those_of_the_evaluation(inside, capsys, name):
    assert command(["predict", name, "photos", "--json"]) == 0
    predictions = lines(capsys.readouterr().out)
    assert [answer["file"] for answer in predictions] == [
        os.path.relpath(photo, inside.folder) for photo in inside.photos
    ]
    probabilities = np.array([list(answer["probabilities"].values()) for answer in predictions])
    expected = inside.expected[name]
    assert expected.std(axis=0).min() > 0.02, "predictions differ between images"
    tolerance = 0.02 if name == "gap_half" else 1e-5  # bfloat16, and another batch size
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)
    for answer, row in zip(predictions, expected, strict=True):
        assert answer["class"] == list(answer["probabilities"])[row.argmax()]
        assert answer["probability"] == max(answer["probabilities"].values())


def test_a_model_can_be_named_by_name_or_folder(inside, capsys, tmp_path, monkeypatch):
    command(["predict", "gap", "photos/b.jpg", "--csv"])
    expected = capsys.readouterr().out.replace("photos/", "")
    monkeypatch.chdir(inside.folder / "photos")
    for model in ("../models/gap", str(inside.folder / "models/gap/model.keras")):
        command(["predict", model, "b.jpg", "--csv"])
        assert capsys.readouterr().out == expected


def best(name: str | None, why: str = "highest validation accuracy of 8 models") -> None:
    """Write what stage best writes, in the current folder."""
    Path("results").mkdir(exist_ok=True)
    Path("results/best.json").write_text(json.dumps({"model": name, "why": why, "ranking": []}))


@pytest.fixture
def undecided(inside, tmp_path, monkeypatch) -> Path:
    """Return a folder with the models and photos but no results, as the current folder."""
    for name in ("models", "data", "photos"):
        (tmp_path / name).symlink_to(inside.folder / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said_by(capsys, *arguments: str) -> tuple[str, str]:
    assert command(["predict", *arguments]) == 0
    said = capsys.readouterr()
    return said.out, said.err


def test_without_a_model_the_best_one_predicts_and_is_printed(undecided, capsys):
    best("gap")
    expected, silent = said_by(capsys, "gap", "photos", "photos/b.jpg", "--csv")
    assert silent == ""
    for arguments in (["photos", "photos/b.jpg", "--csv"], ["photos", "--csv", "photos/b.jpg"]):
        out, err = said_by(capsys, *arguments)
        assert out == expected
        assert err == "thaw: model gap: highest validation accuracy of 8 models\n"


def test_a_model_may_be_named_before_after_or_between_options(undecided, capsys):
    best("logistic")
    expected = said_by(capsys, "gap", "photos", "--json")
    assert expected[1] == ""
    for arguments in (
        ["gap", "--json", "photos"],
        ["--json", "gap", "photos"],
        ["--model", "gap", "photos", "--json"],
        ["photos", "--json", "--model=gap"],
        ["--json", "--", "gap", "photos"],
    ):
        assert said_by(capsys, *arguments) == expected


def test_the_option_names_a_model_whose_name_a_folder_of_images_has(undecided, capsys):
    (undecided / "gap").symlink_to(undecided / "photos")
    out, err = said_by(capsys, "--model", "cnn", "gap", "--csv")
    assert "gap/b.jpg" in out and err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpa", "photos"], "there is no model 'gpa'. Did you mean gap?"),
        (["a.jpg", "photos"], "no such file or folder: a.jpg"),
        (["nowhere"], "no such file or folder: nowhere"),
    ],
)
def test_a_misspelled_argument_is_reported_as_what_it_was_meant_for(undecided, arguments, message):
    best("gap")
    with pytest.raises(UserError) as error:
        command(["predict", *arguments])
    assert str(error.value).startswith(message)


def test_without_a_best_model_a_name_is_required(undecided):
    with pytest.raises(UserError, match=r"which model\? results/best.json does not exist"):
        command(["predict", "photos"])
    best(None, "there is no validation data to choose by")
    with pytest.raises(UserError, match="best.json names none: there is no validation data"):
        command(["predict", "photos"])
    best("removed")
    with pytest.raises(UserError, match="there is no model 'removed'"):
        command(["predict", "photos"])


def test_the_only_model_needs_no_results(inside, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/cnn").symlink_to(inside.folder / "models/cnn")
    monkeypatch.chdir(tmp_path)
    _, err = said_by(capsys, str(inside.folder / "photos/b.jpg"))
    assert err == "thaw: model cnn: the only one in models/\n"


def test_the_default_is_a_table_and_csv_has_every_probability(inside, capsys):
    command(["predict", "gap", "photos/b.jpg", "photos/deeper"])
    said = capsys.readouterr()
    head, *rows = (line.split() for line in said.out.splitlines())
    assert head == ["file", "class", "probability"]
    assert [row[0] for row in rows] == ["photos/b.jpg", "photos/deeper/f.png"]
    assert said.err == ""
    command(["predict", "gap", "photos/b.jpg", "photos/deeper", "--csv"])
    for row, table in zip(csv.DictReader(io.StringIO(capsys.readouterr().out)), rows, strict=True):
        assert [row["file"], row["class"]] == table[:2]
        assert float(row["probability"]) == pytest.approx(float(table[2]), abs=1e-4)
        both = [float(row[f"probability of {name}"]) for name in CLASSES]
        assert sum(both) == pytest.approx(1, abs=1e-5) and row["error"] == ""


def test_a_table_has_no_control_characters(inside, capsys, tmp_path):
    name, narrow = "a\x1b[2J\nb\x07.jpg", "Screenshot 1\u202fPM.jpg"
    for given in (name, narrow):
        shutil.copyfile(inside.folder / "photos" / "b.jpg", tmp_path / given)
    (tmp_path / f"no {name}").write_text("no picture")
    command(["predict", "gap", str(tmp_path)])
    said = capsys.readouterr()
    assert [line.split("/")[-1].split("  ")[0] for line in said.out.splitlines()[1:]] == [
        "Screenshot 1\u202fPM.jpg",
        "a?[2J?b?.jpg",
    ]
    assert "/no a?[2J?b?.jpg: " in said.err and len(said.err.splitlines()) == 2


@pytest.mark.parametrize(("file", "form"), [("a.csv", "csv"), ("a.jsonl", "json"), ("a", "table")])
def test_the_suffix_of_the_file_selects_the_format(inside, capsys, tmp_path, file, form):
    command(["predict", "cnn", "photos", "--out", str(tmp_path / file)])
    assert capsys.readouterr().out == ""
    command(["predict", "cnn", "photos", *([f"--{form}"] if form != "table" else [])])
    assert (tmp_path / file).read_text() == capsys.readouterr().out
    assert os.listdir(tmp_path) == [file]


def test_unreadable_files_are_named_and_the_others_predicted(inside, capsys, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(inside.folder / "photos", folder)
    (folder / "page.jpg").write_text("<html>404 not found</html>")
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("no image")
    assert command(["predict", "cnn", str(folder), "--json"]) == 3
    said = capsys.readouterr()
    given = {os.path.basename(answer["file"]): answer for answer in lines(said.out)}
    assert len(given) == 9
    assert given["page.jpg"] == {
        "file": str(folder / "page.jpg"),
        "error": "an HTML page, not an image",
    }
    assert given["b.jpg"]["class"] in CLASSES
    assert f"thaw: {folder}/page.jpg: an HTML page, not an image\n" in said.err
    assert f"thaw: {folder}/cut.jpg: " in said.err
    assert "thaw: skipped 1 files without an image suffix\n" in said.err
    assert said.err.endswith("thaw: 2 of 9 files could not be read\n")
    assert command(["predict", "cnn", str(folder / "page.jpg"), "--csv"]) == 3
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["class"], row["error"]) == ("", "an HTML page, not an image")


def test_files_are_read_or_refused_by_their_real_format(
    inside, tmp_path, picture, encoded, tiff, capsys
):
    drawn = Pillow.fromarray(picture())
    bands = np.zeros((32, 32, 13), "uint16")
    contents = {
        "a.ppm": encoded(drawn, "PPM"),
        "b.jp2": encoded(drawn, "JPEG2000"),
        "c.ico": encoded(drawn, "ICO"),
        "d.tif": tiff(bands),
        "e.jpg": encoded(drawn, "TGA"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert command(["predict", "cnn", "--json", *(str(tmp_path / name) for name in contents)]) == 3
    said = capsys.readouterr()
    read, *refused = lines(said.out)
    assert read["file"] == str(tmp_path / "a.ppm") and read["class"] in CLASSES
    assert [(Path(row["file"]).name, row["error"].split(",")[0]) for row in refused] == [
        ("b.jp2", "JPEG 2000"),
        ("c.ico", "ICO"),
        ("d.tif", "TIFF with 13 bands"),
        ("e.jpg", "TGA"),
    ]
    message = "b.jp2: JPEG 2000, which Thaw does not read: convert to PNG"
    assert f"thaw: {tmp_path}/{message}\n" in said.err


def test_names_that_are_not_utf8_keep_their_bytes(inside, capfdbinary, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    shutil.copyfile(os.fsencode(inside.folder) + b"/photos/a.png", name)
    for form in ("--csv", "--json"):
        assert command(["predict", "cnn", str(tmp_path), form]) == 0
        assert (name if form == "--csv" else b"\\udcff.png") in capfdbinary.readouterr().out


def test_a_name_with_a_carriage_return_stays_in_its_row(inside, capsys, tmp_path):
    picture = tmp_path / "a\rb.png"
    shutil.copyfile(inside.folder / "photos/a.png", picture)
    assert command(["predict", "cnn", str(picture), "--csv"]) == 0
    said = capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(said, newline=""))
    assert row["file"] == str(picture) and said.count("\n") == 2 and "\r\n" not in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gpa", "photos"], "no model 'gpa'. Did you mean gap? models/ has: cnn, cnn_grey, fine"),
        (["gap", "fotos", "photos"], "no such file or folder: fotos"),
        (
            ["gap", "photos/empty"],
            "photos/empty contains no images. Expected files that end in .jpg",
        ),
        (
            ["--model", "photos/b.jpg", "photos"],
            "photos/b.jpg is not a model: expected a file that `thaw pack",
        ),
        (["gap", "photos", "--out", "photos"], "--out photos: expected a file"),
        (["gap", "photos", "--out", "photos/b.jpg"], "b.jpg: expected another file than the pict"),
        (
            ["gap_grey", "photos", "--threshold", "0.3"],
            "--threshold 0.3: expected a model of two c",
        ),
    ],
)
def test_unusable_arguments_are_refused(inside, arguments, expected):
    (inside.folder / "photos" / "empty").mkdir(exist_ok=True)
    with pytest.raises(UserError) as error:
        command(["predict", *arguments])
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_an_empty_name_is_not_the_current_folder(inside, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "letter.txt").write_text("keep")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match="--out '': expected the name of a file") as error:
        command(["predict", str(inside.folder / "models/cnn"), inside.photos[0], "--out", ""])
    assert "\n" not in str(error.value)
    assert (tmp_path / "here" / "letter.txt").read_text() == "keep"


@pytest.mark.parametrize("form", ["--json", "--csv", "--table"])
def test_a_threshold_changes_the_class_but_no_probability(inside, capsys, form):
    positive = inside.expected["cnn"][:, 1]
    threshold = float(np.sort(positive)[-2:].mean())  # one image reaches it
    assert sorted(positive)[-2] > 0.5, "the default predicts another class"

    def rows(*threshold: str) -> list[dict]:
        more = [] if form == "--table" else [form]
        command(["predict", "cnn", "photos", *more, *threshold])
        said = capsys.readouterr().out
        if form == "--table":
            head, *cells = (line.split() for line in said.splitlines())
            return [dict(zip(head, each, strict=True)) for each in cells]
        return lines(said) if form == "--json" else list(csv.DictReader(io.StringIO(said)))

    answered, before = rows("--threshold", str(threshold)), rows()
    for row, other, p in zip(answered, before, positive, strict=True):
        assert row.pop("class") == ("dog" if p >= threshold else "cat")
        assert other.pop("class") == ("dog" if p > 0.5 else "cat")
        own = p if p >= threshold else 1 - p
        assert float(row.pop("probability")) == pytest.approx(own, abs=1e-4)
        assert float(other.pop("probability")) == pytest.approx(max(p, 1 - p), abs=1e-4)
        assert row == other, "the probabilities of all classes are equal"


@pytest.mark.parametrize("threshold", ["0", "1", "nan", "-0.1", "half"])
def test_a_threshold_must_be_between_0_and_1(capsys, threshold):
    with pytest.raises(SystemExit):
        command(["predict", "cnn", "photos", f"--threshold={threshold}"])
    assert f"{threshold!r}: expected more than 0 and less than 1" in capsys.readouterr().err


def test_a_models_folder_may_be_in_the_root_folder(inside, monkeypatch):
    monkeypatch.setattr(Path, "resolve", lambda *_: Path("/model"))
    with pytest.raises(UserError, match=r" /data/weights/vgg16.npz, are missing"):
        find_model("gap")


def test_without_models_the_error_explains_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="none in models/. Run thaw in the repository, where `dvc "):
        command(["predict", "gap", "."])


def test_missing_parts_of_a_model_are_named(inside, tmp_path, monkeypatch):
    shutil.copytree(inside.folder / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"data/weights/vgg16.npz, are missing.* weights@vgg16` restores"
    ):
        command(["predict", "gap", str(inside.folder / "photos")])
    (tmp_path / "models" / "cnn" / "model.keras").unlink()
    with pytest.raises(UserError, match="models/cnn contains no model: `dvc pull` or `dvc repro`"):
        command(["predict", "cnn", str(inside.folder / "photos")])
    record = tmp_path / "models" / "gap" / "record.json"
    old = json.loads(record.read_text())
    record.write_text(json.dumps({key: old[key] for key in old if key != "classes"}))
    with pytest.raises(UserError, match="trained by an older version. `dvc repro` trains it again"):
        command(["predict", "gap", str(inside.folder / "photos")])
    (tmp_path / "models" / "cnn_grey" / "model.keras").write_text("damaged")
    with pytest.raises(
        UserError, match="model.keras is not a model: expected a .keras file. `dvc check"
    ):
        command(["predict", "cnn_grey", str(inside.folder / "photos")])


def test_backbone_weights_that_differ_from_training_are_refused(inside, tmp_path, monkeypatch):
    for folder in ("models", "data"):
        shutil.copytree(inside.folder / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "gap" / "record.json"
    record = json.loads(path.read_text())
    right = file_digest("data/weights/vgg16.npz")
    for digest, refused in ((right, False), ("0" * 64, True)):
        record["backbone"]["digest"] = digest
        path.write_text(json.dumps(record))
        if refused:
            with pytest.raises(
                UserError, match="vgg16.npz differs from the weights that .* was trained with"
            ):
                find_model("gap")
        else:
            assert find_model("gap").backbone.digest == right


def test_a_device_is_written_to_not_replaced(inside):
    assert command(["predict", "cnn", inside.photos[0], "--out", os.devnull]) == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
