"""Export a trained model to a folder: convert it, run it, compare it with Keras, describe it."""

import importlib
import json
import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from thaw.errors import UserError
from thaw.export.labels import LABELS, labels_text
from thaw.models.bundle import ModelBundle
from thaw.storage.files import atomic_write

# Each format is a module of this package. It needs these modules, which the extra of its name
# installs.
FORMATS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "tf2onnx"),
    "openvino": ("openvino", "nncf"),
    "savedmodel": (),
    "tflite": ("ai_edge_litert",),
}
AGREEMENT, CARD = "agreement.json", "README.md"


def format_module(form: str, int8: bool) -> ModuleType:
    """Return the module of this package that writes a format. All have the same three names.

    FILE: the file or folder that `write` creates.

    write(job): write FILE into the job's folder, with the names of the classes in its metadata.
    Return the name of the exported model's input, uint8: "pictures", RGB images (batch, height,
    width, 3) of any size, or "pixels" (batch, height, width, channels).

    runtime(folder, takes, threads): return a function that runs the exported model, from uint8
    images (batch, height, width, channels) to probabilities (batch, classes), float32. `takes` is
    what `write` returned, `threads` the number of threads.

    Args:
        form: a key of FORMATS.
        int8: whether the model shall compute in int8.

    Returns:
        The module.

    Raises:
        UserError: the format's extra is not installed, or the format does not support int8.
    """
    if int8 and form == "savedmodel":
        raise UserError(
            "--int8: a SavedModel does not support int8. Choose --to tflite, onnx or openvino, or "
            "omit --int8."
        )
    if missing := [module for module in FORMATS[form] if not find_spec(module)]:
        raise UserError(
            f"--to {form} needs {' and '.join(missing)}, not installed here. Run "
            f"make setup EXTRA={form}"
        )
    return importlib.import_module(f"thaw.export.{form}")


def check_output_folder(out: Path, identity: dict[str, Any]) -> None:
    """Check that `out` does not exist or is an earlier export of the same model and format.

    Args:
        out: the folder to write.
        identity: values that the agreement.json of an earlier export must have.

    Raises:
        UserError: writing it would delete something else.
    """
    if out.name in ("", ".."):
        raise UserError(f"--out {out}: expected the name of a folder to write.")
    files = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if files and AGREEMENT not in files:
        raise UserError(
            f"--out {out}: the folder exists and is not an export. Choose another name."
        )
    models = {importlib.import_module(f"thaw.export.{form}").FILE for form in FORMATS}
    # OpenVINO's weights are in model.bin
    if added := sorted(files - models - {AGREEMENT, CARD, LABELS, "model.bin"}):
        raise UserError(
            f"--out {out}: the folder has other files than an export, for example {added[0]}. They "
            f"would be deleted. Choose another name."
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file. Expected the name of a folder to write.")
    if files and (other := _other_export(out / AGREEMENT, identity)):
        raise UserError(f"--out {out} has an export of {other}. Choose another name, or remove it.")


def _other_export(agreement: Path, identity: dict[str, Any]) -> str | None:
    """Return what an earlier export contains, or None if it has the same identity."""
    try:
        values = json.loads(agreement.read_bytes())
        if {key: values[key] for key in identity} == identity:
            return None
        return f"{values['model']} to {values['format']}{' in int8' if values['int8'] else ''}"
    except (OSError, ValueError, LookupError, TypeError):
        return f"an unknown model (its {AGREEMENT} is damaged)"


def export(
    bundle: ModelBundle,
    form: str,
    out: Path,
    int8: bool,
    check: int,
    calibration: int,
    tolerance: float | None,
    allowed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Write the folder `out`: the model, README.md (the model card), labels.txt (the names of the
    classes, one a line) and agreement.json.

    The folder appears only if everything succeeds.

    Args:
        bundle: the trained model.
        form: a key of FORMATS.
        out: the folder to write.
        int8: compute in int8.
        check: the largest number of images to compare.
        calibration: the number of training images from which the scales of int8 are computed.
        tolerance: see thaw.export.agreement.check_tolerance. None for its default.
        allowed: classes that the model may have, see thaw.models.loading.

    Returns:
        The content of agreement.json.

    Raises:
        UserError: an input is missing, or `out` contains something else.
        thaw.export.agreement.Disagreement: the exported model's predictions differ too much. The
            exception's `comparison` is the content of agreement.json.
    """
    converter = format_module(form, int8)
    identity = {"model": bundle.path.resolve().name, "format": form, "int8": int8}
    check_output_folder(out, identity)
    from thaw.export import agreement
    from thaw.export.card import render_card
    from thaw.export.data import ExportData
    from thaw.export.job import Job

    data = ExportData(bundle)  # raises errors before the slow part begins
    sample = data.check_sample(check)
    calibration_sample = data.sample("train", calibration) if int8 else None

    from thaw.export.float32 import assemble_in_float32, precision, with_resizing
    from thaw.export.quiet import silence_output
    from thaw.models.assembly import assemble
    from thaw.runtime.tensorflow import thread_count

    if tolerance is None:
        tolerance = agreement.INT8_TOLERANCE if int8 else agreement.FLOAT_TOLERANCE
    model = assemble_in_float32(bundle, allowed)
    references = {"Keras in float32": model.predict_on_batch}
    trained_model = assemble(bundle, allowed)
    if precision(trained_model) != "float32":
        name = f"Keras in {precision(trained_model)}, as trained"
        references[name] = trained_model.predict_on_batch
    with atomic_write(out, shared=True) as part:  # NAME.part may be the user's
        part.mkdir()
        try:
            with silence_output():
                pixels = None if calibration_sample is None else calibration_sample.pixels
                takes = converter.write(Job(model, bundle.image, bundle.classes, part, pixels))
                run = converter.runtime(part, takes, thread_count())
        except (OSError, MemoryError):
            raise
        except Exception as error:  # converters raise nearly everything on unsupported models
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{bundle.path} cannot be exported to {form}: {reason:.300}. Try another format."
            ) from error
        result = agreement.compare(run, references, takes, sample, bundle.batch_size)
        if takes == "pictures":
            resizing = with_resizing(model, bundle.image).predict_on_batch
            result["stretched"] = agreement.compare_resized(run, resizing, sample)
        result |= {
            **identity,
            "takes": takes,
            "tolerance": tolerance,
            "calibration": 0 if calibration_sample is None else len(calibration_sample),
            "megabytes": {"exported": megabytes(part), "trained": _trained_megabytes(bundle)},
            "versions": _versions(form),
            "processor": platform.machine(),
        }
        try:
            agreement.check_tolerance(result, int8, tolerance)
        except agreement.Disagreement as disagreement:
            disagreement.comparison = result
            raise
        (part / LABELS).write_text(labels_text(bundle.classes), "utf-8")
        (part / AGREEMENT).write_text(json.dumps(result, indent=1) + "\n")
        card = render_card(bundle, form, converter.FILE, takes, data, result)
        (part / CARD).write_text(card, "utf-8")
    return result


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.path.getsize(file) for file in files) / 1e6


def _trained_megabytes(bundle: ModelBundle) -> float:
    """Return the size of the trained model and of its backbone's weights, if it has one."""
    files = [*bundle.path.glob("model.*"), *filter(None, [bundle.weights])]
    return sum(map(megabytes, files))


def _versions(form: str) -> dict[str, str]:
    packages = ["keras", *(module.replace("_", "-") for module in FORMATS[form])]
    return {package: version(package) for package in packages}
