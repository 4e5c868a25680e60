"""Malicious and damaged archives: accepted, or refused with one message, without side effects."""

import random

from tests.faults.hostile import archives
from tests.faults.hostile.trials import SEED, mutated, rounds


def test_malicious_archives(trials):
    trial = trials("archives", seconds=60, megabytes=512)
    trial.writes = trial.project / "into"
    for number, (label, suffix, content, expected) in enumerate(archives.corpus()):
        file = trial.project / f"{number}{suffix}"
        file.write_bytes(content)
        trial(f"{suffix} {label}", str(file), expected)
        file.unlink()


def test_damaged_archives(trials):
    trial = trials("archives", seconds=10, megabytes=512)
    trial.writes = trial.project / "into"
    chance = random.Random(SEED)
    for suffix, whole in archives.seeds(chance).items():
        file = trial.project / f"damaged{suffix}"
        for number in range(rounds(500)):
            content = mutated(chance.choice(whole), chance, whole)
            file.write_bytes(content)
            trial(f"{suffix} {number} of seed {SEED}", str(file))
