"""Train many seeds of the presets' networks on an accelerator, with Keras on JAX.

    python -m benchmarks.on_jax pack FOLDER [RUN ...]          pack images, networks and settings
    python -m benchmarks.on_jax train FOLDER OUT.npz TASK ...  on the accelerator
    python -m benchmarks.on_jax record OUT.npz ...             write benchmarks/results

A TASK is RUN/MODEL/SEED[,SEED...]. `pack` and `record` run in this repository. `train` needs only
keras, jax and numpy. An epoch is one XLA program, so that a small network does not wait for Python
between its batches.

The networks are those of the pipeline, by their Keras configuration. Split, batches, optimizer,
patience and the choice of the epoch are those of the preset. Initial weights and the order of
images come from another random generator. Networks with augmented images or a learning rate that
changes are listed and skipped.
"""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np

DENSE = {  # the other networks of the published table of fashion_dense; hours each on two cores
    "dense392x2": {"units": "[392,392]"},
    "dense392_08": {"units": "[392]", "dropout": 0.8},
    "dense392_08_linear": {"units": "[392]", "dropout": 0.8, "activation": "none"},
    "dense392_05": {"units": "[392]"},
    "dense392_05_linear": {"units": "[392]", "activation": "none"},
    "dense784_05": {"units": "[784]"},
}
BATCH = 1000  # images in a batch of predictions


def pack(folder: Path, runs: list[str], extra: list[str]) -> None:
    """Write the data and networks of each run into FOLDER/RUN.npz.

    The file has x (N, height, width, channels) uint8, y (N,) int32, split (N,) str, and `specs`, a
    JSON text of the networks by name.
    """
    from benchmarks.clone import Clone
    from benchmarks.runs import RUNS

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        chosen = [*RUNS[run], *extra]
        for name, settings in DENSE.items() if run == "fashion_dense" else ():
            chosen.append(f"+network@networks.{name}=dense")
            chosen += [f"networks.{name}.{key}={value}" for key, value in settings.items()]
        with tempfile.TemporaryDirectory() as place:
            clone = Clone(Path(place) / "thaw", shared=True)
            clone.dvc("exp", "run", *(part for o in chosen for part in ("-S", o)), "conf")
            clone.dvc("repro", "preprocess", "split")
            os.chdir(clone.folder)
            np.savez_compressed(folder / f"{run}.npz", **_contents(clone, chosen))
            os.chdir(folder)


def _contents(clone, overrides: list[str]) -> dict:
    """Return the arrays of RUN.npz."""
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
            print(f"{name}: skipped: augmented images or a changing learning rate")
            continue
        assert settings.optimizer.name == "adam" and settings.class_weight == "none", name
        assert {term.function for term in settings.losses.values()} == {"cross_entropy"}, name
        built = network_module(settings.family).build(settings, images.shape, len(rows.classes))
        outputs = LossTerms(settings).outputs(built)
        applies = re.compile(rf"(?!(\+.*@)?networks\.(?!{name}[.=]))").match
        specs[name] = {
            "model": keras.Model(built.inputs, outputs).to_json(),
            "parameters": keras.Model(built.inputs, outputs[0]).count_params(),
            "weights": [term.weight for term in settings.losses.values()],
            "settings": settings.model_dump(),
            "commit": clone.commit,
            "overrides": [re.sub(r"=/.*/", "=", o) for o in overrides if applies(o)],
        }
    return {
        "x": images.select(rows.table["pixel_sha256"])[:],
        "y": rows.table["class"].to_numpy("int32"),
        "split": rows.table["split"].to_numpy(str),
        "specs": json.dumps(specs),
    }


