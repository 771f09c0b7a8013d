"""The scorers that come with it: what an answer has to be, to hold, or to look like."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

from nbsession.errors import ModelError, NbsessionError, ScoreError

if TYPE_CHECKING:
    from nbsession.session import Result


class Asked(Protocol):
    """What a scorer is told of the case that a result answers."""

    @property
    def message(self) -> Any:
        """What was sent."""

    @property
    def expected(self) -> Any:
        """What a good answer is, ``None`` where nobody said."""

    @property
    def id(self) -> str | None:
        """What the case is called."""

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """Whatever else is known of it."""


Test: TypeAlias = Callable[["Result", Any], bool]
"""Holds a result to what is expected."""


@dataclass(frozen=True, slots=True)
class Check:
    """A scorer that was told what to look for: a function of a result and its case.

    ``fingerprint`` is another one where it would score otherwise, so that nothing is scored twice.
    """

    name: str
    fingerprint: str
    expected: Any
    test: Test

    def __call__(self, result: Result, case: Asked) -> bool:
        return self.test(result, _expected(self.name, case) if self.expected is None else self.expected)


@overload
def equals(result: Result, case: Asked, /) -> bool: ...
@overload
def equals(
    expected: Any = None, /, *, ignore_case: bool = ..., ignore_whitespace: bool = ..., name: str = ...
) -> Check: ...
def equals(
    *given: Any, ignore_case: bool = False, ignore_whitespace: bool = False, name: str = "equals"
) -> bool | Check:
    """Score whether the answer is what was expected: ``score=equals``, or ``equals("Vienna", ignore_case=True)``.

    A text is compared with the answer's, white space at the ends apart; anything else with the result's ``output``,
    or with the answer read as JSON. ``ignore_whitespace`` takes any run of white space for one space. Without
    ``expected`` it is the case's, and ``ScoreError`` says which case has none.
    """

    def test(result: Result, expected: Any) -> bool:
        if isinstance(expected, str):
            answer = result.output if isinstance(result.output, str) else result.text
            fold = _folding(ignore_case, ignore_whitespace)
            return fold(answer).strip() == fold(expected).strip()
        return bool(
            _data(result.output if result.output is not None else _json(result.text)) == _data(expected)
        )

    return _scorer(name, test, given, ignore_case, ignore_whitespace)


@overload
def contains(result: Result, case: Asked, /) -> bool: ...
@overload
def contains(
    expected: str | Sequence[str] | None = None,
    /,
    *,
    any: bool = ...,
    ignore_case: bool = ...,
    ignore_whitespace: bool = ...,
    name: str = ...,
) -> Check: ...
def contains(
    *given: Any,
    any: bool = False,
    ignore_case: bool = False,
    ignore_whitespace: bool = False,
    name: str = "contains",
) -> bool | Check:
    """Score whether the answer has a text in it, or several: all of them, or with ``any`` one of them.

    ``score=contains`` looks for what the case expects, ``contains("Vienna")`` and ``contains(["Vienna", "Wien"], any=True)``
    for what they are told. ``ignore_whitespace`` takes any run of white space for one space.
    """

    def test(result: Result, expected: Any) -> bool:
        fold = _folding(ignore_case, ignore_whitespace)
        answer = fold(result.text)
        found = [fold(text) in answer for text in _texts(name, expected)]
        return True in found if any else False not in found

    told = [_texts(name, given[0])] if len(given) == 1 and given[0] is not None else given
    return _scorer(name, test, told, any, ignore_case, ignore_whitespace)


@overload
def matches(result: Result, case: Asked, /) -> bool: ...
@overload
def matches(
    pattern: str | re.Pattern[str] | None = None,
    /,
    *,
    full: bool = ...,
    ignore_case: bool = ...,
    name: str = ...,
) -> Check: ...
def matches(
    *given: Any, full: bool = False, ignore_case: bool = False, name: str = "matches"
) -> bool | Check:
    """Score whether a regular expression is found in the answer, or with ``full`` matches all of it.

    ``score=matches`` takes what the case expects as the expression. White space at the ends of the answer does not count.
    Raises ``ScoreError`` for what is no regular expression.
    """

    def test(result: Result, expected: Any) -> bool:
        pattern = _pattern(name, expected, ignore_case)
        answer = result.text.strip()
        return (pattern.fullmatch(answer) if full else pattern.search(answer)) is not None

    if len(given) != 1 or given[0] is None:
        return _scorer(name, test, given, full, ignore_case)
    pattern = _pattern(name, given[0], ignore_case)
    return _scorer(name, test, [pattern], full, pattern.pattern, pattern.flags)  # whose repr is cut


@overload
def valid(result: Result, case: Asked, /) -> bool: ...
@overload
def valid(type: Any = None, /, *, name: str = ...) -> Check: ...
def valid(*given: Any, name: str = "valid") -> bool | Check:
    """Score whether the answer can be read as a type: a pydantic model, or any other that ``send(output=)`` takes.

    ``score=valid`` takes what the case expects as the type. Raises ``ScoreError`` for what is none.
    """

    def test(result: Result, expected: Any) -> bool:
        output = _output(name, expected)
        try:
            output.read(result.content, result.model or "the model")
        except ModelError:
            return False
        return True

    schema = _output(name, given[0]).schema if len(given) == 1 and given[0] is not None else None
    return _scorer(name, test, given, json.dumps(schema, sort_keys=True))


def _scorer(name: str, test: Test, given: Sequence[Any], *options: Any) -> bool | Check:
    """Score where a result and its case are given; make a scorer where it was told what to look for."""
    if len(given) == 2 and hasattr(given[0], "text") and hasattr(given[1], "expected"):
        return test(given[0], _expected(name, given[1]))
    if len(given) > 1:
        raise ScoreError(f"{name}() takes one thing to look for, got {len(given)}; give several as one list")
    expected = given[0] if given else None
    made = hashlib.sha256(repr((name, test.__qualname__, expected, options)).encode("utf-8", "surrogatepass"))
    return Check(name, made.hexdigest(), expected, test)


def _expected(name: str, case: Asked) -> Any:
    if case.expected is None:
        raise ScoreError(
            f"case {case.id!r} has nothing expected to be scored by; give it expected=, or tell {name}(…) what to look for"
        )
    return case.expected


def _folding(ignore_case: bool, ignore_whitespace: bool) -> Callable[[str], str]:
    def fold(text: str) -> str:
        folded = text.casefold() if ignore_case else text
        return " ".join(folded.split()) if ignore_whitespace else folded

    return fold


def _texts(name: str, expected: Any) -> list[str]:
    texts = [expected] if isinstance(expected, str) else expected
    if not isinstance(texts, (list, tuple, set, frozenset)) or not all(
        isinstance(text, str) for text in texts
    ):
        raise ScoreError(f"{name}() looks for a text, or a list of texts, got {expected!r:.80}")
    if not texts or "" in texts:
        raise ScoreError(f"{name}() looks for {expected!r:.80}, which every answer has; name a text")
    return sorted(texts) if isinstance(texts, (set, frozenset)) else list(texts)


def _pattern(name: str, expected: Any, ignore_case: bool) -> re.Pattern[str]:
    try:
        if isinstance(expected, re.Pattern):
            return re.compile(expected.pattern, expected.flags | (re.IGNORECASE if ignore_case else 0))
        return re.compile(expected, re.IGNORECASE if ignore_case else 0)
    except (re.error, TypeError) as error:
        raise ScoreError(f"{name}() takes a regular expression, got {expected!r:.80}: {error}") from error


def _output(name: str, expected: Any) -> Any:
    from nbsession.tools import Output

    try:
        return Output(expected)
    except NbsessionError as error:
        raise ScoreError(f"{name}() takes what send(output=) does: {error}") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _data(value: Any) -> Any:
    """Return a model or a dataclass as what it holds, to be compared with that written plainly."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
