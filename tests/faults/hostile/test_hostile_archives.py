"""Archives that mean harm or took it: used or refused in one message, and nothing else happens."""

import random

from tests.faults.hostile import archives
from tests.faults.hostile.trials import SEED, mutated, rounds


def test_archives_that_mean_harm(trials):
    tried = trials("archives", seconds=60, megabytes=512)
    tried.writes = tried.project / "into"
    for number, (label, suffix, content, expected) in enumerate(archives.corpus()):
        file = tried.project / f"{number}{suffix}"
        file.write_bytes(content)
        tried(f"{suffix} {label}", str(file), expected)
        file.unlink()


def test_archives_that_took_harm(trials):
    tried = trials("archives", seconds=10, megabytes=512)
    tried.writes = tried.project / "into"
    chance = random.Random(SEED)
    for suffix, whole in archives.seeds(chance).items():
        file = tried.project / f"harmed{suffix}"
        for number in range(rounds(500)):
            content = mutated(chance.choice(whole), chance, whole)
            file.write_bytes(content)
            tried(f"{suffix} {number} of seed {SEED}", str(file))
