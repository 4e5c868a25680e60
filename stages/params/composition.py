"""What conf/ composes to, and how that differs from params.yaml."""

import os


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


def shown(value) -> str:
    """A value as `-S KEY=` takes it."""
    if value is None:
        return "null"
    return "a section" if isinstance(value, dict) else str(value).replace(" ", "")
