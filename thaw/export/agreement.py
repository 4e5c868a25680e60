"""Compare an exported model with Keras: its probabilities and its speed."""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image as Pillow

from thaw.errors import UserError
from thaw.export.data import Sample
from thaw.runtime.progress import Progress
from thaw.runtime.tensorflow import thread_count

Network = Callable[[np.ndarray], np.ndarray]  # from uint8 images to probabilities (n, classes)

# Default tolerances. Runtimes add numbers in another order than Keras, which changes the last
# digits.
FLOAT_TOLERANCE = 1e-3  # largest difference of a probability, in float32
INT8_TOLERANCE = 0.02  # largest share of images with another predicted class
RESIZED_IMAGES = 4  # also compared in another size, if the export resizes


class Disagreement(UserError):
    """The exported model's predictions differ too much from the trained model's.

    Attributes:
        comparison: the result of `compare`, or None if it has none.
    """

    comparison: dict[str, Any] | None = None


def compare(
    exported: Network, references: dict[str, Network], takes: str, sample: Sample, batch_size: int
) -> dict[str, Any]:
    """Run the exported model and the references on the same images.

    The models take turns on each batch, so that other load on the machine slows all alike.

    Args:
        exported: reads pictures or pixels, see `takes`.
        references: read pixels. The first is the model that the export should equal.
        takes: the name of the exported model's input.
        sample: the images.
        batch_size: images in a batch. The last batch is padded.

    Returns:
        The content of agreement.json.

    Raises:
        Disagreement: the exported model does not return one finite number for each class.
    """
    networks = {"exported": exported, **references}
    inputs = {name: sample.pixels for name in networks}
    if takes == "pictures":
        inputs["exported"] = to_rgb(sample.pixels)
    batch_size = min(batch_size, len(sample))
    seconds = dict.fromkeys(networks, 0.0)
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in networks}
    for name, network in networks.items():
        network(inputs[name][:batch_size])  # warm-up
    starts = range(0, len(sample), batch_size)
    with Progress("compare", len(sample), log=sys.stderr) as progress:
        for start in starts:
            numbers = np.arange(start, start + batch_size) % len(sample)
            for name, network in networks.items():
                batch = inputs[name][numbers]
                started = time.perf_counter()
                output = network(batch)
                seconds[name] += time.perf_counter() - started
                outputs[name].append(np.asarray(output, "float64"))
            progress.advance(min(batch_size, len(sample) - start))
    probabilities = {n: np.concatenate(rows)[: len(sample)] for n, rows in outputs.items()}
    shape, expected = (probabilities[name].shape for name in ("exported", next(iter(references))))
    speeds = {name: len(starts) * batch_size / spent for name, spent in seconds.items()}
    if not np.isfinite(probabilities["exported"]).all() or shape != expected:
        raise Disagreement(
            f"the exported model returns values of shape {shape} or values that are not finite. "
            f"Expected probabilities of shape {expected}."
        )
    return {
        "images": len(sample),
        "split": sample.split,
        "accuracy": {
            name: float((rows.argmax(1) == sample.labels).mean())
            for name, rows in probabilities.items()
        },
        "against": {
            name: difference(probabilities["exported"], probabilities[name]) for name in references
        },
        "images_per_second": speeds,
        "speed_up": {name: speeds["exported"] / speeds[name] for name in references},
        "batch": batch_size,
        "threads": thread_count(),
    }


def compare_resized(exported: Network, resizing: Network, sample: Sample) -> dict[str, float]:
    """Compare a few images in another size, for an export that resizes.

    Args:
        exported: reads pictures.
        resizing: the Keras model behind the pipeline's resizing, reads pictures.
        sample: the first few images of it are used.

    Returns:
        See `difference`.
    """
    height, width = sample.pixels.shape[1:3]
    pictures = np.stack(
        [
            np.asarray(Pillow.fromarray(pixels).resize((width * 5 // 4, height * 3 // 2)))
            for pixels in to_rgb(sample.pixels[:RESIZED_IMAGES])
        ]
    )
    return difference(np.asarray(exported(pictures)), np.asarray(resizing(pictures)))


def difference(actual: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Return how two arrays of probabilities (n, classes) differ, as agreement.json has it."""
    differences = np.abs(actual - expected)
    return {
        "largest_difference": float(differences.max()),
        "mean_difference": float(differences.mean()),
        "same_class": float((actual.argmax(1) == expected.argmax(1)).mean()),
    }


def check_tolerance(comparison: dict[str, Any], int8: bool, tolerance: float) -> None:
    """Raise an error if the exported model differs too much from the reference.

    Args:
        comparison: the result of `compare`, with `stretched` from `compare_resized` if it resizes.
        int8: whether the exported model computes in int8.
        tolerance: the largest difference of a probability. With int8 the largest share of images
            whose predicted class differs.

    Raises:
        Disagreement: the difference is larger. The export should be discarded.
    """
    reference = next(iter(comparison["against"].values()))
    if int8:
        changed = 1 - reference["same_class"]
        if changed > tolerance:
            raise Disagreement(
                f"the int8 model predicts another class than Keras for {changed:.1%} of "
                f"{comparison['images']} images. The tolerance is {tolerance:.1%}. Calibrate on "
                f"more images (--calibration), or export without --int8."
            )
        return
    compared = {
        f"{comparison['images']} images": reference,
        "images of another size": comparison.get("stretched"),
    }
    for images, result in compared.items():
        if result and not result["largest_difference"] <= tolerance:  # also if it is NaN
            raise Disagreement(
                f"the exported model's probabilities differ from Keras's by up to "
                f"{result['largest_difference']:.2g} on {images}. The tolerance is {tolerance:g}."
            )


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (n, height, width, 1 or 3) as RGB pictures that convert to the same pixels."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
