"""Types of command-line arguments, and arguments that several commands have."""

import argparse
from collections.abc import Callable


def integer(least: int, most: int) -> Callable[[str], int]:
    """Return an argparse type for integers from `least` to `most`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {least} to {most}")
        return int(text)

    return parse


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "expected 0 to 1")


def open_fraction(text: str) -> float:
    """Parse a number between 0 and 1, without these two."""
    return _number(text, lambda value: 0 < value < 1, "expected more than 0 and less than 1")


def _number(text: str, accepts: Callable[[float], bool], expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not accepts(value):
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
    return value


def add_allow(parser: argparse.ArgumentParser) -> None:
    """Add `--allow MODULE:CLASS`, which may be repeated."""
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a class that the model may contain besides Keras's own; keras.layers:Lambda runs "
        "code from the model's file",
    )
