"""The page of commands, from Typer's objects: no terminal's width has a part in it."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from generator.markdown import WORDS, code, prose, table
from moe_replication.cli import app

# What stands for a value of this type.
VALUES = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}


def command_line_page() -> str:
    """docs/reference/cli.md."""
    return f"# Command line\n\n{WORDS['intro']['cli']}\n" + "".join(_section(*found) for found in commands())


def commands(group: TyperGroup | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, TyperCommand]]:
    """Name and object of every command, those of a group after the group's name."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def _section(name: str, command: TyperCommand) -> str:
    # A command's docstring ends with `Example: ` and calls that semicolons separate.
    about, _, examples = command.help.partition("Example: ")
    hints, takes, rows = typing.get_type_hints(command.callback), [], []
    for parameter in command.params:
        value, names = _value(hints[parameter.name]), [*parameter.opts, *parameter.secondary_opts]
        if isinstance(parameter, TyperArgument):
            names = [parameter.name.upper() + ("..." if parameter.nargs == -1 else "")]
            takes.append(names[0] if parameter.required else f"[{names[0]}]")
        elif parameter.required:
            takes.append(f"{names[0]} {value}")
        bounds = (("≥", parameter.min), ("≤", parameter.max))
        value = f"{value} {', '.join(f'{sign} {bound}' for sign, bound in bounds if bound is not None)}".strip()
        rows.append((", ".join(map(code, names)), value, _default(parameter), prose(parameter.help)))
    usage = " ".join(("moe-replication", name, *takes, "[OPTIONS]"))
    calls = "\n".join(" ".join(examples.split()).split("; "))
    options = table(("Argument or option", "Value", "Default", "Meaning"), rows)
    return f"## {name}\n\n{prose(about)}\n\n```text\n{usage}\n```\n\n{options}```bash\n{calls}\n```\n\n"


def _value(hint: object) -> str:
    """What an argument or option takes, from the annotation of its parameter; a flag takes nothing."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(parts)
    return " ".join(map(_value, parts)) if parts else VALUES.get(hint, "")


def _default(parameter: TyperArgument | TyperOption) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, False, ""):
        return ""
    return code(parameter.opts[0] if parameter.default is True else parameter.default)
