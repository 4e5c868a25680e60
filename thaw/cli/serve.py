"""`thaw serve`: serve a page and an HTTP interface to try a trained model on images."""

import argparse
import importlib.util
import sys
from dataclasses import dataclass

from thaw.cli.arguments import add_allow, integer
from thaw.errors import UserError, exception_hook
from thaw.models.bundle import model_or_best

NEEDED = ("fastapi", "uvicorn", "python_multipart")  # modules of the extra `serve`
LIMITS = (  # option, largest value, default, meaning
    ("--max-bytes", 10**10, 25_000_000, "bytes of a request"),
    ("--max-pixels", 250_000_000, 50_000_000, "pixels of an image"),
    ("--queue", 100_000, 256, "images that may wait"),
    ("--timeout", 86_400, 120, "seconds of a request"),
    ("--batch", 1024, 8, "images in a batch"),
)


@dataclass
class Options:
    """The options of `thaw serve`.

    Attributes:
        model: a name in models/, a model's folder, a packaged .keras file, or None for the model
            that results/best.json names.
        host: the address or name to listen on.
        port: 0 chooses a free one.
        bytes, pixels, queue, seconds: see thaw.serve.app.Limits.
        batch: the largest number of images in a batch.
        allowed: classes that the model may contain, see thaw.models.loading.
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw serve`."""
    parser.description = (
        "Serve one model: a page to drop images on, and POST /predict (documented at /docs)."
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a name in models/, or a packaged .keras; default: the model that "
        "results/best.json names",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=integer(0, 65_535), default=8000, help="default: 8000")
    for option, most, default, meaning in LIMITS:
        parser.add_argument(
            option,
            type=integer(1, most),
            default=default,
            metavar="N",
            help=f"{meaning}; default: {default:,}",
        )
    add_allow(parser)
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    limits = (parsed.max_bytes, parsed.max_pixels, parsed.queue, parsed.timeout, parsed.batch)
    return serve(Options(parsed.model, parsed.host, parsed.port, *limits, tuple(parsed.allow)))


def serve(options: Options) -> int:
    """Load the model, then serve it until Ctrl-C.

    Returns:
        0, the exit code.

    Raises:
        UserError: the extra is not installed, the model cannot be loaded, or the address is in use.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UserError(
            f"serving needs {', '.join(NEEDED)}, and not all are installed: make setup EXTRA=serve."
        )
    from thaw.serve.server import bind, is_loopback, run, server_url

    trained = model_or_best(options.model)
    listening = bind(options.host, options.port)
    sys.excepthook = exception_hook("stopped.")
    local = is_loopback(listening.getsockname()[0])
    if not local:
        print(
            f"thaw: warning: {server_url(listening)} can be reached from other machines, without a "
            f"password.",
            file=sys.stderr,
            flush=True,
        )
    from thaw.serve.app import Limits, create_app
    from thaw.serve.predictor import Predictor

    name = trained.name
    print(f"thaw: loading {name}", flush=True)
    predictor = Predictor(trained, options.allowed, min(options.batch, options.queue))
    if predictor.nearest_images.problem:
        print(
            f"thaw: similar training images are not available: {predictor.nearest_images.problem}.",
            flush=True,
        )
    limits = Limits(options.bytes, options.pixels, options.queue, options.seconds)
    run(
        create_app(name, predictor, limits, local),
        listening,
        f"thaw: serving {name} at {server_url(listening)} (Ctrl-C ends it)",
    )
    return 0
