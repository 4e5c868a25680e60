"""Model files that mean harm or took it: none runs anything, and each refusal is one message."""

import random
import subprocess
import sys

import pytest

from tests.faults.hostile import models
from tests.faults.hostile.trials import ROOT, SEED, mutated, rounds
from thaw.models.loading import REFUSED_LAYERS

EVIL = "from pathlib import Path\nPath('evil').touch()\nclass Evil: pass\n"


def test_models_that_mean_harm(trials):
    tried = trials("models", fork=False, seconds=60, megabytes=2048)
    (tried.project / "evil.py").write_text(EVIL)
    for label, content, expected in models.corpus():
        answer = tried(label, {"file": models.write(tried.project, content)}, expected)
        assert not (tried.project / "evil").exists(), label
        if expected == "refused" and answer["kind"] == "refused":
            assert "model.keras" in answer["text"], label
    folder = tried.project / "folder.keras"
    folder.mkdir()
    for name, content in models.good().items():
        (folder / name).write_bytes(content)
    tried("a folder", {"file": str(folder)}, "refused")
    tried("nothing", {"file": str(tried.project / "none.keras")}, "refused")


def test_models_that_took_harm(trials):
    tried = trials("models", seconds=20, megabytes=512)
    chance = random.Random(SEED)
    for number in range(rounds(600)):
        members = models.good()
        name = chance.choice(list(members))
        if number % 3:
            members[name] = mutated(members[name], chance)
            content = models.packed(members)
        else:
            content = mutated(models.packed(members), chance)
        asked = {"file": models.write(tried.project, content), "judge": True}
        tried(f"{number} of seed {SEED}", asked)


ALLOWED = """
import sys
from thaw.errors import UserError
from thaw.models.loading import stored
try:
    kind = type(stored(sys.argv[1], tuple(sys.argv[2:])).layers[1])
    print(f"{kind.__module__}.{kind.__name__}")
except UserError as refused:
    print(refused)
"""


def test_a_class_of_ones_own_is_loaded_only_if_it_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("import keras\nclass Dense(keras.layers.Dense): pass\n")

    def mine(held) -> None:
        held.update(module="mine", class_name="Dense", registered_name="Custom>Dense")

    file = models.write(tmp_path, models.layer(mine))

    def said(*allowed: str) -> str:
        call = [sys.executable, "-c", ALLOWED, file, *allowed]
        environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert "asks for Custom>Dense (mine.Dense), which could run code" in said()
    assert said().endswith("--allow mine:Dense")
    assert said("mine:Dense") == "mine.Dense"
    assert said("mine:Other").startswith("--allow mine:Other: expected MODULE:CLASS")
    assert said("nowhere:Dense").startswith("--allow nowhere:Dense: expected MODULE:CLASS")


def test_every_layer_of_keras_that_reads_code_or_files_is_refused():
    """So that a new version's are noticed."""
    import inspect

    from thaw.runtime.tensorflow import keras

    telling = {"function", "vocabulary", "filepath", "module", "call_fn"}
    for name in dir(keras.layers):
        found = getattr(keras.layers, name)
        if inspect.isclass(found) and telling & set(inspect.signature(found.__init__).parameters):
            assert name in REFUSED_LAYERS


@pytest.mark.parametrize("name", sorted(REFUSED_LAYERS))
def test_what_is_refused_is_there(name):
    from thaw.runtime.tensorflow import keras

    assert hasattr(keras.layers, name)
