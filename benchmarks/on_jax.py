"""Many seeds of the presets' networks on an accelerator, by Keras on JAX.

    python -m benchmarks.on_jax pack FOLDER [RUN ...]          here: images, networks, settings
    python -m benchmarks.on_jax train FOLDER OUT.npz TASK ...  there; a TASK is RUN/MODEL/SEED,...
    python -m benchmarks.on_jax keep OUT.npz ...               here: into benchmarks/results

An epoch is one XLA program, so that a network of a few layers does not wait for Python between its
batches. `train` needs keras, jax and numpy alone. The networks are those of the pipeline, by their
Keras configuration; split, batches, optimizer, patience and the epoch that is kept are those of the
preset, weights start and images come in the order of another generator. Trained are the networks
whose images are not augmented and whose learning rate is constant; others are named and left out.
"""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np

DENSE = {
    "dense392x2": {"units": "[392,392]"},
    "dense392_08": {"units": "[392]", "dropout": 0.8},
    "dense392_08_linear": {"units": "[392]", "dropout": 0.8, "activation": "none"},
    "dense392_05": {"units": "[392]"},
    "dense392_05_linear": {"units": "[392]", "activation": "none"},
    "dense784_05": {"units": "[784]"},
}
"""The other networks of the table that `fashion_dense` is of: hours a network on two cores."""
AT_ONCE = 1000
"""Images that are predicted at once."""


def pack(folder: Path, runs: list[str], given: list[str]) -> None:
    """Write RUN.npz: x (N, height, width, channels) uint8, y (N,) int32, split (N,) str, and
    `specs`, a JSON text of what is trained by name."""
    from benchmarks.clone import Clone
    from benchmarks.runs import RUNS

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        chosen = [*RUNS[run], *given]
        for name, settings in DENSE.items() if run == "fashion_dense" else ():
            chosen.append(f"+network@networks.{name}=dense")
            chosen += [f"networks.{name}.{key}={value}" for key, value in settings.items()]
        with tempfile.TemporaryDirectory() as place:
            clone = Clone(Path(place) / "thaw", shared=True)
            clone.dvc("exp", "run", *(part for o in chosen for part in ("-S", o)), "conf")
            clone.dvc("repro", "preprocess", "split")
            os.chdir(clone.folder)
            np.savez_compressed(folder / f"{run}.npz", **_packed(clone, chosen))
            os.chdir(folder)


def _packed(clone, overrides: list[str]) -> dict:
    from thaw.data.augmentation import random_layers
    from thaw.data.split_table import SplitTable
    from thaw.models.registry import network_module, validate_network
    from thaw.runtime.tensorflow import keras
    from thaw.storage.arrays import ArrayFolder
    from thaw.training.losses import LossTerms

    rows, images = SplitTable(), ArrayFolder("data/images")
    specs = {}
    for name, values in clone.read("params.yaml")["networks"].items():
        settings = validate_network(values, name)
        flips = settings.augmentation.horizontal_flip or settings.augmentation.vertical_flip
        if flips or random_layers(settings.augmentation) or settings.schedule != "constant":
            print(f"{name}: augmented, or its learning rate changes: left out")
            continue
        assert settings.optimizer == "adam" and settings.class_weight == "none", name
        assert {term.function for term in settings.losses.values()} == {"cross_entropy"}, name
        built = network_module(settings.family).build(settings, images.shape, len(rows.classes))
        outputs = LossTerms(settings).outputs(built)
        of = re.compile(rf"(?!(\+.*@)?networks\.(?!{name}[.=]))").match
        specs[name] = {
            "model": keras.Model(built.inputs, outputs).to_json(),
            "parameters": keras.Model(built.inputs, outputs[0]).count_params(),
            "weights": [term.weight for term in settings.losses.values()],
            "settings": settings.model_dump(),
            "commit": clone.commit,
            "overrides": [re.sub(r"=/.*/", "=", o) for o in overrides if of(o)],
        }
    return {
        "x": images.select(rows.table["pixels"])[:],
        "y": rows.table["class"].to_numpy("int32"),
        "split": rows.table["split"].to_numpy(str),
        "specs": json.dumps(specs),
    }


