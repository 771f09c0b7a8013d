"""A shell's command line taken apart into its simple commands, as far as its text tells.

Made to try patterns on, not to run anything: what a shell would make of a variable, an alias or a
file's name is not known here, and where that decides which command runs, the line is not ``clear``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUNNERS = frozenset(
    [
        "alias",
        "bash",
        "builtin",
        "busybox",
        "chroot",
        "command",
        "dash",
        "doas",
        "env",
        "eval",
        "exec",
        "find",
        "fish",
        "flock",
        "ionice",
        "ksh",
        "nice",
        "nohup",
        "nsenter",
        "parallel",
        "script",
        "setsid",
        "sh",
        "ssh",
        "stdbuf",
        "strace",
        "su",
        "sudo",
        "time",
        "timeout",
        "trap",
        "unshare",
        "watch",
        "xargs",
        "zsh",
    ]
)
"""Commands that run what stands in their arguments."""

RESERVED = frozenset(
    [
        "!",
        "case",
        "coproc",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "function",
        "if",
        "in",
        "select",
        "then",
        "until",
        "while",
        "{",
        "}",
    ]
)

MOST_COMMANDS = 200
"""Commands of one line that are looked at; one with more is not clear."""
MOST_WORDS = 50
"""Words after a runner from which on a command may begin; with more, the line is not clear."""
DEEPEST = 20
"""How deep substitutions may stand inside each other."""

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_NAME = re.compile(r"\w+|[@*#?$!-]")
_EXPANDED, _GLOB = "\0", "\1"
"""Stand in a word before what a shell puts something else in place of."""


class CommandLine(NamedTuple):
    """The simple commands of a line, those inside substitutions, too.

    ``commands`` are as they are written, with single blanks, and each ``> file`` that is written to by itself;
    ``taken_for`` is what a shell may take them for besides: without quotes, assignments and paths, and what a
    runner such as ``sudo`` or ``sh -c`` runs. ``clear`` says whether that is all that a shell would run.
    """

    commands: tuple[str, ...]
    taken_for: tuple[str, ...] = ()
    clear: bool = True


def commands_in(line: str) -> CommandLine:
    """Take a command line apart."""
    reader = _Reader(line.replace(_EXPANDED, " ").replace(_GLOB, " "), 0)
    reader.read()
    clear = reader.clear and _EXPANDED not in line and _GLOB not in line
    taken_for = tuple(dict.fromkeys(reader.taken_for))
    return CommandLine(tuple(dict.fromkeys(reader.commands)), taken_for, clear)


class _Command:
    """A simple command while it is read: as it is written, and its words without quotes."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.words: list[str] = []
        self.written_to: list[str] = []
        self.redirects = ""
        self._word: list[str] | None = None

    def put(self, written: str, unquoted: str) -> None:
        self.written.append(written)
        self._word = [*(self._word or ()), unquoted]

    def end_word(self) -> None:
        if self._word is not None:
            word = "".join(self._word)
            if self.redirects != "<":  # what is read is none of the command's words
                (self.written_to if self.redirects else self.words).append(word)
            self._word, self.redirects = None, ""

    def redirect(self, char: str) -> None:
        """Let the next word be a file to read from or to write to; a number before that says as which stream."""
        if self._word is not None and "".join(self._word).isdigit():
            self._word = None
        self.end_word()
        self.written.append(char)
        self.redirects = char


