"""Invalid splits and keys: refused with one message."""

import random

from tests.faults.hostile import tables
from tests.faults.hostile.trials import SEED, mutated, rounds


def test_invalid_splits(trials):
    trial = trials("tables", fork=False, seconds=20, megabytes=512)
    file = trial.project / "split.csv"
    for label, content, expected in tables.corpus():
        file.write_bytes(content)
        trial(label, {"what": "split", "path": str(file)}, expected)
    chance = random.Random(SEED)
    for number in range(rounds(300)):
        file.write_bytes(mutated(tables.GOOD.encode(), chance))
        trial(f"{number} of seed {SEED}", {"what": "split", "path": str(file)})


def test_invalid_keys(trials):
    trial = trials("tables", fork=False, seconds=20, megabytes=512)
    file = trial.project / "keys.txt"
    for content in (b"", b"\n", b"zz\n", b"b\na\n", b"a\na\n", b"../evil\n", bytes(range(256))):
        file.write_bytes(content)
        trial(f"keys {content[:9]!r}", {"what": "keys", "path": str(file)}, "refused")
    file.write_bytes(b"a\nb\n")
    for content in (b"", b"\x93NUMPY\1\0v\0{}", b"text", b"cos\nsystem\n(S'x'\ntR."):
        (trial.project / "rows.npy").write_bytes(content)
        trial(f"rows {content[:9]!r}", {"what": "keys", "path": str(file)}, "refused")
