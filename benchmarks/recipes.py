"""Compare views, epochs and test-time augmentation of fine-tunings on images held out of training.

    cd PROJECT && THAW_STORE=COPY python -m benchmarks.recipes RESULTS.jsonl lite0 0 4x8 2x5

PROJECT has run its fine-tunings. COPY is a copy of its store, in which outputs of the frozen part
are found or added. The project's training images are split again, by SEED: 65 % for training, 15 %
to choose the epoch and 20 % held out. 4x8 is 4 views and 8 epochs. A result is one line of RESULTS;
what has one is not run again. Nothing reads test images.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params
from thaw.config.finetuning import Finetune
from thaw.data.augmentation import allowed_augmentation
from thaw.data.split_table import SplitTable, sample_weights
from thaw.models import logistic
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.backbones.views import CachedViews
from thaw.models.layers import to_probabilities
from thaw.models.subnet import build_logistic
from thaw.runtime.tensorflow import make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.training import finetuning
from thaw.training.batches import batches
from thaw.training.fit import fit
from thaw.training.losses import LossTerms


def main() -> None:
    """Run the settings that RESULTS does not have yet."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("backbone")
    parser.add_argument("seed", type=int)
    parser.add_argument("settings", nargs="+", help="VIEWSxEPOCHS")
    given = parser.parse_args()
    done = given.results.read_text().splitlines() if given.results.exists() else []
    keys = {tuple(json.loads(line)[k] for k in ("backbone", "seed", "setting")) for line in done}
    for setting in given.settings:
        if (given.backbone, given.seed, setting) not in keys:
            row = run(given.backbone, given.seed, setting)
            print(row, flush=True)
            with given.results.open("a") as file:
                file.write(json.dumps(row) + "\n")


def run(name: str, seed: int, setting: str) -> dict[str, Any]:
    """Return the result of one fine-tuning."""
    views, epochs = map(int, setting.split("x"))
    parameters = load_section(Finetune, "finetunes", f"{name}_finetuned")
    allowed = read_params("dataset", "allowed_flips")
    stored = allowed_augmentation(parameters.augmentation, allowed)
    parameters = parameters.model_copy(
        update={"augmentation": stored, "augmented_views": views, "epochs": epochs}
    )
    backbone = load_section(Backbone, "backbones", name)
    images, features = ArrayFolder("data/images"), ArrayFolder(f"data/features/{name}")
    rows = SplitTable()
    every = rows.of("train")
    rest, held = train_test_split(every, test_size=0.2, random_state=seed, stratify=every["class"])
    train, chosen = train_test_split(
        rest, test_size=0.1875, random_state=seed, stratify=rest["class"]
    )
    train, chosen, held = (part.reset_index(drop=True) for part in (train, chosen, held))
    make_deterministic(seed)
    frozen = FrozenBackbone(
        backbone, f"data/weights/{name}.npz", images.shape, parameters.thaw_from
    )
    pooled = logistic.pooled(features.select(train["pixel_sha256"]), "average_max")
    weights = sample_weights(train, "none")
    model = logistic.fit(pooled, train["class"].to_numpy(), weights, 0.01, 2000)
    subnet = build_logistic(model, frozen.thawed.output_shape[1:])
    terms = LossTerms(parameters)
    end, trained = finetuning.assemble(frozen, subnet, terms)
    cache = CachedViews(frozen, images, stored, views)
    cache.fill(every["pixel_sha256"])
    start = held_out(cache, end, held)
    sigmoid = end.output_shape[-1] == 1
    data = (
        batches(train, cache.augmented(train), parameters, seed, sigmoid),
        batches(chosen, cache.plain(chosen), parameters, None, sigmoid),
    )
    recipe = {"settings": {**parameters.model_dump(), "seed": seed}}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trainer = terms.trainer(trained.inputs, trained.outputs)
        record = fit(trained, trainer, *data, parameters, recipe, Path(folder), True)
    seconds = time.monotonic() - began
    return {
        "backbone": name, "seed": seed, "setting": setting, "kept": record.kept,
        "seconds": round(seconds), "start": start, "tuned": held_out(cache, end, held),
    }  # fmt: skip


def held_out(cache: CachedViews, end: Any, rows: pd.DataFrame) -> dict[int, list[float]]:
    """Return accuracy and log loss by the number of flips whose probabilities are averaged."""
    keys, true = rows["pixel_sha256"].to_list(), rows["class"].to_numpy()
    measured = {}
    for count in range(1, cache.views + 1):
        predicted = to_probabilities(cache.averaged(end, keys, count))
        loss = log_loss(true, predicted, labels=range(predicted.shape[1]))
        accuracy = accuracy_score(true, predicted.argmax(axis=1))
        measured[count] = [round(float(accuracy), 4), round(float(loss), 4)]
    return measured


if __name__ == "__main__":
    main()
