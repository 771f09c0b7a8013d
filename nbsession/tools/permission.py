"""Rules over tool calls: which may run, which somebody is asked about, and which are refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice, product
from posixpath import normpath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nbsession.errors import SessionError
from nbsession.tools.command_line import commands_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Action: TypeAlias = Literal["allow", "ask", "deny"]
Outcome: TypeAlias = Literal["allowed", "asked", "denied"]
By: TypeAlias = Literal["app", "program", "user"]
"""Who made a rule."""

OUTCOMES: Mapping[Action, Outcome] = {"allow": "allowed", "ask": "asked", "deny": "denied"}

COMMAND_LINES = frozenset({"command", "commands", "cmd", "script", "shell_command"})
"""Names of arguments that are read as a shell's command line."""

MOST_READINGS = 2_000
"""Ways to read one call that are tried; one with more is not clear."""

_GONE = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the calls that it matches; made by ``allow``, ``ask`` and ``deny``, written as they are.

    ``arguments`` are shell patterns by argument; ``by`` says who made it: the ``"app"``, the ``"program"`` (by
    ``session.permissions.add``) or the ``"user"`` (by the answer *always*). A ``wide`` one is also about tools that
    have another name than the one it says, because of a clash, as every rule is that asks or denies.
    """

    action: Action
    tool: str
    arguments: tuple[tuple[str, str], ...] = ()
    by: By = field(default="app", compare=False)
    wide: bool = field(default=False, compare=False)

    def matches(self, texts: Mapping[str, str]) -> bool:
        """Say whether it matches a call, with these texts as arguments, of a tool that it concerns."""
        return all(name in texts and fnmatchcase(texts[name], pattern) for name, pattern in self.arguments)

    def concerns(self, names: Sequence[str], known_as: Sequence[str] = ()) -> bool:
        """Say whether it is about a tool of any of these names; what it is else ``known_as`` allows nothing."""
        if self.wide or self.action != "allow":
            names = (*names, *known_as)
        return any(fnmatchcase(name, self.tool) for name in names)

    def limits(self, arguments: set[str]) -> bool:
        """Say whether it matches by any of these arguments."""
        return any(name in arguments and pattern != "*" for name, pattern in self.arguments)

    @property
    def words(self) -> str:
        """What it matches, for a model to read: ``"shell with command like 'rm *'"``."""
        said = " and ".join(f"{name} like {pattern!r}" for name, pattern in self.arguments)
        return f"{self.tool} with {said}" if said else self.tool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {"action": self.action, "tool": self.tool, "arguments": dict(self.arguments), "by": self.by}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        """Read what ``to_dict`` gave."""
        return cls(data["action"], data["tool"], tuple(data["arguments"].items()), data["by"])

    def __str__(self) -> str:
        given = [json.dumps(self.tool, ensure_ascii=False)]
        given += [f"{name}={json.dumps(pattern, ensure_ascii=False)}" for name, pattern in self.arguments]
        return f"{self.action}({', '.join(given)})"

    __repr__ = __str__


def allow(tool: str, /, **arguments: str) -> Rule:
    """Let calls run without anybody being asked, also where the tool has ``confirm=True``.

    A rule matches by the tool's name, as it is and as it was called by (``ask`` and ``deny`` also by the other one of
    a tool that has a longer name while another has its own), and by the text of each argument that is
    named; both are shell patterns (``*``, ``?``, ``[…]``; upper and lower case differ), and ``*`` stands for any text,
    slashes too. A number, ``true``, a list or an object is matched as JSON; a dotted name reaches into objects
    (``**{"headers.host": "…"}``); an argument that the call does not give does not match. Of ``App(permissions=[…])``
    the last rule that matches wins; where none does, the tool's own ``confirm`` decides.

    An argument called ``command``, ``cmd``, ``script``, ``commands`` or ``shell_command`` is a command line: a line of
    several commands runs unasked only where each of them is allowed, files that it writes to included
    (``command="> /tmp/*"``), and is asked about, or denied, where any of them is. Where it cannot be told which
    command a line runs, it is asked about. A path is matched as it is written and without its ``..``. Raises
    ``SessionError`` for what is no pattern.

    This keeps a model from what it was told not to do; it is no sandbox: a program that may be run can run others.
    No rule sees what a provider runs itself, such as ``WebSearch()``.
    """
    return _rule("allow", tool, arguments)


def ask(tool: str, /, **arguments: str) -> Rule:
    """Have somebody asked before calls that match run, as a tool with ``confirm=True`` does; see ``allow``.

    The answer *always* lets what the rule matches run unasked for the rest of the session, but for what another
    rule after it asks about or denies. An input that was corrected by whoever was asked is not asked about again.
    """
    return _rule("ask", tool, arguments)


def deny(tool: str, /, **arguments: str) -> Rule:
    """Refuse calls that match, also those that the user dispatches or has corrected; the model is told why. See ``allow``.

    Patterns over commands are no sandbox: ``deny("shell", command="rm *")`` finds ``sudo  /bin/rm``, ``ls; rm`` and
    ``sh -c 'rm …'``, and does not find a script that deletes. What must not happen, the tool itself, its user or a
    container has to make impossible.
    """
    return _rule("deny", tool, arguments)


def _rule(action: Action, tool: str, arguments: Mapping[str, str]) -> Rule:
    if type(tool) is not str or not tool:
        raise SessionError(f"{action}() takes a tool's name, or a shell pattern over names, got {tool!r}")
    for name, pattern in arguments.items():
        if type(pattern) is not str:
            raise SessionError(
                f"{action}({tool!r}, {name}=) takes a shell pattern, as in {name}='*.txt', got {pattern!r}; "
                "numbers and lists are matched as JSON text"
            )
    return Rule(action, tool, tuple(arguments.items()))


def rules_given(rules: Any, to: str) -> tuple[Rule, ...]:
    """Return rules that a caller gave; ``SessionError`` where one of them is none."""
    if isinstance(rules, Rule):
        raise SessionError(f"{to} takes a list of rules, got {rules!r}; write permissions=[…]")
    for rule in rules:
        if not isinstance(rule, Rule):
            raise SessionError(
                f"{to} takes rules made by allow(), ask() and deny(), got {type(rule).__name__}: {rule!r:.80}"
            )
    return tuple(rules)


class Decision(NamedTuple):
    """What a rule decided of a call: ``"allowed"``, ``"asked"`` or ``"denied"``, by which rule, and who made that."""

    outcome: Outcome
    rule: str
    by: By = "app"

    def __str__(self) -> str:
        if self.by == "user" and self.outcome == "allowed":
            return "allowed always by the user"
        return f"{self.outcome} by {self.rule}"


class Verdict(NamedTuple):
    """The rule that decides of a call, and what it does; where it is ``doubtful``, it is asked whether the rule is meant."""

    rule: Rule
    action: Action
    doubtful: bool = False

    @property
    def why(self) -> str:
        """Why somebody is asked."""
        if self.doubtful:
            return f"it cannot be told which commands this runs, and the rule {self.rule} is about them"
        return f"asked by {self.rule}"

    @property
    def refusal(self) -> str:
        """What a model is told whose call is denied."""
        return (
            f"denied by a permission rule: {self.rule.words} may not be called; "
            "do without it, or say what you need it for"
        )

    @property
    def decision(self) -> Decision:
        """The verdict as it is kept and shown."""
        return Decision(OUTCOMES[self.action], str(self.rule), self.rule.by)


class _Reading(NamedTuple):
    """What an argument may be taken for; ``written`` says that it stands there so, and has to be allowed to be."""

    text: str
    written: bool = True


def verdict_on(
    rules: Sequence[Rule],
    names: Sequence[str],
    input: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
    *,
    known_as: Sequence[str] = (),
) -> Verdict | None:
    """Say what rules, the last that matches first, decide of a call; ``None`` where none matches all of it.

    ``arguments`` are what the tool makes of the input: a rule has to match these, too (``"yes"`` may be ``true``).
    What the tool is else ``known_as`` is refused and asked about as its names are.
    """
    concerned = [rule for rule in rules if rule.concerns(names, known_as)]
    readings, unclear = _readings(concerned, input, arguments or {})
    combinations = product(*readings.values())
    found: dict[Action | None, Rule | None] = {}
    for combination in islice(combinations, MOST_READINGS):
        texts = {name: reading.text for name, reading in zip(readings, combination, strict=True)}
        rule = next((rule for rule in reversed(concerned) if rule.matches(texts)), None)
        action = None if rule is None else rule.action
        if action in ("ask", "deny") or all(reading.written for reading in combination):
            found.setdefault(action, rule)
    if next(combinations, None) is not None:
        unclear = set(readings)
    if (denies := found.get("deny")) is not None:
        return Verdict(denies, "deny")
    if (asks := found.get("ask")) is not None:
        return Verdict(asks, "ask")
    allowed = None if None in found else found.get("allow")
    if unclear and (doubted := _doubted(concerned, unclear, allowed)) is not None:
        return Verdict(doubted, "ask", doubtful=True)
    return None if allowed is None else Verdict(allowed, "allow")


def _doubted(concerned: Sequence[Rule], unclear: set[str], allowed: Rule | None) -> Rule | None:
    """Return the rule that might be meant by a call some of whose arguments cannot be read."""
    if allowed is not None and allowed.limits(unclear):
        return allowed
    return next(
        (rule for rule in reversed(concerned) if rule.action != "allow" and rule.limits(unclear)), None
    )


def _readings(
    rules: Sequence[Rule], input: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[dict[str, Sequence[_Reading]], set[str]]:
    """Return what the arguments that rules name may be taken for, and which of them cannot be read for sure."""
    readings: dict[str, Sequence[_Reading]] = {}
    unclear: set[str] = set()
    for name in dict.fromkeys(name for rule in rules for name, _ in rule.arguments):
        value = _value(input, name)
        if value is _GONE:
            continue
        if name.rpartition(".")[2].lower() in COMMAND_LINES:
            readings[name], clear = _of_command(value)
            unclear |= set() if clear else {name}
            continue
        texts = [_text(value)]
        if isinstance(taken := arguments.get(name), str | bool | int | float):
            texts.append(_text(taken))
        readings[name] = [reading for text in dict.fromkeys(texts) for reading in _of_text(text)]
    return readings, unclear


def _value(input: Any, name: str) -> Any:
    """Return an argument, or what stands in it at a dotted name."""
    if isinstance(input, dict) and name in input:
        return input[name]
    first, dot, rest = name.partition(".")
    return _value(input[first], rest) if dot and isinstance(input, dict) and first in input else _GONE


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _of_text(text: str) -> Iterator[_Reading]:
    yield _Reading(text)
    if "/" in text and "://" not in text and (short := normpath(text)) != text:
        yield _Reading(short)


def _of_command(value: Any) -> tuple[list[_Reading], bool]:
    """Read a command line, or the words of one; those may be lines themselves."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        inside = [commands_in(word) for word in value]
        line = commands_in(shlex.join(value))
        whole = " ".join(value)
    else:
        inside, whole = [], _text(value)
        line = commands_in(whole)
    others = [*line.taken_for, *[text for each in inside for text in (*each.commands, *each.taken_for)]]
    written = line.commands or ("",)
    readings = [_Reading(text) for text in written]
    readings += [
        _Reading(text, written=False)
        for text in dict.fromkeys((" ".join(whole.split()), *others))
        if text not in written
    ]
    return readings, line.clear and all(each.clear for each in inside)
