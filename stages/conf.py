"""Stage conf: params.yaml agrees with conf/. It runs when conf/ was edited, before all others.

`dvc exp run` composes conf/ into params.yaml and so agrees at once; `dvc repro` takes params.yaml
as it stands, and would quietly train on what conf/ said before (treeverse/dvc#10750).
"""

import os
from pathlib import Path

import yaml

from stages.command import Refusal, run, whole

SAYS = "params.yaml agrees with conf/\n"


def main() -> None:
    """Write data/conf.txt, always the same, or stop.

    Raises:
        Refusal: outside of `dvc exp run` the two differ; names the keys and what to run.
    """
    if "DVC_EXP_NAME" not in os.environ:
        kept = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        if differing := differences(kept, compose()):
            keys = "; ".join(
                f"{key} is {_shown(have)} there and {_shown(now)} in conf/"
                for key, have, now in differing
            )
            keep = " ".join(
                f"-S {key}={_shown(have)}" for key, have, now in differing if now is not None
            )
            raise Refusal(
                f"conf/ was edited and params.yaml is not what it composes to: {keys}. "
                f"To take conf/: dvc exp run. To keep all of params.yaml's: dvc exp run {keep}"
            )
    with whole("data/conf.txt") as part:
        part.write_text(SAYS)


def compose(*overrides: str) -> dict:
    """What conf/ composes to, every value resolved and checked."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    import stages.params.hydra_plugins.thaw_scheme  # noqa: F401  (the resolver that conf/ names)

    with initialize_config_dir(os.path.abspath("conf"), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def differences(kept: dict, composed: dict, prefix: str = "") -> list[tuple]:
    """The leaves in which two parameter trees differ, as (key, kept, composed); None: absent."""
    found = []
    for key in [*kept, *(k for k in composed if k not in kept)]:
        have, now, name = kept.get(key), composed.get(key), f"{prefix}{key}"
        if isinstance(have, dict) and isinstance(now, dict):
            found += differences(have, now, f"{name}.")
        elif have != now:
            found.append((name, have, now))
    return found


def _shown(value) -> str:
    if value is None:
        return "null"
    return "a section" if isinstance(value, dict) else str(value).replace(" ", "")


if __name__ == "__main__":
    run(main)
