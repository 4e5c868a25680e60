"""The command line `thaw`. See `thaw --help`."""

import argparse
import importlib
import os
import sys
from typing import Any

from thaw.errors import UserError, exception_hook

COMMANDS = {  # each is a module of thaw.cli, imported only when it runs: `thaw --help` is quick
    "new": "create a project for a folder of images",
    "upgrade": "move a project to another version of Thaw",
    "status": "list the stages that `dvc repro` would run, and why",
    "classify": "classify images with an ImageNet network",
    "predict": "classify images with a trained model",
    "package": "write a trained model as one file",
    "export": "convert a trained model for another runtime and check it",
    "report": "write the results as one page, report/index.html",
    "serve": "open a local page to try a model on your images",
    "spread": "run experiments on a Ray cluster",
    "help": "print a page of the documentation",
    "verify": "run the pipeline again and compare with dvc.lock",
}
EXAMPLES = """\
from images to predictions:
  thaw new cells --images ~/photos                create a project for a folder of images
  make repro                                      set up its environment and run the pipeline
  dvc exp run -S subnets.lite0_gap256.dropout=0.3 change one parameter, run what depends on it
  thaw report                                     write the results as report/index.html
  thaw predict ~/new --csv                        classify new images with the best model
  thaw predict vgg16_gap256 ~/new --csv           the same with another model
  thaw serve                                      open a local page to drop images on
  thaw package cells.keras                        write the best model as one file

The best model is the one in results/best.json, selected by validation data.

DVC runs and shares the pipeline: dvc repro, dvc exp run, dvc metrics diff, dvc push. For the
arguments of a command see `thaw COMMAND --help`; `thaw help` lists the pages that explain the rest.

exit codes: 0 success, 1 error, 2 wrong arguments, 3 some files could not be read, 4 artifacts
differ, 5 an exported model disagrees with Keras, 130 interrupted."""


def main() -> int:
    """Run the command of the command line and return its exit code."""
    sys.excepthook = exception_hook("interrupted.")
    try:
        return command(sys.argv[1:])
    except UserError as error:
        raise UserError(f"{error} (See `thaw {sys.argv[1]} --help`.)") from None


def command(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: the name of the command and its arguments.

    Returns:
        The exit code: 0, or 3 if files could not be read, 4 if artifacts differ, 5 if an exported
        model disagrees with its original.

    Raises:
        UserError: an argument cannot be used, or a file cannot be written.
    """
    parsed = _parser(arguments[0] if arguments else "").parse_args(arguments)
    if sys.stdout is None:  # closed, as by >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr] # non-UTF-8 names
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `thaw predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        raise UserError(f"{error.filename or 'the output'}: {error.strerror or error}.") from None
    return code


def _parser(chosen: str) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the arguments of the one that is chosen."""
    parser = argparse.ArgumentParser(
        "thaw",
        description="Transfer learning on images: the commands that complement DVC's.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=IntermixedParser
    )
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary)
        if name == chosen:
            _add_arguments(name, subparser)
    return parser


def command_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command, which has its arguments."""
    parser = IntermixedParser(f"thaw {name}")
    _add_arguments(name, parser)
    return parser


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    importlib.import_module(f"thaw.cli.{name}").add_arguments(parser)


class IntermixedParser(argparse.ArgumentParser):
    """A parser that takes positional arguments together, wherever options stand between them.

    Otherwise `thaw predict NAME --json IMAGES` would fail since NAME is optional.
    """

    _started = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `parse_known_intermixed_args`, which itself calls this method."""
        if self._started:
            return super().parse_known_args(args, namespace)
        self._started = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._started = False


if __name__ == "__main__":
    sys.exit(main())
