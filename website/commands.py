"""Reference of the commands, generated from their parsers."""

import argparse
import re
from collections.abc import Iterator

from thaw.cli import main


def page() -> str:
    """Return the reference of all commands as Markdown."""
    parts = [
        "# Commands",
        "`thaw` complements the commands of DVC. `thaw COMMAND --help` prints what is here.",
    ]
    parts += [_command(name, summary) for name, summary in main.COMMANDS.items()]
    codes = re.sub(r"\s+", " ", main.EXAMPLES.partition("exit codes: ")[2]).rstrip(".")
    rows = [f"| {code} | {meaning} |" for code, meaning in re.findall(r"(\d+) ([^,]+)", codes)]
    parts += ["## Exit codes", "\n".join(["| code | meaning |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _command(name: str, summary: str) -> str:
    parser = main.command_parser(name)
    formatter = argparse.HelpFormatter(parser.prog, width=88)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, "")
    rows = list(_rows(parser))
    table = ["| argument | meaning |", "|---|---|", *rows] if rows else []
    description = parser.description or f"{summary[0].upper()}{summary[1:]}."
    usage = f"```text\n{formatter.format_help().strip()}\n```"
    return "\n\n".join([f"## thaw {name}", _text(description), usage, "\n".join(table)]).rstrip()


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest
        value = "" if action.nargs == 0 else str(value)
        names = " ".join([", ".join(action.option_strings), value]).strip()
        meaning = (action.help or "") % {**vars(action), "prog": parser.prog}
        yield f"| `{names}` | {_text(meaning)} |".replace("``", "")


def _text(text: str) -> str:
    """Return text of --help as Markdown: in one line, and without HTML."""
    text = " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")
    return text.replace("*", "\\*")
