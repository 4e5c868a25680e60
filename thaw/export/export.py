"""An export from the trained model to a folder: written, run, compared, described."""

import importlib
import json
import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from thaw.errors import UserError
from thaw.models.bundle import ModelBundle
from thaw.storage.files import atomic_write

FORMATS = {
    "onnx": ("onnxruntime", "tf2onnx"),
    "openvino": ("openvino", "nncf"),
    "savedmodel": (),
    "tflite": ("ai_edge_litert",),
}
"""Each is a file of this room, and needs these modules, which the extra of its name installs."""
AGREEMENT, CARD = "agreement.json", "README.md"


def writer(form: str, int8: bool) -> ModuleType:
    """The file of this room for a format.

    Raises:
        UserError: its extra is not installed, or there is no such int8.
    """
    if int8 and form == "savedmodel":
        raise UserError(
            "--int8: a SavedModel has none. Choose --to tflite, onnx or openvino for int8, or "
            "leave --int8 out."
        )
    if missing := [module for module in FORMATS[form] if not find_spec(module)]:
        raise UserError(
            f"--to {form} needs {' and '.join(missing)}, not installed here: "
            f"make setup EXTRA={form}"
        )
    return importlib.import_module(f"thaw.export.{form}")


def free(out: Path, same: dict) -> None:
    """Refuse a place where something else stands than an earlier such export.

    Args:
        same: what its agreement.json has to say.
    """
    if out.name in ("", ".."):
        raise UserError(f"--out {out}: expected the name of a folder to write.")
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if held and AGREEMENT not in held:
        raise UserError(
            f"--out {out}: there is a folder already, and no earlier export: choose another name."
        )
    models = {importlib.import_module(f"thaw.export.{form}").FILE for form in FORMATS}
    if added := sorted(held - models - {AGREEMENT, CARD, "model.bin"}):  # OpenVINO's weights
        raise UserError(
            f"--out {out}: the export there has files beside it, as {added[0]}, which would be "
            f"lost: choose another name."
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: expected the name of a folder to write, and it is a file.")
    if held and (other := _other(out / AGREEMENT, same)):
        raise UserError(
            f"--out {out}: the export of {other} is there: choose another name, or remove it."
        )


def _other(agreement: Path, same: dict) -> str | None:
    """What an earlier export is of, where it is not the same."""
    try:
        held = json.loads(agreement.read_bytes())
        if {key: held[key] for key in same} == same:
            return None
        return f"{held['model']} to {held['format']}{' in int8' if held['int8'] else ''}"
    except (OSError, ValueError, LookupError, TypeError):
        return f"something that its {AGREEMENT} does not tell"


def export(
    trained: ModelBundle,
    form: str,
    out: Path,
    int8: bool,
    check: int,
    calibration: int,
    tolerance: float | None,
    allowed: tuple[str, ...] = (),
) -> dict:
    """Write the folder `out`: the model, README.md (its card) and agreement.json, which is also
    given back. It appears once all went well.

    Args:
        form: of FORMATS.
        check: at most so many images are compared.
        calibration: so many training images give int8 its scales.
        tolerance: see thaw.export.agreement; none: its default.

    Raises:
        UserError: something it needs is not there.
        thaw.export.agreement.Disagreement: the exported model does not say what Keras says. Its
            attribute `found` is what would have been given back.
    """
    made = writer(form, int8)
    what = {"model": trained.path.resolve().name, "format": form, "int8": int8}
    free(out, what)
    from thaw.export import agreement
    from thaw.export.card import card
    from thaw.export.data import Data

    data = Data(trained)  # refused before anything slow begins
    drawn = data.check(check)
    scales = data.drawn("train", calibration) if int8 else None

    from thaw.export.float32 import in_float32, of_pictures, precision
    from thaw.export.quiet import quiet
    from thaw.models.assembly import assemble

    if tolerance is None:
        tolerance = agreement.INT8 if int8 else agreement.FLOAT
    plain = in_float32(trained, allowed)
    references = {"Keras in float32": plain.predict_on_batch}
    trained_model = assemble(trained, allowed)
    if precision(trained_model) != "float32":
        name = f"Keras in {precision(trained_model)}, as trained"
        references[name] = trained_model.predict_on_batch
    with atomic_write(out, shared=True) as part:  # NAME.part may be the user's
        part.mkdir()
        try:
            with quiet():
                takes = made.write(plain, trained.image, part, scales.pixels if int8 else None)
                run = made.runtime(part, takes, agreement.threads())
        except (OSError, MemoryError):
            raise
        except Exception as error:  # converters raise nearly everything on what they do not know
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{trained.path} cannot be exported to {form}: {reason:.300}. Another "
                f"format may do."
            ) from error
        found = agreement.compare(run, references, takes, drawn, trained.batch_size)
        if takes == "pictures":
            resizing = of_pictures(plain, trained.image).predict_on_batch
            found["stretched"] = agreement.stretched(run, resizing, drawn)
        found |= {
            **what,
            "takes": takes,
            "tolerance": tolerance,
            "calibration": len(scales) if int8 else 0,
            "megabytes": {"exported": megabytes(part), "trained": _trained(trained)},
            "versions": _versions(form),
            "processor": platform.machine(),
        }
        try:
            agreement.judge(found, int8, tolerance)
        except agreement.Disagreement as disagreement:
            disagreement.found = found
            raise
        (part / AGREEMENT).write_text(json.dumps(found, indent=1) + "\n")
        (part / CARD).write_text(card(trained, form, made.FILE, takes, data, found), "utf-8")
    return found


def megabytes(place: Path) -> float:
    """The size of a file, or of all files in a folder."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(os.path.getsize(path) for path in files) / 1e6


def _trained(trained: ModelBundle) -> float:
    """The trained model and, where it reads features, the backbone that makes them."""
    files = [path for path in trained.path.glob("model.*")]
    return sum(map(megabytes, [*files, *filter(None, [trained.weights])]))


def _versions(form: str) -> dict[str, str]:
    packages = ["keras", *(module.replace("_", "-") for module in FORMATS[form])]
    return {package: version(package) for package in packages}
