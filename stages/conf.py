"""Stage conf: check that params.yaml agrees with conf/, before all other stages.

`dvc exp run` composes conf/ into params.yaml, so both agree. `dvc repro` only reads params.yaml,
and would use old values after an edit of conf/ (treeverse/dvc#10750).
"""

from typing import Any

from thaw.composition import SCHEME, compose, conf_digest
from thaw.config.base import read_params
from thaw.config.changes import ABSENT, differences, format_override
from thaw.errors import UserError
from thaw.storage.files import atomic_write

MAX_KEYS = 12  # listed in the message
CONTENT = "params.yaml agrees with conf/\n"  # constant, so that later stages need not run again


def main() -> None:
    """Write data/conf.txt if params.yaml agrees with conf/.

    Overrides by `-S` on top of the present conf/ are allowed.

    Raises:
        UserError: params.yaml was composed from an older conf/, and a value differs. The message
            lists the keys and the commands to choose from.
    """
    parameters = read_params()
    if not isinstance(parameters, dict):
        raise UserError("params.yaml has no parameters. Run `dvc exp run` to compose it again.")
    derived = parameters.get("derived")
    scheme = derived.get("scheme") if isinstance(derived, dict) else None
    if scheme != f"{SCHEME}-{conf_digest()}":
        composed = {**compose(), "derived": derived}
        if changes := differences({**parameters, "derived": derived}, composed):
            raise UserError(_message(changes))
    with atomic_write("data/conf.txt") as part:
        part.write_text(CONTENT)


def _message(changes: list[tuple[str, Any, Any]]) -> str:
    """Return what differs, and how to take conf/ or to keep params.yaml."""
    keys = "; ".join(
        f"{key} is {format_override(old)} there and {format_override(new)} in conf/"
        for key, old, new in changes[:MAX_KEYS]
    )
    more = f" and {len(changes) - MAX_KEYS} more" if len(changes) > MAX_KEYS else ""
    present = [change for change in changes if change[1] is not ABSENT]
    options = [f"-S {key}={format_override(old)}" for key, old, new in present if new is not ABSENT]
    complete = len(options) == len(present) <= MAX_KEYS
    keep = " ".join(options) if complete else "with the -S options of the earlier run"
    other = f" To keep what params.yaml says: dvc exp run {keep}" if present else ""
    return (
        f"conf/ was edited and params.yaml is not what it composes to: {keys}{more}. "
        f"To take conf/: dvc exp run.{other}"
    )
