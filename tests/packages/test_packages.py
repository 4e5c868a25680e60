"""Packages in older versions of Keras, each in an environment of its own that uv makes."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.networks import narrow_vgg16
from tests.thaw.cli.conftest import MODELS, Repository
from tests.thaw.cli.conftest import image as image_section
from tests.thaw.export.test_portable import ARGUMENTS, NETWORKS
from thaw.cli.main import command
from thaw.runtime.tensorflow import keras

TENSORFLOW = {"3.6.0": "2.18.1", "3.10.0": "2.20.0", "3.12.0": "2.21.0"}  # by version of Keras
LOAD = """
import sys
import keras, numpy as np
*packages, photos = sys.argv[1:]
pictures = list(np.load(photos).values())
for path in packages:
    model = keras.saving.load_model(path)
    np.save(path + ".npy", np.concatenate([model(picture[None]) for picture in pictures]))
"""


@pytest.fixture(scope="module", params=TENSORFLOW)
def old_keras(request) -> tuple[str, str]:
    """A version of Keras, and the Python of an environment that has it."""
    folder = Path(sys.prefix) / f"keras-{request.param}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        # TensorFlow 2.18 has no wheels for Python 3.13
        create = ["venv", "--quiet", "--clear", "--python", ">=3.11,<3.13", str(folder)]
        packages = [f"keras=={request.param}", f"tensorflow-cpu=={TENSORFLOW[request.param]}"]
        install = ["pip", "install", "--quiet", "--python", str(python), *packages]
        for arguments in (create, install):
            subprocess.run([sys.executable, "-m", "uv", *arguments], check=True)
        (folder / "ready").touch()
    return request.param, str(python)


@pytest.fixture(scope="module")
def packages(repository, compositions, tmp_path_factory) -> dict[str, Path]:
    """The package of every model of `repository`, of the heads on other backbones, and of every
    network of conf/network/.
    """
    from thaw.models.registry import network_module, validate_network

    for backbone, layer in (("lite0", "block6a_expand_conv"), ("mobilenet", "block_16_expand")):
        repository.dense(f"{backbone}_gap", ["cat", "dog"], "bfloat16", image_section(), backbone)
        repository.logistic(
            f"{backbone}_logistic", list("abc"), image_section(), "average", backbone
        )
        repository.finetuned(
            f"{backbone}_finetuned", ["cat", "dog"], image_section(), backbone, layer
        )
    for option in NETWORKS:
        values = compositions("experiment=pixels_only", f"+network@networks.mine={option}")
        network = validate_network(values["networks"]["mine"], "mine")
        keras.utils.clear_session(free_memory=False)
        model = network_module(network.family).build(network, (32, 32, 3), 3)
        finished = keras.Model(model.inputs, model.outputs[0])  # without auxiliary classifiers
        repository.trained(option, list("abc"), image_section(), finished)
    folder = tmp_path_factory.mktemp("packages")
    names = sorted(path.name for path in (repository.folder / "models").iterdir())
    with contextlib.chdir(repository.folder), narrow_vgg16():
        for name in names:
            command(["package", name, str(folder / f"{name}.keras")])
    return {name: folder / f"{name}.keras" for name in names}


def test_an_older_keras_loads_every_package_and_predicts_the_same(
    repository: Repository, packages, old_keras, tmp_path
):
    version, python = old_keras
    pictures = [np.asarray(Image.open(photo).convert("RGB")) for photo in repository.photos]
    np.savez(tmp_path / "photos.npz", *pictures)
    call = ["-I", "-c", LOAD, *map(str, packages.values()), str(tmp_path / "photos.npz")]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([python, *call], check=True, env=environment)
    assert {*MODELS, *NETWORKS} <= packages.keys()
    for name, path in packages.items():
        probabilities = np.load(f"{path}.npy")
        expected = [keras.saving.load_model(path)(picture[None])[0] for picture in pictures]
        assert np.isfinite(probabilities).all() and probabilities.std(axis=0).min() > 0, name
        tolerance = 0.03 if name in ("gap_half", "lite0_gap", "mobilenet_gap") else 1e-3
        np.testing.assert_allclose(
            probabilities, expected, atol=tolerance, err_msg=f"{name} {version}"
        )


@pytest.mark.parametrize("old_keras", ["3.6.0"], indirect=True)
def test_the_table_of_arguments_is_that_of_keras_3_6(old_keras):
    _, python = old_keras
    script = ROOT / "tests" / "packages" / "arguments.py"
    found = json.loads(subprocess.check_output([python, str(script)]))
    table = json.loads(ARGUMENTS.read_text())
    assert table == {name: found[name] for name in table}
