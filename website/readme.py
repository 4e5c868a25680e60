"""Write the output of `dvc metrics show` into README.md: `python -m website.readme`."""

import subprocess
import sys

from website import ROOT

MARKS = "<!-- metrics -->", "<!-- /metrics -->"


def main() -> None:
    """Replace the block between MARKS."""
    readme = ROOT / "README.md"
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "show"], cwd=ROOT, capture_output=True, text=True
    )
    text = "\n".join(line.rstrip() for line in shown.stdout.splitlines())
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    block = f"{MARKS[0]}\n```text\n{text}\n```\n{MARKS[1]}"
    readme.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    main()
