"""Whether the values of a sweep differ in what came of them, or no more than its repetitions do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nbsession.errors import SessionError, did_you_mean
from nbsession.statistics import Comparison, contrast, corrected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nbsession.session.sweep_frame import Row

Score: TypeAlias = "str | Callable[[Any], float | bool | None]"
"""What rows are compared by: a figure's name, or a function of a row."""

FIGURES: Mapping[str, Callable[[Row], float | None]] = {
    "length": lambda row: None if row.partial is None else len(row.partial.text),
    "tokens": lambda row: row.context.tokens,
    "input_tokens": lambda row: None if row.partial is None else row.partial.usage.input_tokens,
    "output_tokens": lambda row: None if row.partial is None else row.partial.usage.output_tokens,
    "cost": lambda row: None if row.partial is None else row.partial.cost,
    "seconds": lambda row: row.seconds,
}


class Verdict(NamedTuple):
    """One combination of values beside the first one: ``comparison.difference`` is what it has more."""

    knobs: Mapping[str, Any]
    first: Mapping[str, Any]
    comparison: Comparison

    def __str__(self) -> str:
        return f"{written(self.knobs)} against {written(self.first)}: {self.comparison.verdict}"


class Verdicts(tuple[Verdict, ...]):
    """A verdict on each combination of a sweep but the first, with which it is compared; ``str()`` says them in words."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "there is one combination only, and nothing to compare it with"

    __repr__ = __str__


def verdicts_of(rows: Iterable[Row], varied: Iterable[str], score: Score) -> Verdicts:
    """Compare each combination with the first one; see ``Sweep.verdict``."""
    measure = _measure(score)
    names = list(varied)
    groups: list[tuple[dict[str, Any], list[float]]] = []
    for number, row in enumerate(rows):
        if not row.run:
            groups.append(({name: row.knobs[name] for name in names}, []))
        value = _measured(measure, row, number)
        if value is not None:
            groups[-1][1].append(value)
    first, *others = groups
    comparisons = corrected(contrast(values, first[1]) for _, values in others)
    return Verdicts(
        Verdict(knobs, first[0], comparison)
        for (knobs, _), comparison in zip(others, comparisons, strict=True)
    )


def _measure(score: Score) -> Callable[[Any], float | bool | None]:
    if callable(score):
        return score
    if score not in FIGURES:
        raise SessionError(
            f"a sweep is compared by a function of a row, or by the name of a figure, got {score!r}"
            f"{did_you_mean(str(score), FIGURES)}"
        )
    return FIGURES[score]


def _measured(measure: Callable[[Any], float | bool | None], row: Row, number: int) -> float | bool | None:
    try:
        return measure(row)
    except Exception as error:
        said = " ".join(str(error).split())
        raise SessionError(f"the score failed at row {number}: {type(error).__name__}: {said}") from error


def written(knobs: Mapping[str, Any]) -> str:
    """Write values by knob, as a program would."""
    return ", ".join(f"{name}={value!r}" for name, value in knobs.items())
