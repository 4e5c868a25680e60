"""Hydra finds this file by the plugins path in .dvc/config, each time DVC composes conf/.

It defines `${thaw.scheme:}`, which conf/config.yaml asks for first: to resolve it, all that was
composed is checked. A refusal leaves as SystemExit: DVC and OmegaConf let that pass unchanged, so
the user sees our one line, params.yaml stays as it was and nothing is queued. What is about to
change in params.yaml is told, so that an override of an earlier run never ends unnoticed.
"""

import sys
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins  # noqa: F401  (what marks this file as a plugin's)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

ROOT = Path(__file__).parents[3]
MOST = 12
"""Changed parameters that are listed."""


def scheme(*, _root_: DictConfig) -> str:
    """The version of the parameter scheme and the digest of conf/, once everything composed has
    passed its check."""
    _importable()
    from stages.command import Refusal
    from stages.params.base import nearest
    from stages.params.composition import conf_digest, sweep
    from stages.params.whole import SCHEME, check_whole

    try:
        subnets = _root_.subnets or {}
        for name, finetune in (_root_.finetunes or {}).items():
            # before its interpolation through this name fails less clearly
            if isinstance(finetune, DictConfig) and finetune.subnet not in subnets:
                known = ", ".join(subnets) or "there is none"
                raise Refusal(
                    f"finetunes.{name}.subnet = {finetune.subnet!r}: expected one of the composed "
                    f"subnets ({known}).{nearest(finetune.subnet, subnets)}"
                )
        rest = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "scheme"])
        if missing := sorted(OmegaConf.missing_keys(rest)):
            raise Refusal(f"{missing[0]} has no default: give it with -S {missing[0]}=VALUE.")
        value = f"{SCHEME}-{conf_digest(ROOT / 'conf')}"
        values = {"scheme": value, **OmegaConf.to_container(rest, resolve=True)}
        check_whole(values)
    except (Refusal, OmegaConfBaseException) as refusal:
        sys.exit(f"thaw: {refusal}")
    if __name__.startswith("hydra_plugins"):  # found by Hydra for DVC
        if not {"--queue", "--temp", "--dry"} & set(sys.argv):  # those leave this work tree alone
            sweep(values, ROOT / "results")
        _tell(values)
    return value


def _importable() -> None:
    """DVC's process knows nothing of this repository."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def _tell(values: dict) -> None:
    from stages.command import Refusal
    from stages.params.base import read
    from stages.params.composition import differences, shown

    file = ROOT / "params.yaml"
    if not file.exists():
        return
    try:
        before = read(file=file)
    except Refusal:
        before = None
    if not isinstance(before, dict):
        print("thaw: params.yaml could not be read and is composed anew")
        return
    changed = differences(before, values)
    lines = [f"  {key}: {shown(old)} -> {shown(new)}" for key, old, new in changed]
    if lines:
        print(f"thaw: params.yaml changes in {len(lines)} places:", *lines[:MOST], sep="\n")
    if len(lines) > MOST:
        print(f"  ... and {len(lines) - MOST} more")


def _named(apply):
    """Hydra's own step that applies `-S KEY=VALUE`, but an unknown key ends in our one line: with
    the nearest key instead of the advice to add it."""

    def applied(overrides, cfg) -> None:
        for override in overrides:
            key = override.key_or_group
            if override.is_add() or override.is_force_add() or override.is_delete():
                continue
            parent, above = cfg, []
            for part in key.split("."):
                if not isinstance(parent, DictConfig):
                    break
                if part not in list(parent):  # `in` alone is False for a value still missing
                    _importable()
                    from stages.params.base import nearest

                    sys.exit(
                        f"thaw: {override.input_line}: {key} is no parameter."
                        f"{nearest(part, parent)} {'.'.join(above) or 'params.yaml'} takes: "
                        f"{', '.join(str(name) for name in parent if name != 'hydra')}."
                    )
                parent = parent._get_node(part)
                above.append(part)
        apply(overrides, cfg)

    return staticmethod(applied)


if not hasattr(ConfigLoaderImpl, "thaw"):  # once, though Hydra and we import this file
    ConfigLoaderImpl.thaw = True
    ConfigLoaderImpl._apply_overrides_to_config = _named(
        ConfigLoaderImpl._apply_overrides_to_config
    )
OmegaConf.register_new_resolver("thaw.scheme", scheme, replace=True)
