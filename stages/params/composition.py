"""What conf/ composes to, and how that differs from params.yaml."""

import hashlib
import os
import re
import shlex
from pathlib import Path

from stages.command import remove

MODELS = ("details", "metrics", "plots", "predictions", "reports")
DOUBTS = ("doubts", "labels")
"""Folders of results/ that are about a model, and about the data."""
ABSENT = object()
PLAIN = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/][\w./-]*", re.ASCII)
"""Text that Hydra takes for text without quotes."""


def compose(*overrides: str) -> dict:
    """What conf/ composes to, every value resolved and checked."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    import stages.params.hydra_plugins.thaw_scheme  # noqa: F401  (the resolver that conf/ names)

    with initialize_config_dir(os.path.abspath("conf"), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def conf_digest(folder: str | Path = "conf") -> str:
    """Of every file of conf/, names and content: what a params.yaml was composed from."""
    seen = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*.yaml")):
        content = path.read_bytes()
        seen.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return seen.hexdigest()[:12]


def differences(kept: dict, composed: dict, prefix: str = "") -> list[tuple]:
    """The leaves in which two parameter trees differ, as (key, kept, composed), of which one may
    be ABSENT."""
    found = []
    for key in [*kept, *(k for k in composed if k not in kept)]:
        have, now, name = kept.get(key, ABSENT), composed.get(key, ABSENT), f"{prefix}{key}"
        if isinstance(have, dict) and isinstance(now, dict):
            found += differences(have, now, f"{name}.")
        elif have != now:
            found.append((name, have, now))
    return found


def shown(value) -> str:
    """A value as `-S KEY=` takes it in a shell; what is none there, in words."""
    if value is ABSENT or isinstance(value, dict):
        return "absent" if value is ABSENT else "a section"
    return shlex.quote(_overriding(value))


def _overriding(value) -> str:
    """A value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(_overriding(each) for each in value)}]"
    plain = not isinstance(value, str) or PLAIN.fullmatch(value)
    return str(value) if plain else '"' + value.replace('"', '\\"') + '"'


def sweep(values: dict, folder: str | Path = "results") -> None:
    """Remove results of what is no longer composed; DVC forgets them where they lie.

    Args:
        values: all parameters.
        folder: of the results.
    """
    composed = {*values["subnets"], *values["networks"], *values["finetunes"]}
    for kinds, known in ((MODELS, composed), (DOUBTS, values["doubts"])):
        for path in (path for kind in kinds for path in Path(folder, kind).glob("[!.]*")):
            if path.name.removesuffix(".json").removesuffix(".csv") not in known:
                remove(path)
