"""Stage conf: params.yaml agrees with conf/. It runs when conf/ was edited, before all others.

`dvc exp run` composes conf/ into params.yaml and so agrees at once; `dvc repro` takes params.yaml
as it stands, and would quietly train on what conf/ said before (treeverse/dvc#10750).
"""

from thaw.composition import ABSENT, SCHEME, compose, conf_digest, differences, format_override
from thaw.config.base import read_params
from thaw.errors import UserError
from thaw.storage.files import atomic_write

MOST = 12
"""Keys that are named."""
SAYS = "params.yaml agrees with conf/\n"


def main() -> None:
    """Write data/conf.txt, always the same, or stop.

    Raises:
        UserError: params.yaml was composed from another conf/, and a value differs; names the keys
            and what to run. Overrides by `-S` on top of this conf/ are the user's own.
    """
    kept = read_params()
    if not isinstance(kept, dict):
        raise UserError("params.yaml holds no parameters. `dvc exp run` composes it anew.")
    derived = kept.pop("derived", None)
    scheme = derived.get("scheme") if isinstance(derived, dict) else None
    if scheme != f"{SCHEME}-{conf_digest()}":
        composed = compose()
        del composed["derived"]
        if differing := differences(kept, composed):
            keys = "; ".join(
                f"{key} is {format_override(have)} there and {format_override(now)} in conf/"
                for key, have, now in differing[:MOST]
            )
            more = f" and {len(differing) - MOST} more" if len(differing) > MOST else ""
            old = [each for each in differing if each[1] is not ABSENT]
            values = [
                f"-S {key}={format_override(have)}" for key, have, now in old if now is not ABSENT
            ]
            choices = "with the -S choices it was made with"
            keep = " ".join(values) if len(values) == len(old) <= MOST else choices
            other = f" To keep what params.yaml says: dvc exp run {keep}" if old else ""
            raise UserError(
                f"conf/ was edited and params.yaml is not what it composes to: {keys}{more}. "
                f"To take conf/: dvc exp run.{other}"
            )
    with atomic_write("data/conf.txt") as part:
        part.write_text(SAYS)
