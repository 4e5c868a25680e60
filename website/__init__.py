"""Builds the documentation site: generated pages, and tests of the commands in the text."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
