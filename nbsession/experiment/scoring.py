"""Scorers put to work: their names, what they give for a result, and when that is still good."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nbsession import threads
from nbsession.errors import ScoreError, SessionError
from nbsession.experiment.words import failure
from nbsession.session.spending import Spending, paid_by
from nbsession.statistics import number, shown
from nbsession.timeline.fingerprint import fingerprint

if TYPE_CHECKING:
    from nbsession.experiment.case import Case
    from nbsession.session import Result

Score: TypeAlias = "float | str | None"
"""What a scorer gave: a number, ``None`` for nothing to say, or a text that says why it failed."""


class Scores(NamedTuple):
    """What one scorer gave for a trial, by name, and the stamp of what it was made by.

    ``notes`` has, by the same names, what a judge said beside: its ``reason``, and the id of its ``session``. The tokens
    and the ``cost`` (US dollars, ``None`` where a price is not known) are those of the models that it asked.
    """

    stamp: str
    values: Mapping[str, Score]
    notes: Mapping[str, Mapping[str, str]] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0


Scored: TypeAlias = "Mapping[str, Scores]"
"""The scores of a trial, by scorer."""

_NOTES = ("reason", "session")


class Scorer(NamedTuple):
    """A function of a result and its case, with its name and a hash of what it does."""

    name: str
    function: Callable[[Any, Case], Any]
    code: str

    def stamp(self, case: Case) -> str:
        """Return a hash of all that a score depends on beside the result: the scorer, and what its case expects."""
        return digest(self.code, case.expected, case.metadata)[:12]

    async def score(
        self,
        result: Result,
        case: Case,
        user_loop: asyncio.AbstractEventLoop | None = None,
        account: Spending | None = None,
    ) -> Scores:
        """Score a result; whatever it raises, or gives that is no score, is a text in place of the score.

        A sync function runs in a worker thread, an async one on ``user_loop``, if one is given, as users' tools do. What
        the sessions spend that it makes, counts for ``account``, whose budget bounds them.
        """
        stamp, spending = self.stamp(case), Spending((), None, None)
        spending.parent = account
        try:
            with paid_by(spending):
                scores = self._scores(stamp, await self._call(result, case, user_loop))
        except Exception as error:  # noqa: BLE001  # a scorer's failure is a value, and stops nobody
            scores = Scores(stamp, {self.name: failure(error)})
        usage, cost = spending.used.usage, spending.used.cost
        return scores._replace(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cost=cost)

    def _scores(self, stamp: str, given: Any) -> Scores:
        parts = isinstance(given, Mapping)
        named = (
            {f"{self.name}.{part}": value for part, value in given.items()} if parts else {self.name: given}
        )
        notes = {name: said for name, value in named.items() if (said := _notes(value))}
        return Scores(stamp, {name: self._read(value, name) for name, value in named.items()}, notes)

    async def _call(self, result: Result, case: Case, user_loop: asyncio.AbstractEventLoop | None) -> Any:
        def call() -> Any:
            with _no_exit():
                return self.function(result, case)

        given = call() if is_async(self.function) else await threads.beside(call)
        if not isinstance(given, Awaitable):
            return given

        async def theirs() -> Any:
            with _no_exit():
                return await given

        if user_loop is None or user_loop is asyncio.get_running_loop() or not user_loop.is_running():
            return await theirs()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(theirs(), user_loop))

    def _read(self, given: Any, name: str) -> Score:
        found = number(given)
        if given is None or found is not None:
            return found
        return (
            f"scorer {name!r} gave {shown(given)} ({type(given).__name__}); it is to give True or False, a finite number, "
            "None, or a dict of these by name"
        )


def scorers_of(score: Any) -> tuple[Scorer, ...]:
    """Read ``score=``: a function, or several; a name that two have is made another by a number."""
    functions = [score] if callable(score) else score
    if isinstance(functions, (str, Mapping)) or not isinstance(functions, Iterable):
        raise SessionError(f"score= takes a function of a result and its case, or several, got {score!r:.80}")
    scorers: list[Scorer] = []
    counts: dict[str, int] = {}
    for function in functions:
        if not callable(function) or isinstance(function, type):
            raise SessionError(
                f"a scorer is a function of a result and its case, got {type(function).__name__}: {function!r:.80}"
            )
        name = _named(function)
        _check_arguments(name, function)
        counts[name] = counts.get(name, 0) + 1
        code = getattr(function, "fingerprint", None)
        scorers.append(
            Scorer(
                name if counts[name] == 1 else f"{name}-{counts[name]}",
                function,
                code if isinstance(code, str) else fingerprint(function),
            )
        )
    return tuple(scorers)


def stale(scorers: Sequence[Scorer], case: Case, scored: Scored) -> list[Scorer]:
    """Return those scorers whose scores are not there, were made otherwise, or are failures."""
    return [
        scorer
        for scorer in scorers
        if (there := scored.get(scorer.name)) is None
        or there.stamp != scorer.stamp(case)
        or any(isinstance(value, str) for value in there.values.values())
    ]


async def score(
    scorers: Iterable[Scorer],
    result: Result,
    case: Case,
    user_loop: asyncio.AbstractEventLoop | None = None,
    account: Spending | None = None,
) -> Scored:
    """Score a result by each scorer, one after another."""
    return {each.name: await each.score(result, case, user_loop, account) for each in scorers}


def digest(*known: Any) -> str:
    """Return a hash of values as JSON, or as Python writes them where they are none: what a case expects may be anything."""
    try:
        told = json.dumps(known, sort_keys=True, default=repr)
    except (TypeError, ValueError):
        told = repr(known)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_async(function: Any) -> bool:
    """Say whether calling it gives a coroutine, as far as can be told before."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


@contextmanager
def _no_exit() -> Iterator[None]:
    """Let a scorer that ends the program fail: it would end the loop that all sessions live on."""
    try:
        yield
    except SystemExit as error:
        raise ScoreError(f"it asked to end the program, by exit({error.code!r})") from None


def _check_arguments(name: str, function: Any) -> None:
    """Refuse what cannot be called with a result and its case, as a judge of pairs cannot."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a builtin, nobody knows
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise SessionError(
            f"scorer {name!r} takes {signature}, and is called with a result and its case: {error}"
        ) from None


def _named(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "name", None) or getattr(function, "__name__", None) or type(function).__name__
    return "score" if name == "<lambda>" else str(name)


def _notes(given: Any) -> dict[str, str]:
    """Return what a judge said beside its score."""
    return {name: said for name in _NOTES if isinstance(said := getattr(given, name, None), str)}
