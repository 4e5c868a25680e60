"""Hooks of MkDocs: add the generated pages, and adapt links written for the repository.

In the repository, pages link to files outside docs/, such as ../benchmarks/README.md, which the
site has as pages. A link to another file outside docs/ becomes text.
"""

import posixpath
import re
import sys
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, ".")  # MkDocs loads this file by its path, outside the package
from website import ROOT, commands, parameters

COPIES = {  # files of the repository that are pages of the site
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
SOURCES = {page: source for source, page in COPIES.items()}
LINK = re.compile(r"(?<!!)\[([^\]\n]+(?:\n[^\]\n]+)?)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
API = """# Python API

`import thaw` gives these names. They change only in a release that the [changelog](../changelog.md)
lists under "Changed" or "Removed". Everything else in the package may change in any release.

"""


def on_config(config: Any) -> Any:
    """List the pages of parameters in the navigation."""
    pages = [f"reference/{name}.md" for name in parameters.PAGES]
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    (entry,) = (entry for entry in reference if isinstance(entry, dict) and "Parameters" in entry)
    entry["Parameters"] = pages
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""

    def add(page: str, text: str) -> None:
        files.append(File.generated(config, page, content=text))

    for source, page in COPIES.items():
        add(page, (ROOT / source).read_text(encoding="utf-8"))
    for name, _, text in parameters.pages():
        add(f"reference/{name}.md", text)
    add("reference/commands.md", commands.page())
    add("reference/api.md", API + "\n".join(f"::: thaw.{place}" for place in _public()) + "\n")
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links between files of the repository to pages of the site."""
    here = page.file.src_uri
    markdown = markdown.replace("```console", "```bash")  # coloured as commands, not as output
    if here == "parameters.md":  # the repository has no such page
        markdown = markdown.replace("site's reference", "[reference](reference/dataset.md)", 1)
    return LINK.sub(lambda match: _link(match, here), markdown)


def _link(match: re.Match[str], here: str) -> str:
    text, path, anchor = match[1], match[2], match[3] or ""
    source = SOURCES.get(here, f"docs/{here}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if target in COPIES:
        inside = COPIES[target]
    elif target.startswith("docs/"):
        inside = target.removeprefix("docs/")
    elif here.startswith("reference/"):
        return match[0]
    else:
        return text
    return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(here) or '.')}{anchor})"


def _public() -> list[str]:
    """Return the public names of `thaw` with the modules that define them."""
    import thaw

    return [f"{'errors' if name == 'UserError' else 'api'}.{name}" for name in thaw.__all__]
