"""Commands and options of the command line, read from the program itself when the site is built."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.main import get_command

from fabricfit.cli.app import EXIT_CODES, app

_MARK = "<!-- commands of fabricfit -->"
_NOTE = re.compile(r"\s*\[(required|default: [^]]*)]\s*$")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the commands in the place of the mark on a page."""
    return markdown.replace(_MARK, describe()) if _MARK in markdown else markdown


def describe() -> str:
    """Return all commands in Markdown, in the order in which the program lists them."""
    program = get_command(app)
    context = typer.Context(program, info_name="fabricfit")
    parts = [_describe_options(program, context)]
    for name, command in program.commands.items():  # type: ignore[attr-defined]
        if not command.hidden:
            parts.append(_describe_command(name, command, context))
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n\n".join(
        [*parts, "## Exit codes", "\n".join(["| code | meaning |", "|---|---|", *codes])]
    )


def _describe_command(name: str, command: Any, parent: Any) -> str:
    context = typer.Context(command, info_name=name, parent=parent)
    usage = " ".join(["fabricfit", name, *command.collect_usage_pieces(context)])
    texts = [
        f"## fabricfit {name} {{ #{name} }}",
        " ".join((command.help or "").split("\f")[0].split()),
        f"```text\n{usage}\n```",
        _describe_options(command, context),
    ]
    return "\n\n".join(text for text in texts if text)


def _describe_options(command: Any, context: Any) -> str:
    """Return a table of a command's arguments and options; what ``--help`` itself says is left out."""
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "help" not in parameter.opts and "--help" not in parameter.opts:
            rows.append(_describe_parameter(parameter, *record))
    if not rows:
        return ""
    return "\n".join(["| argument or option | what it is | default |", "|---|---|---|", *rows])


def _describe_parameter(parameter: Any, names: str, text: str) -> str:
    notes = []
    while found := _NOTE.search(text):
        notes.append(found[1])
        text = text[: found.start()]
    default = "required" if "required" in notes or parameter.required else ""
    for note in notes:
        if note.startswith("default: "):
            default = f"`{note.removeprefix('default: ')}`"
    if parameter.multiple:
        text = f"{text} May be given several times."
    names = names.replace("list[str]", "str")
    shown = ", ".join(f"`{name.strip()}`" for name in names.split(", "))
    cells = [shown, text.strip().replace("<", "&lt;"), default]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
