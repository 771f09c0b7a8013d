"""What may stand on a magic's line, and how it is read. Pure: strings in, values out."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Option:
    """One ``--name``. Without ``metavar`` it is a flag; ``optional`` ones may stand without their value."""

    name: str
    help: str
    metavar: str = ""
    read: Callable[[str], Any] = str
    optional: bool = False

    @property
    def usage(self) -> str:
        """How the option is written."""
        if not self.metavar:
            return self.name
        return f"{self.name} [{self.metavar}]" if self.optional else f"{self.name} {self.metavar}"


@dataclass(frozen=True, slots=True)
class Command:
    """One form of the magic: its words in order, the first ``required`` of them needed, and its options.

    The last word may stand any number of times where it ends with ``…``. ``verbatim``
    words keep their quotes. ``group`` says in the help what it is for.
    """

    name: str
    help: str
    words: tuple[str, ...] = ()
    required: int = 0
    options: tuple[Option, ...] = ()
    group: str = ""
    verbatim: bool = False

    @property
    def usage(self) -> str:
        """The whole form in one line."""
        return " ".join([self.form, *(f"[{option.usage}]" for option in self.options)])

    @property
    def form(self) -> str:
        """The form without its options."""
        words = [word if at < self.required else f"[{word}]" for at, word in enumerate(self.words)]
        return " ".join([self.name, *words])

    @property
    def endless(self) -> bool:
        """Whether the last word may stand any number of times."""
        return bool(self.words) and self.words[-1].endswith("…")


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


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _no_number(text: str) -> str:
    if text.isdecimal():
        raise ValueError
    return text


def _dollars(text: str) -> float:
    amount = float(text.removeprefix("$"))
    if amount <= 0 or not math.isfinite(amount):
        raise ValueError
    return amount


def _how(text: str) -> str:
    if text not in DISPLAYS:
        raise ValueError
    return text


def _identifier(text: str) -> str:
    if not text.isidentifier():
        raise ValueError
    return text


DISPLAYS = ("full", "quiet", "off")
"""How much stands under a cell."""

MODEL = Option("--model", "the model, e.g. simulated or anthropic:<id>", "MODEL")
NAME = Option("--name", "the session's name in this kernel (default: its id)", "NAME")
VARIABLE = Option("--as", "bind the session to a variable", "VAR", _identifier)

CELL = Command(
    "%%session",
    "send the cell's text to a session, and show what happens",
    ("NAME",),
    options=(
        MODEL,
        Option("--as", "bind the result to a variable", "VAR", _identifier),
        Option("--max-ticks", "end after so many model calls", "N", _positive),
        Option("--max-cost", "end before the next model call would pass so many US dollars", "USD", _dollars),
        Option(
            "--fork",
            "send to a copy that stands at the head, or after a tick",
            "TICK",
            _natural,
            optional=True,
        ),
        Option("--steer", "put the message into the running execution"),
        Option("--dry-run", "show what would be sent, and send nothing"),
        Option("--background", "return at once"),
        Option("--raw", "send the text as it stands, {{…}} too, and show the response as it came"),
        Option("--quiet", "show the response only"),
        Option(
            "--display",
            "what stands below: full, quiet (the response only), off (nothing; --as still binds the result)",
            "HOW",
            _how,
        ),
    ),
)

_SESSIONS = "Sessions"
_NOW = "What the model sees, and what runs"
_BACK = "Going back. To view is to look at what was; to re-run is to call the model again"

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        command.name: command
        for command in (
            Command(
                "new",
                "open a session of a component or app",
                ("COMPONENT",),
                1,
                (
                    Option("--id", "its identity; kept on disk, so the same id goes on", "ID"),
                    MODEL,
                    NAME,
                    VARIABLE,
                ),
                _SESSIONS,
            ),
            Command("use", "make a session the current one", ("NAME",), 1, (VARIABLE,), _SESSIONS),
            Command(
                "resume",
                "open a stored session again, of the current session's app",
                ("ID",),
                1,
                (VARIABLE,),
                _SESSIONS,
            ),
            Command("list", "the sessions of this kernel, and those that are stored", group=_SESSIONS),
            Command("model", "show the model, or choose another", ("MODEL",), group=_SESSIONS),
            Command(
                "knobs",
                "the knobs as controls, and what a change would do to the context",
                ("KNOB=A,B…",),
                options=(
                    Option("--freeze", "work the contexts out beforehand, for a panel that needs no kernel"),
                ),
                group=_NOW,
                verbatim=True,
            ),
            Command(
                "context",
                "what the model would be sent now; with a TICK, what it was sent then",
                ("TICK",),
                options=(
                    Option("--diff", "compare with a tick", "TICK", _natural),
                    Option("--without", "as it would be without what stands at a component path", "PATH"),
                    Option(
                        "--json",
                        "the request as the provider's JSON, of the session's model or another one",
                        "MODEL",
                        _no_number,
                        optional=True,
                    ),
                    Option("--cache", "what of it the provider may read from its cache, by component"),
                ),
                group=_NOW,
            ),
            Command(
                "sweep",
                "ask one message under every combination of knob values, side by side",
                ("KNOB=A,B…",),
                options=(
                    Option("--message", "what to ask (default: the last message, from before it)", "TEXT"),
                    Option("--repeat", "ask each combination so many times", "N", _positive),
                    Option("--context-only", "show the contexts and their differences, and send nothing"),
                    Option(
                        "--max-cost",
                        "ask no more once all rows would pass so many US dollars",
                        "USD",
                        _dollars,
                    ),
                    Option("--as", "bind the sweep to a variable", "VAR", _identifier),
                ),
                group=_NOW,
                verbatim=True,
            ),
            Command("check", "what is doubtful about what would be sent, before anything is", group=_NOW),
            Command(
                "break",
                "stop before the model is called where all of this holds; without words, list the breakpoints",
                ("on", "tool=…", "part=…", "tokens>…"),
                0,
                (Option("--clear", "take all breakpoints away"),),
                _NOW,
            ),
            Command("continue", "go on from a breakpoint", group=_NOW),
            Command("tree", "the mounted components, with their state, knobs and tools", group=_NOW),
            Command("stop", "stop what runs", group=_NOW),
            Command(
                "inspect",
                "one panel over all ticks: what was sent, the components, tools and answers; compared on request",
                group=_NOW,
            ),
            Command("ticks", "the session's model calls so far, to be viewed or forked from", group=_BACK),
            Command(
                "export",
                "write the session to a file: .html .ipynb .py test_….py .md .json",
                ("PATH",),
                1,
                (Option("--force", "write over a file that is there"),),
                _BACK,
            ),
            Command("history", "the tree of forks that the session belongs to", group=_BACK),
            Command(
                "fork",
                "go on in a copy that stands at the head, or after a tick",
                ("TICK",),
                0,
                (
                    Option("--before", "stand as the tick was compiled, to re-run it"),
                    Option("--without", "leave out what stands at a component path", "PATH"),
                    Option("--id", "the copy's identity (default: a new one)", "ID"),
                    NAME,
                    VARIABLE,
                ),
                _BACK,
            ),
            Command(
                "compare",
                "set another session, mostly a fork, beside this one: where they part",
                ("NAME",),
                1,
                group=_BACK,
            ),
            Command(
                "bisect",
                "find the tick from which on an expression over `tick` differs, and what did it",
                ("EXPRESSION…",),
                1,
                (
                    Option(
                        "--calls", "try what changed there with at most so many model calls", "N", _positive
                    ),
                    Option(
                        "--max-cost", "try no more once that would pass so many US dollars", "USD", _dollars
                    ),
                ),
                _BACK,
                verbatim=True,
            ),
            Command("reset", "go back to before the first message; nothing is deleted", group=_BACK),
            Command("help", "this list, or one command's options", ("COMMAND",), group="Help"),
        )
    }
)


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
