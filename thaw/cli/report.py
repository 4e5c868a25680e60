"""`thaw report`: one page that shows what a run gave, for people without DVC."""

from datetime import datetime
from pathlib import Path

from thaw.errors import UserError
from thaw.report.page import page
from thaw.report.results import find_results
from thaw.storage.files import atomic_write

FILE = Path("report/index.html")


def report(since: str | None) -> int:
    """Write report/index.html and say so.

    Args:
        since: ISO 8601; stages that the run log has from then on count as run, all others as
            unchanged or taken from the cache.

    Raises:
        UserError: there are no results, or `since` is no time.
    """
    if since is not None:
        try:
            datetime.fromisoformat(since)
        except ValueError:
            raise UserError(
                f"--since {since}: expected a time such as 2026-05-01T12:00:00Z."
            ) from None
    found = find_results()
    for model in found.models:
        if model.problem:
            print(f"thaw: {model.name}: {model.problem}.")
    text = page(found, since)
    with atomic_write(FILE) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{FILE}: {len(text.encode()) / 1e6:.1f} MB")
    return 0
