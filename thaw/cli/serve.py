"""`thaw serve`: a page and an HTTP interface to try a trained model on images."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from thaw.errors import UserError, exception_hook
from thaw.models.bundle import MODELS, ModelBundle, find_model

NEEDED = ("fastapi", "uvicorn", "python_multipart")


@dataclass
class Chosen:
    """What the command line says.

    Attributes:
        model: a name in models/, a model's folder, a packaged .keras file, or none.
        bytes, pixels, queue, seconds: as thaw.serve.app.Limits.
        batch: images of a pass.
        allowed: classes that the model may have, see thaw.models.loading.
    """

    model: str | None
    host: str
    port: int
    bytes: int
    pixels: int
    queue: int
    seconds: float
    batch: int
    allowed: tuple[str, ...]


def serve(chosen: Chosen) -> int:
    """Load the model, then listen until Ctrl-C.

    Raises:
        UserError: the extra is not installed, the model cannot be loaded, or the address is taken.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UserError(
            f"serving needs {', '.join(NEEDED)}, and not all are installed: make setup EXTRA=serve."
        )
    from thaw.serve.server import bound, is_loopback, run, url

    trained, why = _model(chosen.model)
    listening = bound(chosen.host, chosen.port)
    sys.excepthook = exception_hook("stopped.")
    local = is_loopback(listening.getsockname()[0])
    if not local:
        print(
            f"thaw: warning: {url(listening)} can be reached from other machines, and asks nobody "
            f"for a password.",
            file=sys.stderr,
            flush=True,
        )
    from thaw.serve.app import Limits, application
    from thaw.serve.network import Predictor

    name = trained.path.resolve().name.removesuffix(".keras")
    print(f"thaw: loading {name}{why}", flush=True)
    served = Predictor(trained, chosen.allowed, min(chosen.batch, chosen.queue))
    if served.neighbours.problem:
        print(f"thaw: without similar training images: {served.neighbours.problem}.", flush=True)
    limits = Limits(chosen.bytes, chosen.pixels, chosen.queue, chosen.seconds)
    run(
        application(name, served, limits, local),
        listening,
        f"thaw: serving {name} at {url(listening)} (Ctrl-C ends it)",
    )
    return 0


def _model(given: str | None) -> tuple[ModelBundle, str]:
    """The model that is meant, and why it, where nobody named one."""
    if given is not None:
        return find_model(given), ""
    known = sorted(record.parent.name for record in MODELS.glob("*/record.json"))
    if len(known) == 1:
        return find_model(known[0]), ", the only model here"
    if not known:
        find_model("MODEL")
    from thaw.report import results
    from thaw.report.page import leading

    try:
        if not Path("params.yaml").exists():
            raise UserError("there is no params.yaml.")
        best, why = leading(results.find_results())
    except UserError:
        raise UserError(
            f"which model? models/ has {', '.join(known)}, and no results are here to choose by: "
            f"thaw serve {known[0]}."
        ) from None
    return find_model(best.name), f". {why}"
