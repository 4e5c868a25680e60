"""`thaw`: the commands beside the pipeline. See `thaw --help`."""

import argparse
import os
import sys

from thaw.errors import UserError, exception_hook

UNREADABLE = 3
"""The exit code where all was done, but some files could not be read."""

EXPORTS = ("onnx", "openvino", "savedmodel", "tflite")


def main() -> int:
    """The command line's command; gives the exit code."""
    sys.excepthook = exception_hook("interrupted.")
    try:
        return command(sys.argv[1:])
    except UserError as refusal:
        raise UserError(f"{refusal} (See `thaw {sys.argv[1]} --help`.)") from None


def command(arguments: list[str]) -> int:
    """Run one command and give its exit code: 0, 3 where files could not be read, 4 where artifacts
    differ, 5 where an export does not agree with its model.

    Raises:
        UserError: what was given cannot be used, or a file cannot be written.
    """
    given = _parser().parse_args(arguments)
    if sys.stdout is None:  # closed, as by >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no UTF-8
    try:
        code = given.run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `thaw predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        raise UserError(f"{error.filename or 'the output'}: {error.strerror or error}.") from None
    return code


EXAMPLES = f"""\
from images to an answer:
  thaw new cells --images ~/photos           a repository of your own for a folder of images
  dvc repro                                  run what is new: features, training, evaluation
  dvc exp run -S subnets.fc256.dropout=0.3   one change: runs what depends on it
  thaw report                                what came out, as one page: report/index.html
  thaw predict finetuned ~/new --csv         new images
  thaw serve finetuned                       a local page to drop images on
  thaw package finetuned cells.keras         the model as one file; thaw export for other runtimes

Training is DVC's: dvc repro, dvc exp run, dvc metrics diff, dvc push. `thaw COMMAND --help` says
more, and README.md: "Your own images", "See and use it", "How the cache thinks", "Sharing".

exit codes: 1 refused, 2 wrong arguments, {UNREADABLE} done but some files could not be read,
4 artifacts differ, 5 an export disagrees, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "thaw",
        description="Transfer learning on images: the commands beside DVC's.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new = commands.add_parser("new", help="a repository of your own for a folder of images")
    new.description = (
        "Makes DIR a git and DVC repository with the pipeline and its parameters, in which the "
        "images are the data: ready for `dvc repro`, or `make repro`."
    )
    new.add_argument("dir", metavar="DIR", help="a new folder")
    new.add_argument(
        "--images",
        required=True,
        metavar="PATH",
        help="a folder or archive with a sub-folder for each class, or train/ and test/ of such",
    )
    new.set_defaults(run=_new)

    classify = commands.add_parser("classify", help="name what is in pictures, by ImageNet")
    classify.description = "The classes of ImageNet that a network of keras.applications sees."
    classify.add_argument("images", nargs="+", metavar="IMAGE", help="a picture or a folder")
    classify.add_argument("--backbone", default="vgg16", metavar="NAME", help="default: vgg16")
    classify.add_argument("--top", type=_count, default=3, metavar="N", help="default: 3")
    classify.add_argument("--json", action="store_true", help="one object a line")
    classify.set_defaults(run=_classify)

    predict = commands.add_parser("predict", help="a trained model on new pictures")
    predict.description = "The classes of new pictures, by a model that the pipeline trained."
    predict.add_argument("model", metavar="MODEL", help="a name in models/, or a packaged .keras")
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="a table")
    form.add_argument("--json", dest="form", action="store_const", const="json", help="a line each")
    predict.add_argument("--out", metavar="FILE", help="write there; default: to the terminal")
    predict.add_argument(
        "--threshold",
        type=_between,
        metavar="T",
        help="of two classes answer the second, positive one where its probability is T or more; "
        "default: the likelier. Choose T on validation data; the report's slider shows what it "
        "costs",
    )
    _allowing(predict)
    predict.set_defaults(run=_predict)

    package = commands.add_parser("package", help="a trained model as one file of its own")
    package.description = (
        "One file that keras.saving.load_model reads without Thaw: from uint8 RGB pictures of any "
        "size (batch, height, width, 3) to the probabilities of the classes. Bring pictures of 16 "
        "bits to 8 first, by their upper 8 as `thaw predict` does."
    )
    package.add_argument("model", metavar="MODEL", help="a name in models/")
    package.add_argument("out", metavar="OUT.keras")
    _allowing(package)
    package.set_defaults(run=_package)

    export = commands.add_parser("export", help="a trained model for another runtime, checked")
    export.description = (
        "A folder with the model in another format, a model card, and how its answers and its "
        "speed compare with Keras on validation images. What disagrees is not written."
    )
    export.add_argument("model", metavar="MODEL", help="a name in models/")
    export.add_argument("--to", required=True, choices=EXPORTS, help="the format")
    export.add_argument("--int8", action="store_true", help="sums of int8: smaller and faster")
    export.add_argument(
        "--out",
        metavar="FOLDER",
        help="default: exports/MODEL-FORMAT, or exports/MODEL-FORMAT-int8",
    )
    export.add_argument(
        "--check", type=_many, default=200, metavar="N", help="images compared; default: 200"
    )
    export.add_argument(
        "--calibration",
        type=_many,
        default=200,
        metavar="N",
        help="training images that give int8 its scales; default: 200",
    )
    export.add_argument(
        "--tolerance",
        type=_share,
        metavar="T",
        help="largest difference of a probability (default: 0.001); with --int8 largest share of "
        "images that get another class (default: 0.02)",
    )
    _allowing(export)
    export.set_defaults(run=_export)

    report = commands.add_parser("report", help="a page of the results, report/index.html")
    report.description = (
        "One file that opens without network: results, gallery, data and how they came about."
    )
    report.add_argument(
        "--since",
        metavar="TIME",
        help="stages logged from then on are shown as run, others as kept",
    )
    report.set_defaults(run=_report)

    _add_serve(commands)

    verify = commands.add_parser("verify", help="run the pipeline anew and compare with dvc.lock")
    verify.description = (
        "Runs the last commit in a temporary clone with an empty cache, and says which artifacts "
        "are not the bytes that dvc.lock records. Takes as long as the first run."
    )
    verify.add_argument("stages", nargs="*", metavar="STAGE", help="as for dvc repro; default: all")
    verify.set_defaults(run=_verify)
    return parser


def _add_serve(commands) -> None:
    serve = commands.add_parser("serve", help="a local page to try a model on your images")
    serve.description = (
        "A page to drop images on, and POST /predict beside it (documented at /docs), for one "
        "model."
    )
    serve.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a name in models/, or a packaged .keras; default: the one that the report puts first",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    serve.add_argument("--port", type=_up_to(65_535, 0), default=8000, help="default: 8000; 0: any")
    for option, most, value, what in (
        ("--max-bytes", 10**10, 25_000_000, "bytes of a request"),
        ("--max-pixels", 250_000_000, 50_000_000, "pixels of an image"),
        ("--queue", 100_000, 256, "images that may wait"),
        ("--timeout", 86_400, 120, "seconds of a request"),
        ("--batch", 1024, 8, "images the model is given at once"),
    ):
        text = f"{what}; default: {value:,}"
        serve.add_argument(option, type=_up_to(most), default=value, metavar="N", help=text)
    _allowing(serve)
    serve.set_defaults(run=_serve)


def _up_to(most: int, least: int = 1):
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {least} to {most}")
        return int(text)

    return number


def _allowing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a class that the model may have besides Keras's own; keras.layers:Lambda runs code "
        "that the file brings",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 1000")
    return int(text)


def _many(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 1,000,000")
    return int(text)


def _between(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected more than 0 and less than 1")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 0 to 1")
    return value


# Each command is imported when it runs: `thaw --help` waits for nobody.


def _new(given: argparse.Namespace) -> int:
    from thaw.cli.new import new

    return new(given.dir, given.images)


def _classify(given: argparse.Namespace) -> int:
    from thaw.cli.classify import classify

    return UNREADABLE if classify(given.images, given.backbone, given.top, given.json) else 0


def _predict(given: argparse.Namespace) -> int:
    from thaw.cli.predict import predict

    allowed = tuple(given.allow)
    found = predict(given.model, given.images, given.form, given.out, allowed, given.threshold)
    return UNREADABLE if found else 0


def _package(given: argparse.Namespace) -> int:
    from thaw.cli.package import package

    return package(given.model, given.out, tuple(given.allow))


def _serve(given: argparse.Namespace) -> int:
    from thaw.cli.serve import Chosen, serve

    limits = (given.max_bytes, given.max_pixels, given.queue, given.timeout, given.batch)
    return serve(Chosen(given.model, given.host, given.port, *limits, tuple(given.allow)))


def _export(given: argparse.Namespace) -> int:
    from thaw.cli.export import run

    return run(
        given.model,
        given.to,
        given.out,
        given.int8,
        given.check,
        given.calibration,
        given.tolerance,
        tuple(given.allow),
    )


def _verify(given: argparse.Namespace) -> int:
    from thaw.cli.verify import verify

    return verify(given.stages)


def _report(given: argparse.Namespace) -> int:
    from thaw.cli.report import report

    return report(given.since)


if __name__ == "__main__":
    sys.exit(main())
