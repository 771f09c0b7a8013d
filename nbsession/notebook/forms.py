"""The forms of the magics: every command, its words and its options, with what each means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**16:
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
                "connect",
                "speak to a session of a server, by its address",
                ("URL",),
                1,
                (
                    Option("--id", "the session's id there (default: a new one)", "ID"),
                    Option(
                        "--token",
                        "the server's token (default: $NBSESSION_TOKEN, which no notebook keeps)",
                        "T",
                    ),
                    NAME,
                ),
                _SESSIONS,
            ),
            Command(
                "open",
                "look at what another tool recorded: Inspect's logs, OTLP JSON, chatlas's turns; one CONVERSATION where there are several",
                ("PATH", "CONVERSATION"),
                1,
                (NAME,),
                _SESSIONS,
            ),
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
            Command(
                "predict",
                "say what the next message will do; under the next cell stands how that held",
                ("tool=…", "enters=…", "leaves=…", "changes=…", "tokens=…", "calls=…"),
                1,
                group=_NOW,
            ),
            Command(
                "experiment",
                "ask cases under every combination of knob values, score the answers, and say what differs",
                ("CASES", "KNOB=A,B…"),
                1,
                (
                    Option(
                        "--score", "scorers, by the names of functions, or equals, contains, matches", "A,B"
                    ),
                    Option("--models", "models to ask each combination of (default: the session's)", "A,B"),
                    Option("--repeat", "ask each case so many times", "N", _positive),
                    Option("--plan", "say what it would ask and cost, and send nothing"),
                    Option(
                        "--max-cost", "ask no more once all would pass so many US dollars", "USD", _dollars
                    ),
                    Option("--as", "bind the run to a variable", "VAR", _identifier),
                ),
                _NOW,
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
            Command("waiting", "the questions that wait for an answer", group=_NOW),
            Command(
                "answer",
                "answer a question that waits, as JSON or text, and go on; without a VALUE show its form",
                ("ID", "VALUE…"),
                options=(Option("--as", "bind the result to a variable", "VAR", _identifier),),
                group=_NOW,
                verbatim=True,
            ),
            Command("tree", "the mounted components, with their state, knobs and tools", group=_NOW),
            Command("stop", "stop what runs", group=_NOW),
            Command(
                "serve",
                "let other programs on this machine use the sessions of this kernel, over HTTP",
                options=(
                    Option("--port", "the port (default: 2323; 0 for any free one)", "N", _port),
                    Option("--no-token", "ask for no token: whoever is on this machine may use them"),
                    Option("--stop", "serve them no more"),
                ),
                group=_NOW,
            ),
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
            Command(
                "explain",
                "what each component is worth to a tick's answer, left out one at a time; first only the price",
                ("TICK",),
                1,
                (
                    Option("--repeat", "ask, so many times without each and twice with all", "N", _positive),
                    Option("--max-cost", "ask, until that would pass so many US dollars", "USD", _dollars),
                    Option("--score", "score answers by a quoted expression over `tick`", "EXPRESSION"),
                ),
                _BACK,
            ),
            Command("reset", "go back to before the first message; nothing is deleted", group=_BACK),
            Command("help", "this list, or one command's options", ("COMMAND",), group="Help"),
        )
    }
)
