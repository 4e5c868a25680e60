"""Find the fonts of this machine that have the characters of a figure's texts."""

import logging
from collections.abc import Iterable

from matplotlib import font_manager, rcParams
from matplotlib.ft2font import FT2Font

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font without bold is fine
LAST_RESORT = "Last Resort"  # a font of matplotlib that has a box for every character


def missing_characters(texts: Iterable[str]) -> set[str]:
    """Return the characters that matplotlib's own font lacks."""
    return {c for text in texts for c in text if c >= " "} - _characters(
        font_manager.findfont(font_manager.FontProperties())
    )


def fallback_fonts(missing: set[str]) -> tuple[list[str], set[str]]:
    """Return the fonts that have characters which matplotlib's own font lacks.

    Args:
        missing: The characters, as `missing_characters` returns them.

    Returns:
        The names of fonts for `font.family`, the default first, and the characters that none has.
    """
    families = list(rcParams["font.family"])
    if not missing:
        return families, missing
    found: dict[str, set[str]] = {}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.fname):
        if entry.style == "normal" and LAST_RESORT not in entry.name:
            found[entry.name] = found.get(entry.name, set()) | (_characters(entry.fname) & missing)
    while missing and found:
        best = max(found, key=lambda name: len(found[name] & missing))
        if not found[best] & missing:
            break
        families.append(best)
        missing = missing - found.pop(best)
    return families, missing


def without(text: str, characters: set[str]) -> str:
    """Return a text without some characters."""
    return "".join(c for c in text if c not in characters).strip()


def _characters(file: str) -> set[str]:
    try:
        return set(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):  # a font that matplotlib cannot draw, such as colour emoji
        return set()
