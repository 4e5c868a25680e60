"""Invalid versions of params.yaml: each is refused with one message, by composing and by stages."""

import random

import pytest

from tests.faults.hostile import parameters
from tests.faults.hostile.trials import SEED, mutated, rounds

HOW = ["composition", "stages"]


@pytest.fixture
def trial(trials):
    """Return a function that runs a trial of a file of parameters."""
    run = trials("parameters", fork=False, seconds=60, megabytes=512)
    file = run.project / "params.yaml"

    def attempt(label: str, content: bytes, how: str, expected: str | None = None) -> dict:
        file.write_bytes(content)
        return run(f"{how}: {label}", {"file": str(file), "how": how}, expected)

    return attempt


@pytest.mark.parametrize("how", HOW)
def test_missing_unknown_and_wrong_keys(trial, how):
    for label, text in parameters.corpus():
        answer = trial(label, text.encode(), how)
        if "missing" in label and how == "composition":
            assert answer["kind"] == "refused" or "." in label, label  # models are optional
            names = label.split()[0].split(".")[-2:]  # its name, or that of its section
            assert any(name in answer["text"] for name in names) or answer["kind"] == "accepted"
        if "unknown" in label and how == "composition" and label.count(".") == 0:
            assert "is no parameter" in answer["text"], label


@pytest.mark.parametrize("how", HOW)
def test_files_that_are_not_parameters(trial, how):
    for label, content, expected in parameters.texts():
        trial(label, content, how, expected)


def test_damaged_files(trial):
    chance = random.Random(SEED)
    (whole,) = parameters.seeds(chance)
    for number in range(rounds(1000)):
        trial(f"{number} of seed {SEED}", mutated(whole, chance), chance.choice(HOW))