class Trained:
    """A network as JAX trains it: its programs, compiled once for all seeds.

    Args:
        spec: as packed.
        x, y: of the training images.
    """

    def __init__(self, spec: dict, x: np.ndarray, y: np.ndarray):
        import jax
        import jax.numpy as jnp
        import keras

        self.spec, self.settings = spec, spec["settings"]
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        model, optimizer = self._made()
        size = self.settings["batch_size"]

        def loss(trained, other, x, y):
            given, other = model.stateless_call(trained, other, x / 255.0, training=True)
            given = given if isinstance(given, (list, tuple)) else [given]
            each = [
                weight * jnp.mean(keras.losses.sparse_categorical_crossentropy(y, probabilities))
                for weight, probabilities in zip(spec["weights"], given, strict=True)
            ]
            return sum(each), other

        def step(state, chosen, x, y):
            trained, other, moments = state
            (_, other), gradients = jax.value_and_grad(loss, has_aux=True)(
                trained, other, x[chosen], y[chosen]
            )
            trained, moments = optimizer.stateless_apply(moments, gradients, trained)
            return (trained, other, moments), None

        def epoch(state, order, x, y):
            whole = len(order) // size * size
            state, _ = jax.lax.scan(
                lambda state, chosen: step(state, chosen, x, y),
                state,
                order[:whole].reshape(-1, size),
            )
            return step(state, order[whole:], x, y)[0] if whole < len(order) else state

        def predict(state, x):
            given = model.stateless_call(state[0], state[1], x / 255.0, training=False)[0]
            return given[0] if isinstance(given, (list, tuple)) else given

        self._epoch, self._predict = jax.jit(epoch, donate_argnums=0), jax.jit(predict)

    def _made(self):
        import keras

        model = keras.models.model_from_json(self.spec["model"])
        optimizer = keras.optimizers.Adam(
            self.settings["learning_rate"], epsilon=self.settings["epsilon"]
        )
        optimizer.build(model.trainable_variables)
        return model, optimizer

    def predicted(self, state, x: np.ndarray) -> np.ndarray:
        """Class probabilities (n, classes), float32."""
        parts = [self._predict(state, x[n : n + AT_ONCE]) for n in range(0, len(x), AT_ONCE)]
        return np.concatenate([np.asarray(part) for part in parts])

    def fit(self, seed: int, x: np.ndarray, y: np.ndarray, until: float):
        """Train by a seed, watching the images x.

        Returns:
            the weights kept, and what is said of the training; none if it was not done in time.
        """
        import jax
        import keras

        keras.utils.set_random_seed(seed)
        model, optimizer = self._made()
        groups = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        state = tuple([variable.value for variable in group] for group in groups)
        kept, best, best_epoch = None, None, 0
        patience, started = self.settings["patience"], time.monotonic()
        for epoch in range(1, self.settings["epochs"] + 1):
            order = np.random.default_rng([seed, epoch]).permutation(len(self.y)).astype("int32")
            state = self._epoch(state, order, self.x, self.y)
            given = self.predicted(state, x)
            right = float((given.argmax(axis=1) == y).mean())
            loss = float(-np.log(np.maximum(given[np.arange(len(y)), y], 1e-7)).mean())
            value = -right if self.settings["monitor"] == "accuracy" else loss
            if best is None or value < best:
                best, best_epoch = value, epoch
                if self.settings["keep"] == "best":
                    kept = jax.tree.map(lambda variable: variable.copy(), state[:2])
            if epoch % 25 == 0:
                print(f"  epoch {epoch}: {loss:.4f}, {right:.4f}", flush=True)
            if time.monotonic() > until:
                return None
            if patience is not None and epoch - best_epoch >= patience:
                break
        last = self.settings["keep"] == "last"
        return (state[:2] if last else kept), {
            "epoch": epoch if last else best_epoch,
            "epochs": epoch,
            "seconds": round(time.monotonic() - started, 1),
        }


