"""Pictures that mean harm or took it: decoded, or refused with a reason, and nothing else."""

import random

from tests.faults.hostile import images
from tests.faults.hostile.trials import SEED, mutated, rounds


def test_pictures_that_mean_harm(trials):
    tried = trials("images", seconds=30, megabytes=1536)
    for label, content, expected in images.corpus():
        file = tried.project / "picture.jpg"  # whatever it is
        file.write_bytes(content)
        tried(label, str(file), expected)


def test_pictures_that_took_harm(trials):
    tried = trials("images", seconds=10, megabytes=1024)
    chance, whole = random.Random(SEED), images.seeds()
    file = tried.project / "harmed.png"
    for number in range(rounds(3000)):
        file.write_bytes(mutated(chance.choice(whole), chance, whole))
        tried(f"{number} of seed {SEED}", str(file))


def test_the_largest_picture_has_a_limit_of_memory(trials):
    """As large as is decoded, with transparency: what costs most."""
    tried = trials("images", seconds=60, megabytes=5000)
    rows = images.zeros(15_800 * (15_800 * 4 + 1))
    file = tried.project / "large.png"
    file.write_bytes(images.png(15_800, 15_800, colour=6, data=rows))
    tried("RGBA of 249.6 million pixels", str(file), "taken")
