"""Run the tutorials and write what their commands print: `python -m website.tutorials [PAGE...]`.

Each block of commands is followed by its output, between OUTPUT. The blocks of a page run one after
another in an empty folder, from the second on in the project that the first one creates.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from website import ROOT
from website.commands_in_text import run

FOLDER = "docs/tutorials"
OUTPUT = "<!-- output -->", "<!-- /output -->"
BLOCK = re.compile(
    rf"```console\n(?P<commands>.*?)^```\n(?:\n{OUTPUT[0]}\n.*?{OUTPUT[1]}\n)?",
    re.MULTILINE | re.DOTALL,
)
MOST_LINES = 14  # of an output; the middle of a longer one is left out


def tutorials() -> list[str]:
    """Return the tutorials, relative to the repository."""
    return sorted(f"{FOLDER}/{path.name}" for path in (ROOT / FOLDER).glob("*.md"))


def with_outputs(text: str, folder: Path) -> str:
    """Return a tutorial with what its commands print, run in an empty folder.

    Raises:
        AssertionError: a command failed.
    """

    def parts() -> Iterator[str]:
        end = 0
        for match in BLOCK.finditer(text):
            project = next(folder.glob("*/dvc.yaml"), folder / "none").parent
            printed = run(match["commands"], project if project.exists() else folder, 1800)
            yield text[end : match.start()] + f"```console\n{match['commands']}```\n"
            if printed.strip():
                shown = "\n".join(_shortened(printed.replace(str(folder), "~").strip("\n")))
                yield f"\n{OUTPUT[0]}\n```text\n{shown}\n```\n{OUTPUT[1]}\n"
            end = match.end()
        yield text[end:]

    return "".join(parts())


def _shortened(printed: str) -> list[str]:
    lines = [line.rstrip() for line in printed.splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES // 2 : len(lines) - MOST_LINES // 2] = ["..."]
    return lines


def main() -> None:
    """Write the outputs into the tutorials."""
    for page in sys.argv[1:] or tutorials():
        with tempfile.TemporaryDirectory() as temporary:
            text = with_outputs((ROOT / page).read_text(encoding="utf-8"), Path(temporary))
        (ROOT / page).write_text(text, encoding="utf-8")
        print(page, flush=True)


if __name__ == "__main__":
    main()
