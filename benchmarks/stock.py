"""Compare a training of the pipeline with Keras's own `fit`, on Fashion-MNIST.

    python -m benchmarks.stock [--seeds N] [--at COMMIT]

Trains the LeakyReLU CNN with dropout, published with 92.30 %, twice for each seed: by the preset
`fashion_cnn`, and by `keras.Sequential`, `keras.optimizers.Adam` and `fit` on the same images and
split. Prints the validation accuracy in per cent after the last epoch. The test data is not used.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.clone import Clone

MODEL = "leaky_cnn_dropout"


def stock(seed: int) -> float:
    """Return the validation accuracy after 20 epochs; call it in the work tree of a run."""
    from thaw.data.split_table import SplitTable
    from thaw.runtime.tensorflow import keras
    from thaw.storage.arrays import ArrayFolder

    keras.utils.set_random_seed(seed)
    rows, images = SplitTable(), ArrayFolder("data/images")
    train, validation = (
        (images.select(part["pixel_sha256"])[:] / 255, part["class"].to_numpy())
        for part in (rows.of("train"), rows.of("validation"))
    )
    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters, dropout in ((32, 0.25), (64, 0.25), (128, 0.4)):
        model.add(layers.Conv2D(filters, 3, padding="same"))
        model.add(layers.LeakyReLU(0.1))
        model.add(layers.MaxPooling2D(2, padding="same"))
        model.add(layers.Dropout(dropout))
    model.add(layers.Flatten())
    model.add(layers.Dense(128))
    model.add(layers.LeakyReLU(0.1))
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(
        keras.optimizers.Adam(), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(*train, batch_size=64, epochs=20, validation_data=validation, verbose=2)
    return history.history["val_accuracy"][-1]


def main() -> None:
    """Train, and print both accuracies for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0; default: 3")
    parser.add_argument("--at", metavar="COMMIT", help="run the preset of this commit")
    chosen = parser.parse_args()
    accuracies = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "thaw", shared=True, at=chosen.at)
        os.chdir(clone.folder)
        for seed in range(chosen.seeds):
            clone.dvc("exp", "run", "-S", f"seed={seed}", "-S", "experiment=fashion_cnn", "conf")
            clone.dvc("repro", f"train_network@{MODEL}")
            record = json.loads(Path(f"models/{MODEL}/record.json").read_text())
            ours = record["history"][-1]["val_accuracy"]
            accuracies.append((100 * ours, 100 * stock(seed)))
            print(
                "seed {}: pipeline {:.2f}, Keras {:.2f}".format(seed, *accuracies[-1]), flush=True
            )
    means = [statistics.mean(column) for column in zip(*accuracies, strict=True)]
    print("mean: pipeline {:.2f}, Keras {:.2f}".format(*means))


if __name__ == "__main__":
    main()
