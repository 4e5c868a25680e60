"""`runtime`: where a frozen network is run over the images. No artifact depends on it."""

import importlib.util
from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section, did_you_mean, read_params, validate
from thaw.errors import UserError

Count = Annotated[int, Field(ge=1, le=10_000)]


class Local(Section):
    """In the stage's own process."""

    kind: Literal["local"]


class Ray(Section):
    """In worker processes of a Ray cluster."""

    kind: Literal["ray"]
    address: Annotated[str, Field(pattern=r"^[^:/\s]+:[0-9]{1,5}$")] | None
    """HOST:PORT of a cluster that this machine is a node of; none: one is started on this machine,
    and ended with the stage."""
    workers: Count | None
    """Processes, each of which loads the network once; none: as many as the cores allow."""
    threads: Count
    """Of each worker's arithmetic, and so the cores that Ray sets aside for it."""


KINDS = {"local": Local, "ray": Ray}


def validate_runtime(values) -> Local | Ray:
    """`runtime`, checked as the kind that it names.

    Raises:
        UserError: there is no such kind, it is not installed, or a value is not what it declares.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"runtime.kind = {kind!r}: expected one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}"
        )
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError(
            "runtime.kind = 'ray': Ray is not installed. Install it by pip install -e '.[ray]', or "
            "choose runtime=local, which makes the same files."
        )
    return validate(KINDS[kind], values, "runtime")


def selected_runtime() -> Local | Ray:
    """What params.yaml says. No stage of dvc.yaml names it among its parameters, so that another
    choice reruns nothing."""
    return validate_runtime(read_params("runtime"))