def train(folder: Path, out: Path, tasks: list[str], seconds: float) -> None:
    """Train one after the other, and write OUT anew after each: `records`, a JSON text, and the
    test images' probabilities by task."""
    os.environ["KERAS_BACKEND"] = "jax"
    from importlib.metadata import version

    import jax

    until = time.monotonic() + seconds
    records, found, true, loaded = {}, {}, {}, {}
    for task in tasks:
        run, model, seeds = task.split("/")
        if run not in loaded:
            with np.load(folder / f"{run}.npz") as file:
                loaded = {run: {name: file[name] for name in file.files}}
        data = loaded[run]
        spec = json.loads(str(data["specs"]))[model]
        parts = {
            name: (data["x"][data["split"] == name], data["y"][data["split"] == name])
            for name in ("train", "validation", "test")
        }
        true[f"true {run}"] = parts["test"][1]
        trained = Trained(spec, *parts["train"])
        for seed in map(int, seeds.split(",")):
            done = trained.fit(seed, *parts["validation"], until)
            if done is None:
                print(f"{run}/{model}/{seed}: no time left: not run", flush=True)
                return
            state, record = done
            key = f"{run}/{model}/{seed}"
            found[key] = trained.predicted(state, parts["test"][0])
            records[key] = record | {
                "parameters": spec["parameters"],
                "counts": {name: len(part[1]) for name, part in parts.items()},
                "commit": spec["commit"],
                "overrides": [f"seed={seed}", *spec["overrides"]],
                "machine": jax.devices()[0].device_kind,
                "versions": {name: version(name) for name in ("keras", "jax", "numpy")},
            }
            print(key, {k: record[k] for k in ("epoch", "epochs", "seconds")}, flush=True)
            np.savez_compressed(out, records=json.dumps(records), **found, **true)


def keep(outs: list[Path]) -> None:
    """Measure what came back, and write it beside the pipeline's results."""
    from benchmarks.runs import RESULTS
    from thaw.config.base import read_value
    from thaw.config.evaluation import Evaluate
    from thaw.evaluation.metrics import at_half, measure
    from thaw.models.layers import to_probabilities

    bins = read_value(Evaluate, "evaluate", "ece_bins")
    for out in outs:
        with np.load(out) as file:
            given = {name: file[name] for name in file.files}
        for key, record in json.loads(str(given["records"])).items():
            run, model, seed = key.split("/")
            true, said = given[f"true {run}"], to_probabilities(given[key])
            metrics = measure(true, said, bins)
            path = RESULTS / f"{run}-jax-seed{seed}.json"
            content = json.loads(path.read_text()) if path.exists() else {"models": {}}
            content |= {"run": f"{run}-jax", "seed": int(seed)}
            content["models"][model] = {
                "test": {name: metrics[name] for name in ("accuracy", "roc_auc", "log_loss")},
                "at_half": at_half(true, said),
                **record,
            }
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{path.name}: {model} written")


def main() -> None:
    """Pack, train, or keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    packing = steps.add_parser("pack", help="images, networks and settings")
    packing.add_argument("folder", type=Path)
    packing.add_argument("runs", nargs="*", metavar="RUN", default=["fashion_dense"])
    packing.add_argument("-S", action="append", default=[], dest="given", metavar="KEY=VALUE")
    training = steps.add_parser("train", help="on the accelerator")
    training.add_argument("folder", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("tasks", nargs="+", metavar="RUN/MODEL/SEED[,SEED...]")
    training.add_argument("--seconds", type=float, default=1e9, help="what is not done is not run")
    keeping = steps.add_parser("keep", help="into benchmarks/results")
    keeping.add_argument("outs", nargs="+", type=Path, metavar="OUT.npz")
    chosen = parser.parse_args()
    if chosen.step == "pack":
        pack(chosen.folder, chosen.runs, chosen.given)
    elif chosen.step == "train":
        train(chosen.folder, chosen.out, chosen.tasks, chosen.seconds)
    else:
        keep(chosen.outs)


if __name__ == "__main__":
    main()
