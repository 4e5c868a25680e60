"""Error messages."""

import errno
import sys

import pytest

from thaw.errors import UserError, bullet_list, exception_hook, printable


def test_twenty_items_are_listed_and_the_others_counted():
    assert bullet_list(["a", "b"]) == "  a\n  b"
    lines = bullet_list([str(n) for n in range(33)]).splitlines()
    assert lines == [*(f"  {n}" for n in range(20)), "  ... and 13 more"]
    assert bullet_list([str(n) for n in range(20)]).splitlines()[-1] == "  19"


def test_control_characters_are_replaced():
    assert printable("rené\u00a0a\x1b[2J\x07.jpg") == "rené\u00a0a?[2J?.jpg"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("seed is missing."), "thaw: seed is missing.\n"),
        (
            OSError(errno.ENOSPC, "No space left", "a.npy"),
            "thaw: the disk has no space left for a.npy. Free some, or set THAW_STORE to another "
            "disk.\n",
        ),
        (MemoryError(), "thaw: memory ran out. Run fewer at once.\n"),
    ],
)
def test_errors_of_the_user_and_the_machine_are_one_message(capsys, error, message):
    exception_hook()(type(error), error, None)
    assert capsys.readouterr().err == message


def test_other_errors_have_a_traceback(capsys):
    try:
        raise ValueError("a bug")
    except ValueError:
        exception_hook()(*sys.exc_info())
    assert "Traceback" in capsys.readouterr().err
