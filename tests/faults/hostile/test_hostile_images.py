"""Malicious and damaged images: decoded, or refused with a reason, without side effects."""

import random

from tests.faults.hostile import images
from tests.faults.hostile.trials import SEED, mutated, rounds


def test_malicious_images(trials):
    trial = trials("images", seconds=30, megabytes=1536)
    for label, content, expected in images.corpus():
        file = trial.project / "picture.jpg"  # whatever its format
        file.write_bytes(content)
        trial(label, str(file), expected)


def test_damaged_images(trials):
    trial = trials("images", seconds=10, megabytes=1024)
    chance, whole = random.Random(SEED), images.seeds()
    file = trial.project / "damaged.png"
    for number in range(rounds(3000)):
        file.write_bytes(mutated(chance.choice(whole), chance, whole))
        trial(f"{number} of seed {SEED}", str(file))


def test_the_largest_image_stays_within_a_memory_limit(trials):
    """The largest image that is decoded, with transparency, which takes the most memory."""
    trial = trials("images", seconds=60, megabytes=5000)
    rows = images.zeros(15_800 * (15_800 * 4 + 1))
    file = trial.project / "large.png"
    file.write_bytes(images.png(15_800, 15_800, colour=6, data=rows))
    trial("RGBA of 249.6 million pixels", str(file), "accepted")
