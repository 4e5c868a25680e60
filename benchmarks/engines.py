"""Compare the engines of a backbone: `python -m benchmarks.engines ARCHIVE [BACKBONE ...]`.

On photographs of cats and dogs at 224 px, for each BACKBONE (a name in conf/backbone/), engine and
precision: images/s from decoded arrays into an empty store (median of the rounds, start-up
excluded), seconds of start-up, the difference of the features from those of TensorFlow in float32,
and the accuracy of the logistic regression on them (five folds, repeated twice). Weights are those
of ImageNet if this machine has them, else random, which gives no accuracy. Adds the result to
benchmarks/results/engines.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from sklearn.model_selection import RepeatedStratifiedKFold

from benchmarks.clone import ROOT
from thaw.config.backbone import Backbone
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.backbones.weights import imagenet_weights
from thaw.models.logistic import fit, pooled, predict
from thaw.runtime.tensorflow import make_deterministic

RESULTS = ROOT / "benchmarks/results/engines.json"
BACKBONES = ["efficientnet_lite0", "efficientnet_lite2", "vgg16", "resnet50"]
WAYS = [(e, p) for e in ("tensorflow", "openvino") for p in ("float32", "bfloat16")]
SIZE = 224  # pixels
HEAD = yaml.safe_load((ROOT / "conf/subnet/logistic.yaml").read_text())


def main() -> None:
    """Measure, print, and write benchmarks/results/engines.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", help="cats_and_dogs_filtered.zip; its training images are used")
    parser.add_argument("backbones", nargs="*", default=BACKBONES, metavar="BACKBONE")
    parser.add_argument("--images", type=int, default=256, help="of a timed round")
    parser.add_argument("--compared", type=int, default=1000, help="images for features, accuracy")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    images, labels = _photographs(chosen.archive, chosen.compared)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in chosen.backbones:
        results[name] = _compare(name, images, labels, chosen.images, chosen.rounds)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def _photographs(archive: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, SIZE, SIZE, 3) and their classes (n,), in random order."""
    image = Image(size=SIZE, resampling="bicubic", colour="rgb")
    with zipfile.ZipFile(archive) as content:
        names = [n for n in content.namelist() if "/train/" in n and n.endswith(".jpg")]
        names = np.random.default_rng(0).permutation(sorted(names))[:count].tolist()
        files = [content.read(name) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = np.stack(list(pool.map(lambda file: decode(file, image), files)))
    return images, np.array(["/dogs/" in name for name in names], int)


def _compare(
    name: str, images: np.ndarray, labels: np.ndarray, timed: int, rounds: int
) -> dict[str, dict[str, float | str]]:
    parameters = yaml.safe_load((ROOT / f"conf/backbone/{name}.yaml").read_text())
    pretrained = True
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        try:
            tensors = imagenet_weights(parameters["application"], None)
        except UserError:
            make_deterministic(0)
            tensors = named_tensors(build_application(parameters["application"], SIZE))
            pretrained = False
        np.savez(weights, **tensors)
        backbones, results = {}, {}
        for engine, precision in WAYS:
            changes = {"engine": engine, "precision": precision, "digest": None}
            started = time.perf_counter()
            frozen = FrozenBackbone(
                Backbone(**{**parameters, **changes}), weights, images.shape[1:], None
            )
            frozen.apply(images[: frozen.batch_size])
            way = f"{engine} {precision}"
            backbones[way] = frozen
            results[way] = {"start-up, s": round(time.perf_counter() - started, 2)}
        seconds: dict[str, list[float]] = {way: [] for way in backbones}
        for _ in range(rounds):
            for way, frozen in backbones.items():
                seconds[way].append(_fill(frozen, images[:timed], folder)[0])
        exact: np.ndarray | None = None
        for way, frozen in backbones.items():
            features = _fill(frozen, images, folder)[1].astype("float32")
            exact = features if exact is None else exact
            difference = np.abs(features - exact)
            results[way] |= {
                "weights": "imagenet" if pretrained else "random",
                "images/s": round(timed / statistics.median(seconds[way]), 1),
                "mean difference": float(f"{difference.mean() / np.abs(exact).mean():.2g}"),
                "largest difference": float(f"{difference.max() / np.abs(exact).max():.2g}"),
            }
            if pretrained:
                results[way]["accuracy"] = round(100 * _accuracy(features, labels), 2)
            print(name, way, json.dumps(results[way]), flush=True)
    first = results["tensorflow bfloat16"]["images/s"]
    for result in results.values():
        result["ratio to tensorflow bfloat16"] = round(result["images/s"] / first, 2)
    return results


def _fill(frozen: FrozenBackbone, images: np.ndarray, folder: str) -> tuple[float, np.ndarray]:
    """Return the seconds to fill an empty store, and the features (n, height, width, channels)."""
    keys = [f"{number:064x}" for number in range(len(images))]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        os.environ["THAW_STORE"] = place
        store = frozen.store()
        started = time.perf_counter()
        frozen.fill(store, keys, dict(zip(keys, images, strict=True)).__getitem__, "features")
        seconds = time.perf_counter() - started
        return seconds, np.stack([store[key] for key in keys])


def _accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    inputs = pooled(features, HEAD["pooling"])
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    right = []
    for train, rest in folds.split(inputs, labels):
        ones = np.ones(len(train))
        model = fit(inputs[train], labels[train], ones, HEAD["C"], HEAD["max_iter"])
        right.append(np.mean(predict(model, inputs[rest]).argmax(axis=1) == labels[rest]))
    return float(np.mean(right))


if __name__ == "__main__":
    main()
