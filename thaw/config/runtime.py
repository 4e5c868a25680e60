"""`runtime`: the machines that run a frozen network. No artifact depends on it."""

import importlib.util
from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.base import Section, did_you_mean, read_params, validate
from thaw.errors import UserError

Count = Annotated[int, Field(ge=1, le=10_000)]


class Local(Section):
    """Run in the stage's own process."""

    kind: Literal["local"]
    """The kind of runtime."""


class Ray(Section):
    """Run in worker processes of a Ray cluster."""

    kind: Literal["ray"]
    """The kind of runtime."""
    address: Annotated[str, Field(pattern=r"^[^:/\s]+:[0-9]{1,5}$")] | None
    """HOST:PORT of a cluster that this machine is a node of; null: start one on this machine and
    stop it with the stage."""
    workers: Count | None
    """Worker processes, each of which loads the network once; null: as many as the cores allow."""
    threads: Count
    """Threads of each worker, and so the cores that Ray reserves for it."""


KINDS: dict[str, type[Local] | type[Ray]] = {"local": Local, "ray": Ray}


def validate_runtime(values: Any) -> Local | Ray:
    """Return `runtime`, validated as the kind that it names.

    Raises:
        UserError: the kind is unknown or not installed, or a value is invalid.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"runtime.kind = {kind!r}: expected one of {', '.join(KINDS)}."
            f"{did_you_mean(kind, KINDS)}"
        )
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError(
            "runtime.kind = 'ray': Ray is not installed. Install it by pip install -e '.[ray]', or "
            "choose runtime=local, which makes the same files."
        )
    return validate(KINDS[kind], values, "runtime")


def selected_runtime() -> Local | Ray:
    """Return the runtime of params.yaml.

    No stage of dvc.yaml lists it as a parameter, so another runtime reruns nothing.
    """
    return validate_runtime(read_params("runtime"))
