"""`runtime`: where a frozen network is run over the images. No artifact depends on it."""

import importlib.util
from typing import Annotated, Literal

from pydantic import Field

from stages.command import Refusal
from stages.params.base import Section, check, nearest, read

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


def runtime(values) -> Local | Ray:
    """`runtime`, checked as the kind that it names.

    Raises:
        Refusal: there is no such kind, it is not installed, or a value is not what it declares.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refusal(
            f"runtime.kind = {kind!r}: expected one of {', '.join(KINDS)}.{nearest(kind, KINDS)}"
        )
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise Refusal(
            "runtime.kind = 'ray': Ray is not installed. Install it by pip install -e '.[ray]', or "
            "choose runtime=local, which makes the same files."
        )
    return check(KINDS[kind], values, "runtime")


def chosen() -> Local | Ray:
    """What params.yaml says. No stage of dvc.yaml names it among its parameters, so that another
    choice reruns nothing."""
    return runtime(read("runtime"))
