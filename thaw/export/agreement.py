"""An exported model held against Keras, in answers and in speed."""

import os
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow

from thaw.errors import UserError
from thaw.export.data import Sample
from thaw.runtime.progress import Progress

Network = Callable[[np.ndarray], np.ndarray]
"""From uint8 pixels or pictures to probabilities (n, classes)."""

FLOAT = 1e-3
"""Largest difference of a probability from Keras in float32; sums are taken in another order."""
INT8 = 0.02
"""Largest share of images that get another class."""
STRETCHED = 4
"""Images that are also shown in another size, where the export resizes."""


class Disagreement(UserError):
    """An exported model that does not say what the trained one says.

    Attributes:
        found: what `compare` found, where it came to that.
    """

    found: dict | None = None


def threads() -> int:
    """As many as Keras has: params.yaml's, or one a core."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def compare(
    exported: Network, references: dict[str, Network], takes: str, drawn: Sample, at_once: int
) -> dict:
    """Run all on the same images, one after the other on each batch, so that what else the machine
    does slows all alike.

    Args:
        exported: takes pictures or pixels, as `takes` says.
        references: take pixels; the first is what the export should equal.
        at_once: images a pass, the last one filled up.

    Returns:
        What was found, for agreement.json.

    Raises:
        Disagreement: what the export gives are no probabilities.
    """
    networks = {"exported": exported, **references}
    given = {name: drawn.pixels for name in networks}
    if takes == "pictures":
        given["exported"] = coloured(drawn.pixels)
    at_once = min(at_once, len(drawn))
    seconds, answers = dict.fromkeys(networks, 0.0), {name: [] for name in networks}
    for name, network in networks.items():
        network(given[name][:at_once])  # prepares
    passes = range(0, len(drawn), at_once)
    with Progress("compare", len(drawn), log=sys.stderr) as progress:
        for start in passes:
            places = np.arange(start, start + at_once) % len(drawn)
            for name, network in networks.items():
                batch = given[name][places]
                started = time.perf_counter()
                answer = network(batch)
                seconds[name] += time.perf_counter() - started
                answers[name].append(np.asarray(answer, "float64"))
            progress.advance(min(at_once, len(drawn) - start))
    said = {name: np.concatenate(some)[: len(drawn)] for name, some in answers.items()}
    first = next(iter(references))
    speeds = {name: len(passes) * at_once / spent for name, spent in seconds.items()}
    if not np.isfinite(said["exported"]).all() or said["exported"].shape != said[first].shape:
        raise Disagreement(
            f"the exported model gives values of shape {said['exported'].shape}, not all of them "
            f"numbers or not as many as Keras, {said[first].shape}."
        )
    found = {
        "images": len(drawn),
        "split": drawn.split,
        "accuracy": {n: float((p.argmax(1) == drawn.labels).mean()) for n, p in said.items()},
        "against": {name: between(said["exported"], said[name]) for name in references},
        "images_per_second": speeds,
        "speed_up": {name: speeds["exported"] / speeds[name] for name in references},
        "batch": at_once,
        "threads": threads(),
    }
    return found


def stretched(exported: Network, resizing: Network, drawn: Sample) -> dict:
    """The same for a few pictures in another size, where the export resizes.

    Args:
        resizing: Keras behind the pipeline's resizing, takes pictures.
    """
    size = drawn.pixels.shape[1]
    pictures = np.stack(
        [
            np.asarray(Pillow.fromarray(pixels).resize((size * 5 // 4, size * 3 // 2)))
            for pixels in coloured(drawn.pixels[:STRETCHED])
        ]
    )
    return between(np.asarray(exported(pictures)), np.asarray(resizing(pictures)))


def between(given: np.ndarray, expected: np.ndarray) -> dict:
    """How two answers (n, classes) differ."""
    apart = np.abs(given - expected)
    return {
        "largest_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "same_class": float((given.argmax(1) == expected.argmax(1)).mean()),
    }


def judge(found: dict, int8: bool, tolerance: float) -> None:
    """Hold what `compare` found against the tolerance.

    Raises:
        Disagreement: it is beyond; nothing should be kept.
    """
    apart = next(iter(found["against"].values()))
    if int8:
        other = 1 - apart["same_class"]
        if other > tolerance:
            raise Disagreement(
                f"the int8 model gives {other:.1%} of {found['images']} images another class than "
                f"Keras, and {tolerance:.1%} are tolerated. Calibrate on more images "
                f"(--calibration), or export without --int8."
            )
        return
    places = {f"{found['images']} images": apart, "images of another size": found.get("stretched")}
    for where, apart in places.items():
        if apart and not apart["largest_difference"] <= tolerance:  # nor is what is no number
            raise Disagreement(
                f"the exported model's probabilities differ from Keras's by up to "
                f"{apart['largest_difference']:.2g} on {where}, and {tolerance:g} is tolerated."
            )


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Pixels (n, size, size, 1 or 3) as RGB pictures that become the same pixels again."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