class _Reader:
    """Reads one line from its beginning, and what is inside its substitutions as it comes to them."""

    def __init__(self, line: str, depth: int) -> None:
        self.commands: list[str] = []
        self.taken_for: list[str] = []
        self.clear = True
        self._line = line
        self._at = 0
        self._depth = depth

    def read(self, end: str = "") -> None:
        """Read commands up to the character that ends a substitution, or to the end."""
        if self._depth > DEEPEST:
            self.clear, self._at = False, len(self._line)
            return
        command, nested = _Command(), 0
        while (char := self._next()) and (char != end or nested):
            if char in " \t\r\n;&|()":
                command.written.append(" ")
                command.end_word()
                if char not in " \t\r":
                    self._finish(command)
                    command = _Command()
                nested += {"(": 1, ")": -1}.get(char, 0) if end == ")" else 0
            else:
                self._take(char, command)
        if end and not char:
            self.clear = False
        self._finish(command)

    def _next(self) -> str:
        """Return the next character and pass it; ``""`` at the end."""
        char = self._line[self._at : self._at + 1]
        self._at += 1
        return char

    def _take(self, char: str, command: _Command) -> None:
        """Take a character that is none between words or commands, and what belongs to it."""
        if char == "\\":
            following = self._next()
            if following != "\n":  # else the line goes on
                command.put(char + following, following)
        elif char == "'":
            text = self._until("'")
            command.put(f"'{text}'", text)
        elif char == '"':
            self._double_quoted(command)
        elif char in "$`":
            self._expansion(char, command)
        elif char in "<>":
            self._redirection(char, command)
        else:
            command.put(char, _GLOB + char if char in "*?[{~" else char)

    def _until(self, end: str) -> str:
        found = self._line.find(end, self._at)
        if found < 0:
            self.clear, found = False, len(self._line)
        text, self._at = self._line[self._at : found], found + 1
        return text

    def _double_quoted(self, command: _Command) -> None:
        command.put('"', "")
        while (char := self._next()) and char != '"':
            if char == "\\":
                following = self._next()
                command.put(char + following, following if following in '$`"\\\n' else char + following)
            elif char in "$`":
                self._expansion(char, command)
            else:
                command.put(char, char)
        self.clear = self.clear and bool(char)
        command.put('"', "")

    def _expansion(self, char: str, command: _Command) -> None:
        start = self._at - 1
        following = self._line[self._at : self._at + 1]
        if char == "`":
            self._substitution("`")
        elif following == "(":
            self._at += 1
            self._substitution(")")
        elif following == "{":
            inside = self._until("}")
            self.clear = self.clear and not any(mark in inside for mark in ("$(", "`"))
        elif following in ("'", '"'):  # text in which characters may be written as numbers
            self.clear = self.clear and following == '"'
            command.put(char, "")
            return
        elif name := _NAME.match(self._line, self._at):
            self._at = name.end()
        else:
            command.put(char, char)
            return
        written = self._line[start : self._at]
        command.put(written, _EXPANDED + written)

    def _substitution(self, end: str) -> None:
        """Read the commands whose output is put in place of them."""
        inner = _Reader(self._line, self._depth + 1)
        inner._at = self._at
        inner.read(end)
        self._at = inner._at
        self._join(inner)

    def _join(self, inner: _Reader, *, taken_for: bool = False) -> None:
        (self.taken_for if taken_for else self.commands).extend(inner.commands)
        self.taken_for += inner.taken_for
        self.clear = self.clear and inner.clear

    def _redirection(self, char: str, command: _Command) -> None:
        following = self._line[self._at : self._at + 1]
        if following == "(":
            self._at += 1
            command.put(char, _EXPANDED)
            self._substitution(")")
            return
        if char == "<" and following == "<":
            self.clear = False  # the lines that follow are a text, or not, by what stands here
        command.redirect(char)
        while following and following in "<>&|":
            command.written.append(self._next())
            following = self._line[self._at : self._at + 1]

    def _finish(self, command: _Command) -> None:
        command.end_word()
        for target in map(_plain, command.written_to):
            if not (target.isdigit() or target in ("-", "/dev/null")):
                self.commands.append(" ".join([">", *target.split()]))
        if written := " ".join("".join(command.written).split()):
            self.commands.append(written)
            self._say_otherwise(command.words)
        if len(self.commands) > MOST_COMMANDS:
            self.clear, self._at = False, len(self._line)

    def _say_otherwise(self, words: list[str]) -> None:
        """Note what a shell may take a command for besides what is written."""
        self.taken_for.append(_plain(" ".join(words)))
        if _GLOB + "{" in words[1:]:  # the body of a function
            self._say_otherwise(words[words.index(_GLOB + "{", 1) + 1 :])
        while words and (_ASSIGNMENT.match(_plain(words[0])) or _plain(words[0]) in RESERVED):
            words = words[1:]
        if not words:
            return
        self.taken_for.append(_run_as(words))
        self.clear = self.clear and _EXPANDED not in words[0] and _GLOB not in words[0]
        if _run_as(words[:1]) in RUNNERS:
            arguments = words[1:]
            self.clear = self.clear and len(arguments) <= MOST_WORDS
            self.clear = self.clear and not any(_EXPANDED in word for word in arguments)
            self.taken_for += _endings(arguments[:MOST_WORDS])
            self.taken_for += [f"{ending} …" for ending in _endings(arguments[:MOST_WORDS])]  # what it adds
            for line in map(_plain, arguments[:MOST_WORDS]):
                if any(char in line for char in " \t\n;&|"):
                    inner = _Reader(line, self._depth + 1)
                    inner.read()
                    self._join(inner, taken_for=True)


def _endings(words: Sequence[str]) -> Iterator[str]:
    """Give the commands that may begin at each of some words."""
    for at in range(len(words)):
        yield _run_as(words[at:])


def _run_as(words: Sequence[str]) -> str:
    """Write a command by its name, without the folder that it is in."""
    return _plain(" ".join([words[0].rpartition("/")[2], *words[1:]]))


def _plain(word: str) -> str:
    return word.replace(_EXPANDED, "").replace(_GLOB, "")
