"""A case: a message to be answered, and what is known of a good answer; where cases are read from."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbsession.content import digest_of, drafts_of, in_a_line
from nbsession.errors import NbsessionError, SessionError

SHOWN = 1_000
"""Characters of a message in which its first line is looked for."""

_ASKED = ("message", "input")
_EXPECTED = ("expected", "ideal", "target")
_OWN = (*_ASKED, *_EXPECTED, "id", "metadata", "held_out")


@dataclass(frozen=True, slots=True)
class Case:
    """A message, as ``send`` takes it, and what its answer is scored by.

    ``id`` names it in reports; without one it is made of the message, so that it stays when
    cases are added or moved. A case that is ``held_out`` is asked like the others, and
    reported apart.
    """

    message: Any
    expected: Any = None
    id: str | None = None
    metadata: Mapping[str, Any] | None = field(default_factory=dict)
    held_out: bool = False

    @property
    def name(self) -> str:
        """Its id, ``""`` where it has none so far."""
        return self.id or ""

    def __str__(self) -> str:
        said = "\n".join(str(block) for draft in drafts_of(self.message) for block in draft.content)
        first = next(iter(said.lstrip()[:SHOWN].splitlines()), "")
        return in_a_line(first, 60)


def cases_of(given: Any, *, held_out: Any = 0.0) -> tuple[Case, ...]:
    """Read cases: messages and ``Case``s, records of a data frame, or lines of JSON in a file.

    Of a record, ``message`` (or ``input``), ``expected`` (or ``ideal``, ``target``), ``id``, ``metadata`` and
    ``held_out`` are what they are called; the rest is metadata. In an ``input`` of several messages, as
    OpenAI's Evals have it, the text of a system message goes in front of the message after it:
    the system prompt is the tree's. ``held_out`` is the share that is held out, chosen by the ids.
    Raises ``SessionError`` for what is no case, naming its line, and for an id that two have.
    """
    if isinstance(held_out, bool) or not isinstance(held_out, (int, float)) or not 0 <= held_out < 1:
        raise SessionError(f"held_out= is a share of the cases, from 0 to less than 1, got {held_out!r}")
    found: list[Case] = []
    counts: dict[str, int] = {}
    for where, each in _each(given):
        case = _checked(each, where)
        if case.id is None:
            name = digest_of(drafts_of(case.message))[:8]
            counts[name] = counts.get(name, 0) + 1
            case = replace(case, id=name if counts[name] == 1 else f"{name}-{counts[name]}")
        found.append(replace(case, held_out=case.held_out or _drawn(case.name) < held_out))
    if not found:
        raise SessionError("there are no cases; give at least one message, or nbsession.experiment.Case(…)")
    _refuse_twins(found)
    return tuple(found)


def _each(given: Any) -> Iterable[tuple[str, Any]]:
    """Give what is there with where it stands, as an error names it."""
    if isinstance(given, (str, os.PathLike)):
        return _lines(Path(given))
    if hasattr(given, "columns") and (hasattr(given, "to_dicts") or hasattr(given, "to_dict")):
        records = given.to_dicts() if hasattr(given, "to_dicts") else given.to_dict("records")
        return [(f"row {number}", _record(row, f"row {number}")) for number, row in enumerate(records)]
    if isinstance(given, (bytes, Mapping, Case)) or not isinstance(given, Iterable):
        raise SessionError(
            "cases are a list of messages or Case(…), a data frame, or the path of a file of JSON lines, got "
            f"{type(given).__name__}: {given!r:.80}"
        )
    return [(f"case {number}", _listed(each, f"case {number}")) for number, each in enumerate(given)]


def _listed(each: Any, where: str) -> Any:
    """Read a mapping as a record, unless it is a message by itself."""
    if isinstance(each, Mapping) and not each.keys() & {"content", "messages"}:
        return _record(each, where)
    return each


def _lines(path: Path) -> Iterable[tuple[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise SessionError(
            f"there is no file of cases {str(path)!r}; a message goes into a list: cases=[…]"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(f"the cases of {str(path)!r} cannot be read: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            data = json.loads(line)
        except ValueError as error:
            raise SessionError(f"{where} is no JSON ({error}); mend the line, or take it away") from error
        if isinstance(data, str):
            yield where, data
        elif isinstance(data, dict):
            yield where, _record(data, where)
        else:
            raise SessionError(f"{where} has a {type(data).__name__}; a case is a text or an object")


def _record(row: Mapping[str, Any], where: str) -> Case:
    asked = [name for name in _ASKED if not _missing(row.get(name))]
    if not asked:
        raise SessionError(
            f"{where} has no 'message' (or 'input'), but {', '.join(map(repr, row)) or 'nothing'}"
        )
    expected = next((row[name] for name in _EXPECTED if not _missing(row.get(name))), None)
    metadata = {} if _missing(row.get("metadata")) else row["metadata"]
    if not isinstance(metadata, Mapping):
        raise SessionError(f"{where} has metadata that is no mapping: {metadata!r:.80}")
    rest = {str(name): value for name, value in row.items() if name not in _OWN and not _missing(value)}
    held_out = row.get("held_out", False)
    return Case(
        _message(row[asked[0]]),
        expected,
        None if _missing(row.get("id")) else str(row["id"]),
        {**metadata, **rest},
        not _missing(held_out) and bool(held_out),
    )


def _message(asked: Any) -> Any:
    """Put the text of system messages in front of the message after them: the tree has the system prompt."""
    if not isinstance(asked, list) or not all(isinstance(each, Mapping) and "role" in each for each in asked):
        return asked
    said: list[str] = []
    messages: list[Mapping[str, Any]] = []
    for each in asked:
        if each["role"] in ("system", "developer"):
            said.append(str(each.get("content", "")))
            continue
        content = each.get("content")
        if said and isinstance(content, str):
            content = "\n\n".join([*said, content])
            said = []
        messages.append({"role": each["role"], "content": content})
    if said:
        messages.append({"role": "user", "content": "\n\n".join(said)})
    return messages


def _missing(value: Any) -> bool:
    """Say whether a cell is empty: a data frame has NaN there."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _checked(each: Any, where: str) -> Case:
    case = each if isinstance(each, Case) else Case(each)
    name: Any = case.id
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise SessionError(f"{where} has the id {name!r}; an id is a text, or None")
    try:
        drafts_of(case.message)
    except NbsessionError as error:
        raise SessionError(f"{where} cannot be sent: {error}") from error
    return case if case.metadata is not None else replace(case, metadata={})


def _refuse_twins(cases: Sequence[Case]) -> None:
    known: set[str] = set()
    for case in cases:
        if case.name in known:
            raise SessionError(f"two cases have the id {case.name!r}; give each its own, or none")
        known.add(case.name)


def _drawn(id: str) -> float:
    """Return a number from 0 to less than 1 that is always the same for an id."""
    return int(hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) / 2**32
