"""The repository of the command tests, whose models are packaged."""

from tests.thaw.cli.conftest import repository

__all__ = ["repository"]
