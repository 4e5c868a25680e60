"""Measure what cached fine-tuning saves: `python -m benchmarks.thaw [-S KEY=VALUE ...]`.

In a clone that shares this repository's cache, on the preset cats_dogs, without augmentation: the
seconds of an epoch of fine-tuning from cached outputs and through the whole network, and whether
both have the same history. Then the seconds until a second fine-tuning, with another learning rate,
begins its first epoch.

    --views 1 4 8 16    instead: test accuracy, seconds and disk space by the number of augmented
                        views (flips, shear, zoom), and with fresh augmentation in every epoch
    --seeds 3           training seeds for each of those
    --limit 400         training images
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.clone import Clone

STAGE = "finetune@finetuned"
KEY = "finetunes.finetuned"
STILL = [f"{KEY}.augmentation.{name}_flip=false" for name in ("horizontal", "vertical")]
STILL += [f"{KEY}.augmentation.{name}=0" for name in ("shear", "zoom")]
AUGMENTED = [f"{KEY}.augmentation.{name}=0.2" for name in ("shear", "zoom")]


def main() -> None:
    """Measure and print the savings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4, help="2 or more")
    parser.add_argument("--views", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int)
    parser.add_argument("-S", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "thaw", shared=True)
        common = ["experiment=cats_dogs", f"{KEY}.epochs={chosen.epochs}", *chosen.overrides]
        common += [f"dataset.max_train_images={chosen.limit}"] if chosen.limit else []
        if chosen.views:
            views(clone, common, chosen.views, chosen.seeds)
        else:
            speed(clone, common)


def speed(clone: Clone, common: list[str]) -> None:
    """Compare cached fine-tuning with training through the whole network."""
    epoch, histories = {}, {}
    common = [*common, f"seed={int(time.time()) % 2**31}"]  # DVC's run cache is shared
    for through, cached in (("cache", "true"), ("network", "false")):
        way = [f"{KEY}.cached={cached}", f"{KEY}.augmented_views=1"]
        run = _run(clone, STAGE, [*common, *STILL, *way])
        epoch[through] = statistics.median(run.epochs[STAGE])
        histories[through] = _record(clone)["history"]
        print(f"through the {through}: {epoch[through]:.1f} s an epoch (median)")
    print(f"ratio {epoch['network'] / epoch['cache']:.1f}")
    pairs = zip(histories["cache"], histories["network"], strict=True)
    apart = max(abs(a[name] - b[name]) for a, b in pairs for name in a)
    print(f"largest difference in the histories: {apart:.1e}")
    for name, rows in histories.items():
        print(f"  {name}: " + ", ".join(f"{row['val_loss']:.6f}" for row in rows))
    again = [*common, *STILL, f"{KEY}.augmented_views=1", f"{KEY}.optimizer.learning_rate=5.0e-5"]
    run = _run(clone, STAGE, again)
    print(f"with another learning rate: {run.first[STAGE]:.1f} s to the first epoch")


def views(clone: Clone, common: list[str], numbers: list[int], seeds: int) -> None:
    """Print the accuracy by the number of views, and with fresh augmentation."""
    ways = [(f"{n} views", [f"{KEY}.cached=true", f"{KEY}.augmented_views={n}"]) for n in numbers]
    ways.append(("fresh each epoch", [f"{KEY}.cached=false", f"{KEY}.augmented_views=1"]))
    for name, way in ways:
        accuracies, seconds, size = [], [], "none"
        for seed in range(seeds):
            overrides = [*common, *AUGMENTED, *way, f"seed={seed}"]
            run = _run(clone, "evaluate@finetuned", overrides)
            if STAGE in run.seconds:  # else DVC restored an earlier result
                seconds.append(run.seconds[STAGE])
            if STAGE in run.seconds and seed == 0:
                size = re.search(r"to compute, (\S+ GB)", run.output)[1]
            details = clone.read("results/details/finetuned.json")
            accuracies.append(details["metrics"]["accuracy"] * 100)
        spread = f"{min(accuracies):.1f}-{max(accuracies):.1f}"
        took = ", ".join(f"{s:.0f}" for s in seconds)
        print(
            f"{name}: test accuracy {statistics.mean(accuracies):.2f} ({spread}), "
            f"seconds {took}, new in the store {size}",
            flush=True,
        )


def _run(clone: Clone, stage: str, overrides: list[str]):
    chosen = [part for override in overrides for part in ("-S", override)]
    return clone.dvc("exp", "run", stage, *chosen, quiet=True)


def _record(clone: Clone) -> dict:
    return json.loads((clone.folder / "models/finetuned/record.json").read_text())


if __name__ == "__main__":
    main()
