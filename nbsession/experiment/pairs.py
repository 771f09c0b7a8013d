"""Two arms' answers set before a judge of pairs, case by case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.errors import ScoreError, SessionError
from nbsession.experiment.scoring import digest
from nbsession.experiment.together import together
from nbsession.statistics import compare
from nbsession.timeline.fingerprint import fingerprint

if TYPE_CHECKING:
    from nbsession.experiment.case import Case
    from nbsession.experiment.ledger import Ledger
    from nbsession.experiment.trial import Trial
    from nbsession.statistics import Comparison

_AT_ONCE = 8
_NOTES = ("swayed", "reasons", "sessions")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trials of one case, and which a judge prefers: 1 is ``a``, 0 is ``b``, 0.5 neither.

    ``notes`` has what the judge said beside: ``swayed`` (the order decided), its ``reasons`` and ``sessions``, one of
    each order.
    """

    a: Trial
    b: Trial
    score: float
    notes: Mapping[str, Any]

    @property
    def case(self) -> Case:
        """What both answer."""
        return self.a.case


@dataclass(frozen=True, slots=True, repr=False)
class Preferences:
    """Which of two arms' answers a judge prefers, pair by pair, and what that says of the arms."""

    pairs: Sequence[Pair]
    comparison: Comparison

    @property
    def swayed(self) -> int:
        """How many pairs the order decided; they count as neither."""
        return sum(bool(pair.notes.get("swayed")) for pair in self.pairs)

    def __str__(self) -> str:
        order = f"; the order decided {self.swayed} of {len(self.pairs)} pairs" if self.swayed else ""
        return f"{self.comparison}{order}"

    __repr__ = __str__


async def preferences_of(
    a: Sequence[Trial], b: Sequence[Trial], judge: Callable[..., Any], ledger: Ledger
) -> Preferences:
    """Have a judge decide every pair of answers that both arms have; what it decided before is in the ledger.

    Raises ``SessionError`` where there is no pair, and what the judge raises.
    """
    theirs = {(trial.case.name, trial.repeat): trial for trial in b if trial.status == "done"}
    twos = [
        (trial, theirs[place])
        for trial in a
        if trial.status == "done" and (place := (trial.case.name, trial.repeat)) in theirs
    ]
    if not twos:
        raise SessionError("the arms have no case that both answered, so there is nothing to judge")
    code = getattr(judge, "fingerprint", None)
    by = code if isinstance(code, str) else fingerprint(judge)
    gate = asyncio.Semaphore(_AT_ONCE)
    ledger.open()
    try:
        known = ledger.pairs()
        pairs = await together(_decided(one, two, judge, by, known, ledger, gate) for one, two in twos)
    finally:
        ledger.close()
    ours: dict[str, list[float]] = {}
    others: dict[str, list[float]] = {}
    for pair in pairs:
        ours.setdefault(pair.case.name, []).append(pair.score)
        others.setdefault(pair.case.name, []).append(1 - pair.score)
    return Preferences(pairs, compare(ours, others))


async def _decided(
    a: Trial,
    b: Trial,
    judge: Callable[..., Any],
    by: str,
    known: Mapping[str, Mapping[str, Any]],
    ledger: Ledger,
    gate: asyncio.Semaphore,
) -> Pair:
    key = digest(a.session_id, b.session_id, by, a.case.expected, a.case.metadata)
    if key in known:
        there = known[key]
        return Pair(a, b, there["score"], there["notes"])
    async with gate:
        one, other = await a.archive.result(a.session_id), await b.archive.result(b.session_id)
        given = judge(one, other, a.case)
        if isinstance(given, Awaitable):
            given = await given
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
            raise ScoreError(
                f"the judge of pairs gave {given!r:.80} for case {a.case.name!r}; it is to give a number from 0 (the second "
                "is better) to 1 (the first is)"
            )
        notes = {name: getattr(given, name) for name in _NOTES if hasattr(given, name)}
        await ledger.decide(key, {"score": float(given), "notes": notes})
        return Pair(a, b, float(given), notes)
