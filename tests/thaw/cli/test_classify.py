import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.thaw.cli.conftest import draw_photos, lines, spread
from thaw.cli.main import command
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.errors import UserError
from thaw.runtime.tensorflow import keras

pytestmark = pytest.mark.usefixtures("no_network")
read = keras.applications.mobilenet_v2.preprocess_input
IMAGE = Image(size=224, resampling="nearest", colour="rgb")
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    return list(draw_photos(tmp_path_factory.mktemp("classify") / "photos"))


@pytest.fixture
def inside(photos, monkeypatch) -> Path:
    """Return the folder of the folder photos/, as the current folder."""
    folder = photos[0].parents[1]
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def application(tmp_path_factory, photos):
    """A mirror with the weights of a network, top included, and the names of 1,000 classes."""
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("mirror")
    model = keras.applications.MobileNetV2(weights=None)
    pixels = [decode(photo.read_bytes(), IMAGE) for photo in photos]
    spread(model, read(np.stack(pixels).astype("float32")))
    with h5py.File(folder / FILE, "w") as file:  # the format of Keras's downloads
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    (folder / FILE.replace(".h5", "_no_top.h5")).write_text("not read")
    names = {str(n): [f"n{n:08}", f"thing_{n}"] for n in range(1000)}
    (folder / "imagenet_class_index.json").write_text(json.dumps(names))
    return folder, model


@pytest.fixture
def mirror(application, monkeypatch):
    monkeypatch.setenv("THAW_MIRROR", str(application[0]))
    return application[0]


@pytest.fixture
def quick(monkeypatch):
    """Replace the network by a small one that is built quickly."""

    def build(_: str) -> keras.Model:
        pixels = keras.Input((224, 224, 3), dtype="uint8")
        means = keras.ops.mean(keras.ops.cast(pixels, "float32"), axis=(1, 2))
        return keras.Model(pixels, keras.layers.Dense(1000, activation="softmax")(means))

    monkeypatch.setattr("thaw.cli.classify._network", build)


def test_predictions_equal_those_of_keras(inside, mirror, application, capsys):
    """With the network's size, preprocessing and weights, in decode_predictions' order."""
    images = ["photos/b.jpg", "photos/deeper"]
    assert command(["classify", *images, "--backbone", "mobilenet_v2", "--top", "5", "--json"]) == 0
    printed = capsys.readouterr()
    answers = lines(printed.out)
    assert [answer["file"] for answer in answers] == ["photos/b.jpg", "photos/deeper/f.png"]
    assert printed.err == ""
    for answer in answers:
        content = (inside / answer["file"]).read_bytes()
        pixels = decode(content, IMAGE)[None].astype("float32")
        scores = application[1](read(pixels))[0].numpy()
        numbers = [int(c["id"][1:]) for c in answer["classes"]]
        assert [c["class"] for c in answer["classes"]] == [f"thing_{n}" for n in numbers]
        shown = [c["score"] for c in answer["classes"]]
        np.testing.assert_allclose(shown, scores[numbers], atol=1e-4)
        np.testing.assert_allclose(shown, np.sort(scores)[::-1][:5], atol=1e-4)  # of near ties, any


def test_the_default_is_a_table_and_unreadable_files_are_named(
    inside, mirror, quick, tmp_path, capsys
):
    (tmp_path / "page.jpg").write_text("no image")
    bad = str(tmp_path / "page.jpg")
    assert command(["classify", "photos/b.jpg", bad, "--backbone", "MobileNetV2"]) == 3
    printed = capsys.readouterr()
    head, *rows = (line.split() for line in printed.out.splitlines())
    assert head == ["file", "id", "class", "score"] and len(rows) == 3
    assert {row[0] for row in rows} == {"photos/b.jpg"}
    reason = "in no format that Thaw reads: convert to PNG or JPEG"
    assert printed.err.startswith(f"thaw: {bad}: {reason}\n")
    assert command(["classify", bad, "--backbone", "mobilenet-v2", "--json"]) == 3
    assert lines(capsys.readouterr().out) == [{"file": bad, "error": reason}]


def test_without_network_and_mirror_one_line_explains_what_to_do(inside, capsys):
    with pytest.raises(UserError) as error:
        command(["classify", "photos/b.jpg", "--backbone", "mobilenet_v2"])
    message = str(error.value)
    assert "\n" not in message
    assert "no source has the ImageNet weights of MobileNetV2: THAW_MIRROR: not set" in message
    assert "the network is unplugged" in message
    assert "imagenet_class_index.json, put them in a folder and set THAW_MIRROR" in message
    assert capsys.readouterr() == ("", "")


def test_without_class_names_one_line_explains_what_to_do(inside, quick, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "mirror"))
    index = tmp_path / "mirror" / "imagenet_class_index.json"
    monkeypatch.setattr("thaw.cli.classify.NAMES_PACKAGE", ("no-such-package", "1.0", "0" * 64))
    arguments = ["classify", "photos/b.jpg", "--backbone", "mobilenet_v2"]
    with pytest.raises(UserError) as error:
        command(arguments)
    assert "Keras's download: " in str(error.value)
    assert "\n" not in str(error.value)
    index.write_text('["tench"]')
    with pytest.raises(UserError, match='expected {"0": '):
        command(arguments)
    index.write_text('{"0": ["n01440764", "tench"]}')
    with pytest.raises(UserError, match="json has 1 classes and functional.* 1,000"):
        command(arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.jpg"], "no such file or folder: nowhere.jpg"),
        (["photos/b.jpg", "--backbone", "vgg61"], "Did you mean vgg1[69]?"),
    ],
)
def test_unusable_arguments_are_refused(inside, arguments, expected):
    with pytest.raises(UserError, match=expected):
        command(["classify", *arguments])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("vgg16", "VGG16"),
        ("VGG16", "VGG16"),
        ("resnet50", "ResNet50"),
        ("resnet50_v2", "ResNet50V2"),
        ("efficientnet_b0", "EfficientNetB0"),
        ("inception_resnet_v2", "InceptionResNetV2"),
        ("convnext-tiny", "ConvNeXtTiny"),
    ],
)
def test_network_names_may_be_spelled_as_in_conf_or_keras(written, name):
    from thaw.cli.classify import _application

    assert _application(written) == name


@pytest.mark.parametrize("top", ["0", "1001", "three"])
def test_top_must_be_a_number_of_classes(capsys, top):
    with pytest.raises(SystemExit):
        command(["classify", "a.jpg", "--top", top])
    assert f"{top!r}: expected 1 to 1000" in capsys.readouterr().err
