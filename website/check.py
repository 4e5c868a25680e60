"""Check the built site: `python -m website.check FOLDER`.

No page may load anything from another server, and every page must have a title and a heading.
"""

import re
import sys
from pathlib import Path

# what a browser loads by itself; a link (`<a href>`) is followed only by a click
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?(?:https?:)?//[^\"' >]*"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|icon|preconnect|modulepreload))"
    r"[^>]*?\bhref=[\"']?(?:https?:)?//[^\"' >]*",
    re.IGNORECASE,
)
IN_STYLE = re.compile(r"(?:@import\s+|url\()\s*[\"']?(?:https?:)?//[^\"')]*", re.IGNORECASE)


def problems(site: Path) -> list[str]:
    """Return what a page or a stylesheet loads from another server, and pages without a heading."""
    found = []
    for file in sorted(site.rglob("*")):
        if file.suffix not in (".html", ".css"):
            continue
        text = file.read_text(encoding="utf-8")
        pattern = IN_STYLE if file.suffix == ".css" else LOADED
        found += [f"{file}: loads {match[0][:120]}" for match in pattern.finditer(text)]
        if file.suffix == ".html" and not re.search(r"<title>.+</title>", text):
            found.append(f"{file}: has no title")
        if file.suffix == ".html" and file.name != "404.html" and "<h1" not in text:
            found.append(f"{file}: has no heading")
    return found


def main() -> int:
    """Print the problems of a site, and return 1 if there are any."""
    found = problems(Path(sys.argv[1]))
    print("\n".join(found))
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
