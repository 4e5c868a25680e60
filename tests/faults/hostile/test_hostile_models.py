"""Malicious and damaged model files: none runs code, and each refusal is one message."""

import random
import subprocess
import sys

import pytest

from tests.faults.hostile import models
from tests.faults.hostile.trials import ROOT, SEED, mutated, rounds
from thaw.models.loading import REFUSED_LAYERS

EVIL = "from pathlib import Path\nPath('evil').touch()\nclass Evil: pass\n"


def test_malicious_models(trials):
    trial = trials("models", fork=False, seconds=60, megabytes=2048)
    (trial.project / "evil.py").write_text(EVIL)
    for label, content, expected in models.corpus():
        answer = trial(label, {"file": models.write(trial.project, content)}, expected)
        assert not (trial.project / "evil").exists(), label
        if expected == "refused" and answer["kind"] == "refused":
            assert "model.keras" in answer["text"], label
    folder = trial.project / "folder.keras"
    folder.mkdir()
    for name, content in models.good().items():
        (folder / name).write_bytes(content)
    trial("a folder", {"file": str(folder)}, "refused")
    trial("nothing", {"file": str(trial.project / "none.keras")}, "refused")


def test_damaged_models(trials):
    trial = trials("models", seconds=20, megabytes=512)
    chance = random.Random(SEED)
    for number in range(rounds(600)):
        members = models.good()
        name = chance.choice(list(members))
        if number % 3:
            members[name] = mutated(members[name], chance)
            content = models.packed(members)
        else:
            content = mutated(models.packed(members), chance)
        argument = {"file": models.write(trial.project, content), "judge": True}
        trial(f"{number} of seed {SEED}", argument)


ALLOWED = """
import sys
from thaw.errors import UserError
from thaw.models.loading import load_keras_model
try:
    kind = type(load_keras_model(sys.argv[1], tuple(sys.argv[2:])).layers[1])
    print(f"{kind.__module__}.{kind.__name__}")
except UserError as error:
    print(error)
"""


def test_a_custom_class_is_loaded_only_if_it_is_allowed(tmp_path):
    (tmp_path / "mine.py").write_text("import keras\nclass Dense(keras.layers.Dense): pass\n")

    def mine(config) -> None:
        config.update(module="mine", class_name="Dense", registered_name="Custom>Dense")

    file = models.write(tmp_path, models.layer(mine))

    def output(*allowed: str) -> str:
        call = [sys.executable, "-c", ALLOWED, file, *allowed]
        environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert "uses the class Custom>Dense (mine.Dense), which could run code" in output()
    assert output().endswith("--allow mine:Dense")
    assert output("mine:Dense") == "mine.Dense"
    assert output("mine:Other").startswith("--allow mine:Other: expected MODULE:CLASS")
    assert output("nowhere:Dense").startswith("--allow nowhere:Dense: expected MODULE:CLASS")


def test_every_layer_of_keras_that_reads_code_or_files_is_refused():
    """New versions of Keras may add such layers."""
    import inspect

    from thaw.runtime.tensorflow import keras

    dangerous = {"function", "vocabulary", "filepath", "module", "call_fn"}
    for name in dir(keras.layers):
        layer = getattr(keras.layers, name)
        if inspect.isclass(layer) and dangerous & set(inspect.signature(layer.__init__).parameters):
            assert name in REFUSED_LAYERS


@pytest.mark.parametrize("name", sorted(REFUSED_LAYERS))
def test_refused_layers_exist(name):
    from thaw.runtime.tensorflow import keras

    assert hasattr(keras.layers, name)
