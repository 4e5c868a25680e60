"""`thaw help`: print a page of the documentation, or one section of it."""

import argparse
import re
from pathlib import Path

from thaw.config.base import did_you_mean
from thaw.errors import UserError

FOLDERS = (Path(__file__).parents[1] / "docs", Path(__file__).parents[2] / "docs")  # wheel, clone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw help`."""
    parser.description = "Print a page of the documentation. Without PAGE, list all pages."
    parser.add_argument("page", nargs="?", metavar="PAGE", help="such as your-images")
    parser.add_argument("section", nargs="?", metavar="SECTION", help="such as splits")
    parser.set_defaults(run=lambda parsed: show(parsed.page, parsed.section))


def show(page: str | None, section: str | None) -> int:
    """Print a page of the documentation, or the names and titles of all pages.

    Args:
        page: the name of a page; None lists them.
        section: the anchor of a heading; None prints the whole page.

    Returns:
        0, the exit code.

    Raises:
        UserError: there is no such page or section.
    """
    folder = next((each for each in FOLDERS if each.is_dir()), FOLDERS[0])
    pages = {file.stem: file for file in sorted(folder.rglob("*.md"))}
    if page is None:
        width = max(map(len, pages), default=0)
        for name, file in pages.items():
            title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            print(f"thaw help {name.ljust(width)} {title}")
        return 0
    path, _, anchor = page.partition("#")  # also a link of a page, such as how-to/offline.md
    name = path.rpartition("/")[2].removesuffix(".md")
    if name not in pages:
        raise UserError(
            f"there is no page {name!r}.{did_you_mean(name, pages)} Known: {', '.join(pages)}."
        )
    text, section = pages[name].read_text(encoding="utf-8"), section or anchor or None
    print((text if section is None else find_section(text, section)).rstrip())
    return 0


def find_section(text: str, anchor: str) -> str:
    """Return the part of a page below a heading, with the headings that are deeper.

    Args:
        text: of the page, in Markdown.
        anchor: of the heading, as in GitHub's links.

    Raises:
        UserError: the page has no such heading.
    """
    parts = sections(text)
    if anchor not in parts:
        raise UserError(
            f"there is no section {anchor!r}.{did_you_mean(anchor, parts)} "
            f"Known: {', '.join(parts)}."
        )
    return parts[anchor]


def sections(text: str) -> dict[str, str]:
    """Return each section of a page, with its sub-sections, by the anchor of its heading."""
    lines, headings, fenced = text.splitlines(keepends=True), [], False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if not fenced and (match := re.match(r"(#+) (.*)", line)):
            anchor = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
            headings.append((number, len(match[1]), anchor))
    ends = [
        next((other for other, depth, _ in headings[position:] if depth <= own), len(lines))
        for position, (_, own, _) in enumerate(headings, 1)
    ]
    return {
        anchor: "".join(lines[start:end])
        for (start, _, anchor), end in zip(headings, ends, strict=True)
    }
