"""params.yaml in every wrong way: each is refused in one message, by composing and by a stage."""

import random

import pytest

from tests.faults.hostile import parameters
from tests.faults.hostile.trials import SEED, mutated, rounds

HOW = ["whole", "stages"]


@pytest.fixture
def tried(trials):
    """A function that tries a file of parameters."""
    made = trials("parameters", fork=False, seconds=60, megabytes=512)
    file = made.project / "params.yaml"

    def attempt(label: str, content: bytes, how: str, expected: str | None = None) -> dict:
        file.write_bytes(content)
        return made(f"{how}: {label}", {"file": str(file), "how": how}, expected)

    return attempt


@pytest.mark.parametrize("how", HOW)
def test_every_key_missing_unknown_and_wrong(tried, how):
    for label, text in parameters.corpus():
        answer = tried(label, text.encode(), how)
        if "missing" in label and how == "whole":
            assert answer["kind"] == "refused" or "." in label, label  # a whole model may go
            names = label.split()[0].split(".")[-2:]  # its own, or that of what has no part now
            assert any(name in answer["text"] for name in names) or answer["kind"] == "taken"
        if "unknown" in label and how == "whole" and label.count(".") == 0:
            assert "is no parameter" in answer["text"], label


@pytest.mark.parametrize("how", HOW)
def test_files_that_are_no_parameters(tried, how):
    for label, content, expected in parameters.texts():
        tried(label, content, how, expected)


def test_files_that_took_harm(tried):
    chance = random.Random(SEED)
    (whole,) = parameters.seeds(chance)
    for number in range(rounds(1000)):
        tried(f"{number} of seed {SEED}", mutated(whole, chance), chance.choice(HOW))
