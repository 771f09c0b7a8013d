"""What ``%session sweep`` asks for: the values of each knob, read by its own spec, and the message."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.errors import KnobError, SessionError, did_you_mean
from nbsession.notebook.inserted import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbsession.knobs import KnobSpec
    from nbsession.notebook.arguments import Line
    from nbsession.session import Session, Sweep

_PIECE = re.compile(r"""(?:[^,"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A line, read; ``message`` is ``None`` where the last one is to be asked again."""

    session: Session
    values: Mapping[str, list[Any]]
    message: Any = None
    repeat: int = 1
    max_cost: float | None = None

    def contexts(self) -> Sweep:
        """Make the rows with their contexts; nothing is sent."""
        return self.session.sweep(self.message, self.values, repeat=self.repeat, context_only=True)

    def send(self) -> Sweep:
        """Begin to send."""
        return self.session.sweep(self.message, self.values, repeat=self.repeat, budget=self.max_cost)


def request(
    session: Session, line: Line, names: Mapping[str, Any], *, budget: float | None = None
) -> SweepRequest:
    """Say what a line asks for; ``{{expressions}}`` of its message are worked out in ``names``.

    ``budget`` (US dollars) holds where the line gives no ``--max-cost``.

    Raises ``KnobError`` for a knob or value that does not fit, ``SessionError``
    where there is nothing to vary or no message; nothing is sent yet.
    """
    specs = session.knobs.specs()
    repeat = line.get("repeat", 1)
    if not line.words and repeat == 1:
        known = f" (here: {', '.join(specs)})" if specs else "; this session has no knobs"
        raise SessionError(
            f"%session sweep needs a knob with its values, knob=a,b{known}, or --repeat N to ask the same again"
        )
    message = line.get("message")
    if message is None and not any(entry.role == "user" for entry in session.timeline):
        raise SessionError(
            f'session {session.id!r} has no message to ask again yet; give one: %session sweep … --message "…"'
        )
    if message is not None:
        message = filled(message, names).message
    return SweepRequest(session, read(line.words, specs), message, repeat, line.get("max-cost", budget))


def read(words: Iterable[str], specs: Mapping[str, KnobSpec]) -> dict[str, list[Any]]:
    """Read words like ``tone=friendly,"calm, and polite"``, quoted as they were typed, by the knobs' specs."""
    values: dict[str, list[Any]] = {}
    for word in _joined(words):
        name, equals, rest = word.partition("=")
        pieces = [_unquoted(piece) for piece in _PIECE.findall(rest)]
        if not equals or not name or not pieces:
            raise SessionError(
                f"a knob is swept as {name or 'knob'}=a,b (blanks and commas of a value in quotes), got {word!r}"
            )
        if name not in specs:
            raise KnobError(f"no knob is named {name!r}{did_you_mean(name, specs)}", knob=name)
        if name in values:
            raise KnobError(f"knob {name!r} stands twice; give all its values at once: {name}=a,b", knob=name)
        values[name] = [value_of(specs[name], piece) for piece in pieces]
    return values


def value_of(spec: KnobSpec, text: str) -> Any:
    """Read one value as the knob keeps it; ``KnobError`` with what it must be."""
    return spec.check(_parsed(spec, text))


def choices(spec: KnobSpec) -> list[str]:
    """Write the values that a knob can be completed with."""
    if spec.kind == "bool":
        return ["true", "false"]
    words = [_written(option) for option in spec.options]
    return [word if re.fullmatch(r"[\w.:+-]+", word) else f'"{word}"' for word in words]


def _parsed(spec: KnobSpec, text: str) -> Any:
    if spec.kind == "choice":
        for option, label in zip(spec.options, spec.labels, strict=True):
            if text in (_written(option), label, str(option)):
                return option
        number = _number(text)
        return text if number is None else number
    if spec.kind == "bool":
        return _TRUTH.get(text.lower(), text)
    if spec.kind == "text":
        return text
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _written(option: Any) -> str:
    return option if isinstance(option, str) else json.dumps(option)


def _joined(words: Iterable[str]) -> list[str]:
    """Put ``tone=a, b`` together again: a blank after a comma is often typed."""
    joined: list[str] = []
    for word in words:
        if joined and (joined[-1].endswith(",") or word.startswith(",")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _unquoted(piece: str) -> str:
    return "".join(shlex.split(piece))
