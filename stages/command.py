"""How a stage starts, refuses and leaves its files: whole or not at all."""

import contextlib
import os
import shutil
import sys
import uuid
from pathlib import Path


class Refusal(Exception):
    """Something the user gave cannot be used. Its text is the whole message the user sees:
    what was given, what was expected and what to do."""


def naming(offenders: list[str], most: int = 20) -> str:
    """The offenders as an indented list: the first `most`, then how many more."""
    lines = [f"  {offender}" for offender in offenders[:most]]
    if len(offenders) > most:
        lines.append(f"  ... and {len(offenders) - most} more")
    return "\n".join(lines)


def run(stage) -> None:
    """Call `stage` with the command line's arguments, and end the process."""
    stage(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if _is_stage and "tensorflow" in sys.modules:
        os._exit(0)  # all is on disk, and TensorFlow takes a second to take itself apart


def ends(interrupted: str):
    """An excepthook by which a refusal or Ctrl-C, wherever it comes, ends in one message and a
    non-zero exit.

    Args:
        interrupted: what is said after Ctrl-C.
    """

    def end(kind, error, trace) -> None:
        if issubclass(kind, Refusal):
            sys.stderr.write(f"thaw: {error}\n")
        elif issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"\nthaw: {interrupted}\n")
            sys.stderr.flush()
            os._exit(130)  # TensorFlow's threads would hold an ordinary exit for seconds
        else:
            sys.__excepthook__(kind, error, trace)

    return end


_spec = getattr(sys.modules["__main__"], "__spec__", None)
_is_stage = _spec is not None and _spec.name.startswith("stages.")
if _is_stage:
    # from the first import on; nobody else's process is touched
    sys.excepthook = ends(
        "interrupted. What was finished is kept; the same command goes on from there."
    )


@contextlib.contextmanager
def whole(path: str | Path, shared: bool = False):
    """Give a path to write a file or a folder to, and move it to `path` once all went well.

    What is written is on disk before it gets its name; after a failure nothing is left.

    Args:
        shared: other processes may write the same path at the same time, as in the store.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part" if shared else f"{path.name}.part")
    remove(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        for file in [part] if part.is_file() else part.rglob("*"):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.fsync(opened.fileno())
        if path.is_dir() or part.is_dir():
            remove(path)
        os.replace(part, path)
    except BaseException:
        remove(part)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