class JaxTraining:
    """A network and its compiled training and prediction functions, shared by all seeds.

    Args:
        spec: An entry of the packed `specs`.
        x: Training images (n, height, width, channels), uint8.
        y: Their class numbers (n,), int32.
    """

    def __init__(self, spec: dict, x: np.ndarray, y: np.ndarray):
        import jax
        import jax.numpy as jnp
        import keras

        self.spec, self.settings = spec, spec["settings"]
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        model, optimizer = self._build()
        size = self.settings["batch_size"]

        def loss(trained, other, x, y):
            outputs, other = model.stateless_call(trained, other, x / 255.0, training=True)
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            each = [
                weight * jnp.mean(keras.losses.sparse_categorical_crossentropy(y, probabilities))
                for weight, probabilities in zip(spec["weights"], outputs, strict=True)
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
            full = len(order) // size * size  # images in full batches
            state, _ = jax.lax.scan(
                lambda state, chosen: step(state, chosen, x, y),
                state,
                order[:full].reshape(-1, size),
            )
            return step(state, order[full:], x, y)[0] if full < len(order) else state

        def predict(state, x):
            outputs = model.stateless_call(state[0], state[1], x / 255.0, training=False)[0]
            return outputs[0] if isinstance(outputs, (list, tuple)) else outputs

        self._epoch, self._predict = jax.jit(epoch, donate_argnums=0), jax.jit(predict)

    def _build(self):
        import keras

        model = keras.models.model_from_json(self.spec["model"])
        optimizer = keras.optimizers.Adam(
            self.settings["optimizer"]["learning_rate"],
            epsilon=self.settings["optimizer"]["epsilon"],
        )
        optimizer.build(model.trainable_variables)
        return model, optimizer

    def predict(self, state, x: np.ndarray) -> np.ndarray:
        """Return class probabilities (n, classes), float32."""
        parts = [self._predict(state, x[n : n + BATCH]) for n in range(0, len(x), BATCH)]
        return np.concatenate([np.asarray(part) for part in parts])

    def fit(self, seed: int, x: np.ndarray, y: np.ndarray, until: float):
        """Train with a seed.

        Args:
            seed: The training seed.
            x: Validation images (n, height, width, channels), uint8.
            y: Their class numbers (n,).
            until: The time (time.monotonic) at which to give up.

        Returns:
            The kept weights and a record of the training; None if there was not enough time.
        """
        import jax
        import keras

        keras.utils.set_random_seed(seed)
        model, optimizer = self._build()
        groups = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        state = tuple([variable.value for variable in group] for group in groups)
        kept, best, best_epoch = None, None, 0
        patience, started = self.settings["patience"], time.monotonic()
        for epoch in range(1, self.settings["epochs"] + 1):
            order = np.random.default_rng([seed, epoch]).permutation(len(self.y)).astype("int32")
            state = self._epoch(state, order, self.x, self.y)
            predicted = self.predict(state, x)
            accuracy = float((predicted.argmax(axis=1) == y).mean())
            loss = float(-np.log(np.maximum(predicted[np.arange(len(y)), y], 1e-7)).mean())
            value = -accuracy if self.settings["monitor"] == "accuracy" else loss
            if best is None or value < best:
                best, best_epoch = value, epoch
                if self.settings["keep"] == "best":
                    kept = jax.tree.map(lambda variable: variable.copy(), state[:2])
            if epoch % 25 == 0:
                print(f"  epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}", flush=True)
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
    """Run the tasks one after the other, and write OUT after each.

    OUT has `records`, a JSON text, and the class probabilities of the test images by task.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    from importlib.metadata import version

    import jax

    until = time.monotonic() + seconds
    records, probabilities, true, loaded = {}, {}, {}, {}
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
        training = JaxTraining(spec, *parts["train"])
        for seed in map(int, seeds.split(",")):
            result = training.fit(seed, *parts["validation"], until)
            if result is None:
                print(f"{run}/{model}/{seed}: not run: no time left", flush=True)
                return
            state, record = result
            key = f"{run}/{model}/{seed}"
            probabilities[key] = training.predict(state, parts["test"][0])
            records[key] = record | {
                "parameters": spec["parameters"],
                "counts": {name: len(part[1]) for name, part in parts.items()},
                "commit": spec["commit"],
                "overrides": [f"seed={seed}", *spec["overrides"]],
                "machine": jax.devices()[0].device_kind,
                "versions": {name: version(name) for name in ("keras", "jax", "numpy")},
            }
            print(key, {k: record[k] for k in ("epoch", "epochs", "seconds")}, flush=True)
            np.savez_compressed(out, records=json.dumps(records), **probabilities, **true)


def record(outs: list[Path]) -> None:
    """Compute the metrics of trained networks, and write them beside the pipeline's results."""
    from benchmarks.runs import RESULTS
    from thaw.config.base import read_value
    from thaw.config.evaluation import Evaluate
    from thaw.evaluation.metrics import at_half, measure
    from thaw.models.layers import to_probabilities

    bins = read_value(Evaluate, "evaluate", "ece_bins")
    for out in outs:
        with np.load(out) as file:
            arrays = {name: file[name] for name in file.files}
        for key, details in json.loads(str(arrays["records"])).items():
            run, model, seed = key.split("/")
            true, predicted = arrays[f"true {run}"], to_probabilities(arrays[key])
            metrics = measure(true, predicted, bins)
            path = RESULTS / f"{run}-jax-seed{seed}.json"
            content = json.loads(path.read_text()) if path.exists() else {"models": {}}
            content |= {"run": f"{run}-jax", "seed": int(seed)}
            content["models"][model] = {
                "test": {name: metrics[name] for name in ("accuracy", "roc_auc", "log_loss")},
                "at_half": at_half(true, predicted),
                **details,
            }
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{path.name}: {model} written")


def main() -> None:
    """Pack, train or record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    packing = steps.add_parser("pack", help="pack images, networks and settings")
    packing.add_argument("folder", type=Path)
    packing.add_argument("runs", nargs="*", metavar="RUN", default=["fashion_dense"])
    packing.add_argument("-S", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    training = steps.add_parser("train", help="train on the accelerator")
    training.add_argument("folder", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("tasks", nargs="+", metavar="RUN/MODEL/SEED[,SEED...]")
    training.add_argument(
        "--seconds", type=float, default=1e9, help="time limit; later tasks do not run"
    )
    recording = steps.add_parser("record", help="write benchmarks/results")
    recording.add_argument("outs", nargs="+", type=Path, metavar="OUT.npz")
    chosen = parser.parse_args()
    if chosen.step == "pack":
        pack(chosen.folder, chosen.runs, chosen.overrides)
    elif chosen.step == "train":
        train(chosen.folder, chosen.out, chosen.tasks, chosen.seconds)
    else:
        record(chosen.outs)


if __name__ == "__main__":
    main()
