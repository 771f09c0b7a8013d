"""One message under many settings of the knobs, side by side."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from nbsession.errors import KnobError, SessionError
from nbsession.message import drafts_of
from nbsession.tokens import Usage

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.execution import Execution
    from nbsession.result import Result
    from nbsession.session import Session

Executor: TypeAlias = Callable[["Session", Any], "Awaitable[Result]"]
"""Sends a message to a session and gives the result."""


@dataclass(slots=True)
class SweepRow:
    """One combination of knob values: the context it makes, and what came of it.

    ``result`` is ``None`` until there is one; ``error`` is why there is none.
    """

    knobs: Mapping[str, Any]
    run: int
    context: CompiledContext
    session: Session
    execution: Execution | None = None
    result: Result | None = None
    error: BaseException | None = None

    @property
    def text(self) -> str:
        """The answer, ``""`` where there is none."""
        return self.result.text if self.result is not None else ""


class Sweep:
    """The rows of a sweep; await it for all of their results.

    A row that fails keeps its error and does not stop the others.
    """

    def __init__(self, rows: Sequence[SweepRow], message: Any, executor: Executor | None) -> None:
        self.rows = list(rows)
        self._message = message
        self._executor = executor

    def __await__(self) -> Generator[Any, None, Sweep]:
        return self._finish().__await__()

    def __iter__(self) -> Iterator[SweepRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> SweepRow:
        return self.rows[index]

    @property
    def usage(self) -> Usage:
        """The tokens of all answers so far."""
        return sum([row.result.usage for row in self.rows if row.result is not None], Usage())

    @property
    def cost(self) -> float | None:
        """What all answers so far cost, in US dollars; ``None`` where a price is not known."""
        costs = [row.result.cost for row in self.rows if row.result is not None]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def __repr__(self) -> str:
        done = sum(1 for row in self.rows if row.result is not None)
        return f"<Sweep of {len(self.rows)} rows, {done} answered>"

    def __str__(self) -> str:
        return "\n".join(
            f"{', '.join(f'{name}={value!r}' for name, value in row.knobs.items())}: "
            f"≈{row.context.tokens} tokens{': ' + row.text.splitlines()[0] if row.text else ''}"
            for row in self.rows
        )

    async def _finish(self) -> Sweep:
        await asyncio.gather(*[self._answer(row) for row in self.rows])
        return self

    async def _answer(self, row: SweepRow) -> None:
        try:
            if row.execution is not None:
                row.result = await row.execution
            elif self._executor is not None:
                row.result = await self._executor(row.session, self._message)
        except Exception as error:  # noqa: BLE001  # a row's failure is its own, and is kept in it
            row.error = error


def sweep_of(
    session: Session,
    message: Any,
    values: Mapping[str, Sequence[Any]],
    *,
    repeat: int,
    context_only: bool,
    executor: Executor | None,
) -> Sweep:
    """Fork a session once a combination, and send; see ``Session.sweep``."""
    if repeat < 1:
        raise SessionError(f"repeat must be at least 1, got {repeat}")
    drafts_of(message)  # refused before anything is forked
    for name, choices in values.items():
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            raise KnobError(f"give the values of knob {name!r} as a list, got {choices!r}", knob=name)
    rows = []
    for combination in itertools.product(*values.values()):
        knobs = dict(zip(values, combination, strict=True))
        for run in range(repeat):
            fork = session.branch()
            fork.knobs.set_many(knobs)
            rows.append(SweepRow(knobs, run, fork.compile(message), fork))
    if not context_only and executor is None:
        for row in rows:
            row.execution = row.session.send(message)
    return Sweep(rows, message, None if context_only else executor)
