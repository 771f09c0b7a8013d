"""A magic's line, and how it is read by the ``forms``. Pure: strings in, values out."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError, did_you_mean
from nbsession.notebook.forms import CELL, COMMANDS, DISPLAYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.notebook.forms import Command, Option


@dataclass(frozen=True, slots=True)
class Line:
    """A magic's line, read: ``options`` holds the values of those that were given, by name without dashes."""

    command: Command
    words: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def word(self, at: int) -> str | None:
        """The word at a position, or ``None``."""
        return self.words[at] if at < len(self.words) else None

    def get(self, option: str, default: Any = None) -> Any:
        """An option's value, ``True`` for a flag that was given."""
        return self.options.get(option, default)


def parse_cell(line: str) -> Line:
    """Read the line of a ``%%session`` cell.

    Raises ``SessionError`` that names the unknown or malformed option.
    """
    return _read(CELL, _split(line))


def parse_command(line: str) -> Line:
    """Read the line of ``%session``; an empty one asks for help.

    Raises ``SessionError`` that names the unknown command or option.
    """
    tokens = _split(line) or ["help"]
    return _read(find_command(_unquoted(tokens[0])), tokens[1:])


def find_command(name: str) -> Command:
    """The command of that name; ``SessionError`` with the nearest one where there is none."""
    command = COMMANDS.get(name)
    if command is None:
        raise SessionError(f"%session has no command {name!r}{did_you_mean(name, COMMANDS)}")
    return command


def describe(command: Command | None = None) -> str:
    """The help text: all commands, or one command with its options."""
    if command is not None:
        prefix = "" if command is CELL else "%session "
        rows = [(option.usage, option.help) for option in command.options]
        return "\n".join([f"{prefix}{command.usage}", f"  {command.help}", *_table(rows)])
    lines = ["%%session [NAME] [options], and a message below"]
    lines += _table([(option.usage, option.help) for option in CELL.options])
    forms = _table([(f"%session {known.form}", known.help) for known in COMMANDS.values()])
    group = ""
    for known, form in zip(COMMANDS.values(), forms, strict=True):
        if known.group != group:
            group = known.group
            lines += ["", group]
        lines.append(form)
    return "\n".join(lines)


def manual() -> str:
    """All commands, each with its options: what ``%session?`` shows."""
    head = "Manage sessions; %%session? tells of the cells that speak to one."
    return "\n\n".join([head, *map(describe, COMMANDS.values())])


def _read(command: Command, raw: list[str]) -> Line:
    tokens = [_unquoted(token) for token in raw]
    words: list[str] = []
    options: dict[str, Any] = {}
    rest = iter(range(len(tokens)))
    for at in rest:
        token = tokens[at]
        if not token.startswith("--"):
            words.append(raw[at] if command.verbatim else token)
            continue
        name, equals, value = token.partition("=")
        option = _find(command, name)
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        if option.metavar and not equals and _takes(option, following):
            value, equals = str(following), "="
            next(rest)
        options[name.removeprefix("--")] = _value(option, value if equals else None)
    _count(command, words)
    return Line(command, tuple(words), MappingProxyType(options))


def _takes(option: Option, following: str | None) -> bool:
    """Whether the next word is the option's value; an optional one takes only what it can read."""
    if following is None or following.startswith("--"):
        return False
    if not option.optional:
        return True
    try:
        option.read(following)
    except ValueError:
        return False
    return True


def _value(option: Option, text: str | None) -> Any:
    if not option.metavar:
        if text is not None:
            raise SessionError(f"{option.name} takes no value, got {text!r}; leave it away")
        return True
    if text is None and option.optional:
        return True
    if not text:
        raise SessionError(f"{option.name} needs a value: {option.usage} ({option.help})")
    try:
        return option.read(text)
    except ValueError:
        kind = _KINDS.get(option.metavar, option.metavar)
        raise SessionError(f"{option.name} takes {kind}, got {text!r}") from None


_TOKEN = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""", re.DOTALL)
_BELOW = ("", "; the message goes below this line")
_KINDS = {
    "N": "a whole number from 1",
    "TICK": "a tick's number (a whole number from 0)",
    "USD": "an amount of US dollars above 0",
    "VAR": "a variable's name",
    "HOW": ", ".join(DISPLAYS[:-1]) + " or " + DISPLAYS[-1],
}


def _find(command: Command, name: str) -> Option:
    for option in command.options:
        if option.name == name:
            return option
    known = [option.name for option in command.options]
    where = command.name if command is CELL else f"%session {command.name}"
    near = did_you_mean(name, known)
    raise SessionError(f"{where} has no option {name}{near or '; it takes none'}")


def _count(command: Command, words: list[str]) -> None:
    where = "" if command is CELL else "%session "
    if len(words) < command.required:
        raise SessionError(f"{where}{command.name} needs {command.words[len(words)]}: {where}{command.usage}")
    if len(words) > len(command.words) and not command.endless:
        extra = words[len(command.words)]
        raise SessionError(f"{extra!r} is one word too many: {where}{command.usage}{_BELOW[command is CELL]}")


def _split(line: str) -> list[str]:
    """Split at the blanks that are not quoted; the quotes stay."""
    try:
        shlex.split(line)
        return _TOKEN.findall(line)
    except ValueError as error:
        raise SessionError(
            f"cannot read {line.strip()!r}: {str(error).lower()}; put words with quotes in quotes"
        ) from None


def _unquoted(token: str) -> str:
    return "".join(shlex.split(token))


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
