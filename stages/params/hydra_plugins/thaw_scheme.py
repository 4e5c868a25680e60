"""Hydra finds this file by the plugins path in .dvc/config, each time DVC composes conf/.

It defines `${thaw.scheme:}`, which conf/config.yaml asks for first: to resolve it, all that was
composed is checked. A refusal leaves as SystemExit: DVC and OmegaConf let that pass unchanged, so
the user sees our one line, params.yaml stays as it was and nothing is queued.
"""

import sys
from pathlib import Path

from hydra.core.plugins import Plugins  # noqa: F401  (what marks this file as a plugin's)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

sys.path.insert(0, str(Path(__file__).parents[3]))

from stages.command import Refusal
from stages.params.base import nearest
from stages.params.whole import SCHEME, check_whole


def scheme(*, _root_: DictConfig) -> int:
    """The version of the parameter scheme, once everything composed has passed its check."""
    try:
        for name, finetune in _root_.finetunes.items():
            # before its interpolation through this name fails less clearly
            if finetune.subnet not in _root_.subnets:
                known = ", ".join(_root_.subnets) or "there is none"
                raise Refusal(
                    f"finetunes.{name}.subnet = {finetune.subnet!r}: expected one of the composed "
                    f"subnets ({known}).{nearest(finetune.subnet, _root_.subnets)}"
                )
        rest = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "scheme"])
        if missing := sorted(OmegaConf.missing_keys(rest)):
            raise Refusal(f"{missing[0]} has no default: give it with -S {missing[0]}=VALUE.")
        check_whole({"scheme": SCHEME, **OmegaConf.to_container(rest, resolve=True)})
    except (Refusal, OmegaConfBaseException) as refusal:
        sys.exit(f"thaw: {refusal}")
    return SCHEME


OmegaConf.register_new_resolver("thaw.scheme", scheme, replace=True)
