"""Differences between two compositions of params.yaml, and values as `-S` takes them."""

import re
import shlex
from typing import Any

ABSENT = object()  # stands for the value of a key that one of two parameter trees lacks
# text that Hydra's override grammar reads as that text without quotes
UNQUOTED = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/][\w./-]*", re.ASCII)


def differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Return the leaves in which two parameter trees differ.

    Returns:
        (key, old value, new value); one of the values is ABSENT if that tree lacks the key.
    """
    changes = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after, name = old.get(key, ABSENT), new.get(key, ABSENT), f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes += differences(before, after, f"{name}.")
        elif before != after:
            changes.append((name, before, after))
    return changes


def format_override(value: Any) -> str:
    """Return a value as a shell command takes it after `-S KEY=`.

    A section is "a section", and an absent value is "absent".
    """
    if value is ABSENT or isinstance(value, dict):
        return "absent" if value is ABSENT else "a section"
    return shlex.quote(_in_hydras_grammar(value))


def _in_hydras_grammar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(_in_hydras_grammar(item) for item in value)}]"
    plain = not isinstance(value, str) or UNQUOTED.fullmatch(value)
    return str(value) if plain else '"' + value.replace('"', '\\"') + '"'
