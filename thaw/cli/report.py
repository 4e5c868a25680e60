"""`thaw report`: write the results of a run as one page, for readers without DVC."""

import argparse
import os
import traceback
from datetime import datetime
from pathlib import Path

from thaw.errors import UserError, printable
from thaw.report.answer import find_answer
from thaw.report.page import page
from thaw.report.run_results import find_results
from thaw.storage.dvc import modified_file
from thaw.storage.files import atomic_write

FILE = Path("report/index.html")
ACTIVATE = ".venv/bin/activate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw report`."""
    parser.description = (
        "Write one HTML file that opens without network: the results, example images, the data "
        "and how the results were produced."
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="show stages that ran since this time as run, and others as cached",
    )
    parser.set_defaults(run=lambda arguments: report(arguments.since))


def report(since: str | None) -> int:
    """Write report/index.html and print a summary of five lines.

    Args:
        since: ISO 8601; the page shows stages that were logged since then as run, all others as
            unchanged or cached.

    Returns:
        0, the exit code.

    Raises:
        UserError: there are no results, or `since` is no time.
    """
    if since is not None:
        try:
            datetime.fromisoformat(since)
        except ValueError:
            raise UserError(
                f"--since {since}: expected a time such as 2026-05-01T12:00:00Z."
            ) from None
    try:
        results = find_results()
        answer = find_answer(results)
        text = page(results, answer, since)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # damaged files raise nearly everything
        raise _unreadable(error) from error
    for name, problem in results.problems.items():
        print(f"thaw: {name}: {problem}.")
    with atomic_write(FILE) as part:
        part.write_text(text, encoding="utf-8")
    step, effect = answer.next_step
    for line in answer.lines():
        print(printable(line))
    print(f"Report:         {FILE} ({len(text.encode()) / 1e6:.1f} MB)")
    print(f"Next:           {_activation()}{step}    # {effect}")
    return 0


def _activation() -> str:
    """Return what a shell runs before a command if no environment is active, as by `make`."""
    inactive = "VIRTUAL_ENV" not in os.environ and Path(ACTIVATE).exists()
    return f"source {ACTIVATE} && " if inactive else ""


def _unreadable(error: Exception) -> UserError:
    """Return the error that names the damaged file, or says that no file is damaged."""
    if damage := modified_file():
        return UserError(damage)
    *_, frame = traceback.extract_tb(error.__traceback__)
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return UserError(
        f"the results cannot be shown ({reason}; {Path(frame.filename).name}:{frame.lineno}), "
        f"though no file differs from dvc.lock. Another version of Thaw may have written them: run "
        f"`dvc repro`, then `thaw report`. If the error stays, please report it."
    )
