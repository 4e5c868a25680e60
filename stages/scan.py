"""Stage scan: list the user's image files, so that stage download runs again when one changes.

This stage runs at every `dvc repro`. If the images are not on this machine, as in another user's
clone, it restores the inventory that dvc.lock records. Then no later stage runs again.
"""

from typing import Any

from thaw.config.base import read_params
from thaw.data.inventory import INVENTORY, SourceNotHere, matches_inventory, write_inventory
from thaw.data.registry import source_module, validate_source
from thaw.storage.addresses import Unreachable
from thaw.storage.dvc import recorded_params, user_path
from thaw.storage.files import atomic_write
from thaw.storage.recovery import read_or_fetch_recorded


def main(name: str) -> None:
    """Write data/inventory.csv: path, size in bytes and SHA-256 of every file to read.

    Args:
        name: NAME of this stage in dvc.yaml, scan@NAME.
    """
    source: Any = validate_source(read_params("dataset", "source"))
    try:
        files = source_module(source.kind).files(source)
    except SourceNotHere as error:
        stage = f"scan@{name}"
        recorded = recorded_params(stage).get("dataset.source", {})
        if any(recorded.get(key) != getattr(source, key, None) for key in ("path", "images")):
            raise
        inventory = read_or_fetch_recorded(INVENTORY, stage)
        if inventory is None or not matches_inventory(error.here, inventory):
            raise
        with atomic_write(INVENTORY) as part:
            part.write_bytes(inventory)
        reason = f"{source.path} is not on this machine."
        if isinstance(error.__cause__, Unreachable):
            reason = str(error)
        print(f"{reason}\nUsing the inventory that dvc.lock records.")
        return
    write_inventory(files, user_path(source.path), source.path, INVENTORY)
