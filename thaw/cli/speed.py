"""Measure how fast this machine runs the backbones of params.yaml, once for each machine.

`python -m thaw.cli.speed` measures all of them and prints the seconds for an image as JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params
from thaw.config.dataset import height_width
from thaw.report.history import machine
from thaw.storage.files import atomic_write

IMAGES = 8  # in a batch: few, so that a slow network is measured in a second
SECONDS = 1.0  # of measurement for each backbone, after a batch that starts the engine
TIMEOUT_SECONDS = 240  # without a result there is no estimate


def backbone_seconds() -> dict[str, float]:
    """Return the seconds that each backbone of params.yaml takes for an image on this machine.

    They are kept in the user's cache folder. Backbones that are not in it are measured, which
    takes about ten seconds.

    Returns:
        Seconds by the backbone's name; empty if the measurement fails.
    """
    cache = _cache_file()
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(cache.read_text(encoding="utf-8"))
    keys = {name: _key(values) for name, values in (read_params("backbones") or {}).items()}
    if missing := [name for name, key in keys.items() if key not in known]:
        print(f"measuring the speed of {' and '.join(missing)}, once for each machine", flush=True)
        command = [sys.executable, "-m", "thaw.cli.speed", *missing]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
            measured = json.loads(done.stdout.splitlines()[-1])
        except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            return {}
        known |= {keys[name]: seconds for name, seconds in measured.items()}
        with contextlib.suppress(OSError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(cache) as part:
                part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return {name: known[key] for name, key in keys.items() if key in known}


def _cache_file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder, "thaw", "speeds.json").expanduser()


def _key(backbone: dict[str, Any]) -> str:
    """Return what decides on the speed: the network, its input and the machine."""
    names = ("application", "engine", "precision")
    parts = [str(backbone.get(name, "")) for name in names]
    parts += [str(height_width(read_params("dataset", "image", "size")))]
    parts += [f"{package} {version(package)}" for package in ("keras", "openvino")]
    return ", ".join([*parts, dict(machine())["processor"]])


def measure(name: str) -> float:
    """Return the seconds that a backbone of params.yaml takes for an image, with random weights."""
    from thaw.models.backbones.applications import build_application, named_tensors
    from thaw.models.backbones.frozen import FrozenBackbone
    from thaw.runtime.tensorflow import tf, thread_count
    from thaw.storage.npz import save_npz

    backbone = load_section(Backbone, "backbones", name)
    height, width = height_width(read_params("dataset", "image", "size"))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.npz")
        save_npz(weights, named_tensors(build_application(backbone.application, (height, width))))
        frozen = FrozenBackbone(backbone, weights, (height, width, 3), thaw_from=None)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, height, width, 3), "uint8")
    frozen.apply(pixels)
    started, used, batches = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - started) < SECONDS:
        frozen.apply(pixels)
        batches += 1
    if not tf.config.list_physical_devices("GPU"):  # what it takes if nothing else runs
        elapsed = min(elapsed, (time.process_time() - used) / thread_count())
    return elapsed / (batches * IMAGES)


if __name__ == "__main__":
    print(json.dumps({name: measure(name) for name in sys.argv[1:]}), flush=True)
    os._exit(0)  # a normal exit takes another second, for TensorFlow to release its memory
