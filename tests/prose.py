"""Check the project's prose: phrases that need translating, and names that no longer exist.

`python -m tests.prose` lists each line that has one; `make lint` runs it.
"""

import re
import subprocess
import sys

from tests.conftest import ROOT

PHRASES = re.compile(
    r"\banew\b|held against|\b(is|are|was|were) told\b|\btold of\b|of one.s own|\bwhat only\b"
    r"|as they came|\bmakes of\b|\bcomes? about\b|\bat hand\b|\bmend(ed|s)?\b|\d a second\b"
    r"|\bthere twice\b|\bis no parameter of\b",
    re.IGNORECASE,
)
DOCSTRING = re.compile(r'^\s*"""(Of|That|What|Such|None)\b')
OLD_NAMES = re.compile(
    r"\bRefusals?\b|\bdataset\.(limit|positive|symmetries|image\.bits)\b"
    r"|finetunes\.\w+\.(through|views|fresh|average_flips|features)\b"
    r"|stages[./](commands|exports|images|networks|params|report|results|serve|sources|training)\b"
    r"|\bdoubts?[@.]|evaluate_(subnet|network|finetuned)\b|\bloss_file=",
)
ENDINGS = (
    ".py",
    ".md",
    ".yaml",
    ".html",
    ".js",
    ".css",
    ".toml",
    ".cff",
    "Makefile",
    ".mk",
    "/run",
)
EXCEPT = {  # they name what was renamed
    "CHANGELOG.md",
    "docs/upgrading.md",
    "tests/prose.py",
    "tests/thaw/cli/test_upgrade.py",
    "tests/thaw/config/test_renamed.py",
    "tests/thaw/models/test_bundle.py",
    "tests/thaw/test_composition.py",
    "tests/thaw/test_resolvers.py",
    "thaw/config/renamed.py",
}


def findings(path: str, text: str) -> list[str]:
    """Return the lines of a file that need another wording, each with its place."""
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if PHRASES.search(line) or DOCSTRING.search(line) or OLD_NAMES.search(line)
    ]


def main() -> int:
    """Print what needs another wording in every file of the project, and return 1 if anything."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    found = [
        finding
        for path in listed
        if path.endswith(ENDINGS) and path not in EXCEPT and (ROOT / path).is_file()
        for finding in findings(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    print("\n".join(found))
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
