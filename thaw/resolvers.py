"""Validate what Hydra composes from conf/ before DVC writes params.yaml.

conf/config.yaml contains `${thaw.derived:}`. The resolver of that name validates all parameters and
computes the section `derived`. It raises errors as SystemExit, which DVC and OmegaConf pass on
unchanged: the user sees one line, params.yaml stays as it was and no experiment is queued. Changes
of params.yaml are printed, so that the end of an earlier override is visible.
"""

import sys
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thaw.composition import (
    composing_here,
    derive,
    remove_stale_results,
    validate_composition,
)
from thaw.config.base import did_you_mean, read_params
from thaw.config.changes import differences, format_override
from thaw.config.renamed import renamed
from thaw.errors import UserError
from thaw.storage.dvc import project_root

MOST_CHANGES = 12  # changed parameters that are listed


def register() -> None:
    """Register the resolver, and check the keys of overrides before Hydra applies them."""
    OmegaConf.register_new_resolver("thaw.derived", _derived, replace=True)
    if not hasattr(ConfigLoaderImpl, "thaw"):
        ConfigLoaderImpl.thaw = True  # type: ignore[attr-defined]
        ConfigLoaderImpl._apply_overrides_to_config = _checked_overrides(  # type: ignore[method-assign]
            ConfigLoaderImpl._apply_overrides_to_config
        )


def _derived(*, _root_: DictConfig) -> DictConfig:
    """Return the section `derived`, after all other parameters are validated."""
    root = project_root()
    try:
        if root != Path.cwd():
            raise UserError(f"run this in the project's root folder: cd {root}")
        rest = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "derived"])
        if missing := sorted(OmegaConf.missing_keys(rest)):
            raise UserError(f"{missing[0]} has no default. Set it with -S {missing[0]}=VALUE.")
        values: Any = OmegaConf.to_container(rest, resolve=True)
        validate_composition(values)
        derived = derive(values, root)
    except (UserError, OmegaConfBaseException) as error:
        sys.exit(f"thaw: {error}")
    if not composing_here.get():  # DVC composes
        if not {"--queue", "--temp", "--dry"} & set(sys.argv):  # these change no results here
            remove_stale_results(values, root / "results")
        _print_changes({**values, "derived": derived}, root / "params.yaml")
    return OmegaConf.create(derived)


def _print_changes(values: dict[str, Any], file: Path) -> None:
    """Print how params.yaml will change."""
    if not file.exists():
        return
    try:
        before = read_params(file=file)
    except UserError:
        before = None
    if not isinstance(before, dict):
        print("thaw: params.yaml could not be read and is replaced")
        return
    changes = differences(before, values)
    lines = [
        f"  {key}: {format_override(old)} -> {format_override(new)}" for key, old, new in changes
    ]
    if lines:
        print(f"thaw: params.yaml changes in {len(lines)} places:", *lines[:MOST_CHANGES], sep="\n")
    if len(lines) > MOST_CHANGES:
        print(f"  ... and {len(lines) - MOST_CHANGES} more")


def _checked_overrides(apply: Any) -> Any:
    """Wrap Hydra's method that applies overrides: it refuses unknown keys with one line."""

    def checked(overrides: list[Any], cfg: DictConfig) -> None:
        for override in overrides:
            key = override.key_or_group
            if key.split(".")[0] == "derived":
                sys.exit(
                    f"thaw: {override.input_line}: {key} is computed from the other parameters."
                )
            if override.is_add() or override.is_force_add() or override.is_delete():
                continue
            parent: Any = cfg
            above: list[str] = []
            for part in key.split("."):
                if not isinstance(parent, DictConfig):
                    break
                if part not in list(parent):  # `in` alone is False for a value still missing
                    if message := renamed(key) or renamed(".".join([*above, part])):
                        sys.exit(f"thaw: {override.input_line}: {message}")
                    known = [str(name) for name in parent if name not in ("hydra", "derived")]
                    sys.exit(
                        f"thaw: {override.input_line}: {key} is no parameter."
                        f"{did_you_mean(part, known)} {'.'.join(above) or 'params.yaml'} takes: "
                        f"{', '.join(known)}. An optional parameter takes a plus: -S +KEY=VALUE."
                    )
                parent = parent._get_node(part)
                above.append(part)
        apply(overrides, cfg)

    return staticmethod(checked)
