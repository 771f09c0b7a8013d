"""What of a session waits to be stored, and the rows it is stored as."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nbsession.errors import NbsessionError
from nbsession.events import MessageStart, ToolEnd
from nbsession.hooks import GONE
from nbsession.record import tick_rows
from nbsession.record.journal import SHARED, Rows, entry_row, read_past
from nbsession.record.partial import growth
from nbsession.stores.base import Row
from nbsession.timeline import row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbsession.content import Block, Entry, ToolResult
    from nbsession.events import Event
    from nbsession.record.journal import Journal
    from nbsession.timeline import Answer, ForkPoint, Record, Tick, ToolRun


SOON = 0.4
"""Seconds that what happened may wait for something to be stored along with."""


class Shared(NamedTuple):
    """What a fork need not keep again: rows of another session, so many of them; and the later ones, which wait."""

    shares: tuple[str, int] | None
    waiting: Rows


class Kept(Protocol):
    """An execution, as its row tells of it."""

    id: str

    @property
    def request(self) -> tuple[str, str] | None:
        """The request id that it was sent with and the digest of its message, if it has an id."""

    @property
    def asked(self) -> Mapping[str, Any]:
        """What it was asked for besides its message, as far as that can be kept."""

    @property
    def left(self) -> tuple[str | None, str | None] | None:
        """Where its message stands, if it may be sent again: after an entry, up to its last one."""


class Outbox:
    """The facts of one session, in the order they came, until ``keep`` stores them together.

    Where nothing is kept, nothing waits, and the rows of ticks and tools are ``None``.
    ``keeps`` says whether there is a store, ``stored`` is the number of the last event
    that is durable, and ``due`` says that what waits would be missed. An event is never stored
    before what it tells of, whenever somebody asks for it: ``growing`` gives the row of
    what has come of a response while that comes in.
    """

    def __init__(self, journal: Journal, record: Record, ticks: Sequence[Tick]) -> None:
        self.journal = journal
        self.keeps = journal.keeps
        self._record = record
        self._ticks = ticks
        self._rows = Rows()
        self._last_tick: Mapping[str, Any] = {}
        self._begun: Tick | None = None
        self._last_answer: tuple[int, dict[str, Any]] = (-1, {})
        self._last_end: Row | None = None
        self._answers: dict[str, Answer] = {}
        self.growing: Callable[[], Row | None] = lambda: None
        self._answering = False
        self._results: dict[str, ToolResult] = {}
        self._head = record.head  # as the rows tell it that were added so far
        self.stored = self._noted = 0
        self.due = False
        self._parent: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._rows)

    # What waits

    def add(self, row: Row | None) -> None:
        """Let a row wait."""
        if row is not None and self.keeps:
            self._rows.add(row)

    def note(self, event: Event) -> None:
        """Let a durable event wait."""
        if self.keeps:
            self._rows.events.append(event)
            self._noted = event.sequence
            if isinstance(event, MessageStart):
                self._answering = True
            elif isinstance(event, ToolEnd):
                self._results[event.result.call_id] = event.result

    def entry(self, entry: Entry) -> None:
        """Let an entry of the timeline wait; it becomes the head."""
        if self.keeps:
            self._rows.add(entry_row(entry, self._head, self._rows.texts))
            self._head = entry.id
            self.due = True
            if entry.role == "tool":
                self._results.clear()

    def head(self, head: str | None) -> None:
        """Let wait that the head was moved."""
        self.add(Row("head", "", {"head": head}))
        self._head = head
        self.due = True

    def changes(self, version: int, changes: Iterable[tuple[str, Any]], *, due: bool = True) -> None:
        """Let changes of the kept state wait; ``version`` is the state's after them."""
        if self.keeps:
            self.due = self.due or due
            data = {"changes": [[key] if value is GONE else [key, value] for key, value in changes]}
            self._rows.add(Row("state", str(version), data))

    def policy(self, name: str, key: str, shown: tuple[Entry, ...]) -> None:
        """Let wait what a policy answered."""
        if self.keeps:
            self._rows.add(Row("policy", key, row_of(shown, self._answers.get(name), self._record.by_id)))
            self._answers[name] = (key, shown)

    def answers(self) -> Mapping[str, tuple[Entry, ...]]:
        """Return what policies answered, as far as it is stored, by their keys."""
        store = self.journal.store
        if store is None:
            return {}
        past = read_past(store, self.journal.session)
        if past is None and self._parent is not None:  # a fork that is not stored yet
            past = read_past(store, self._parent)
        return past.policies if past is not None else {}

    def birth(
        self, metadata: Mapping[str, Any], parent: str | None, forked: ForkPoint | None, shared: Shared | None
    ) -> None:
        """Let wait what the session is, and where it comes from."""
        data: dict[str, Any] = {"metadata": metadata, "parent": parent, "created": time.time()}
        if forked is not None:
            data["forked"] = list(forked)
        if shared is not None and shared.shares is not None:
            data["shares"] = list(shared.shares)
        self.add(Row("session", self.journal.session, data))

    def description(self, metadata: Mapping[str, Any], parent: str | None) -> Row | None:
        """Return the row that says what the session is known by from now on."""
        if not self.keeps:
            return None
        return Row("session", self.journal.session, {"metadata": metadata, "parent": parent})

    def begin_fork(self, shared: Shared | None, version: int, changes: Iterable[tuple[str, Any]]) -> None:
        """Let wait what a fork begins with: its place in what it shares with its parent, or a copy of it all."""
        if not self.keeps:
            return
        self.due = True
        self._parent = shared.shares[0] if shared is not None and shared.shares is not None else None
        if shared is None:
            self._copy(version, changes)
            return
        self._rows.extend(shared.waiting)
        place = {"head": self._record.head, "state": version, "ticks": len(self._ticks)}
        self.add(Row("fork", "", place))
        if self._ticks and self._ticks[-1].interrupted:  # cut by the fork, or before it
            self.add(self.tick_ended(self._ticks[-1]))

    def _copy(self, version: int, changes: Iterable[tuple[str, Any]]) -> None:
        self._head = None
        for entry in self._record.all():
            self.entry(entry)
        self.head(self._record.head)
        self.changes(version, changes)
        for tick in self._ticks:
            self.add(self.tick_began(tick))
            self.add(self.tick_ended(tick))

    def shared(self) -> Shared | None:
        """Return what a fork may share, ``None`` where nothing is kept."""
        if not self.keeps:
            return None
        revision, waiting = self.journal.standing()
        waiting.extend(self._rows)
        shares = (self.journal.session, revision) if revision else None
        for row in waiting.rows:
            if row.kind == "session" and "shares" in row.data:
                shares = tuple(row.data["shares"])
        waiting.rows = [row for row in waiting.rows if row.kind in SHARED]
        return Shared(shares, waiting)

    # Rows

    def execution(self, execution: Kept, status: str, stop_reason: str = "", reason: str = "") -> Row | None:
        """Return the row that says how an execution stands."""
        if not self.keeps:
            return None
        data: dict[str, Any] = {
            "status": status,
            "stop_reason": str(stop_reason),
            "reason": reason,
        }
        if status == "running" and (asked := execution.asked):
            data["options"] = dict(asked)
        if execution.request is not None:
            data["request"] = list(execution.request)
            if execution.left is not None:
                data["left"] = list(execution.left)
        self.due = True
        return Row("execution", execution.id, data)

    def tick_began(self, tick: Tick) -> Row | None:
        """Return the row of a tick that begins, with its context."""
        if not self.keeps:
            return None
        before = self._ticks[tick.number - 1] if tick.number else None
        if before is not None and self._begun is not before:
            self._last_tick = tick_rows.left_out(before, self._record.by_id)
        row, self._last_tick = tick_rows.beginning(
            tick, before, self._last_tick, self._record.by_id, self._rows.texts
        )
        self._begun = tick
        return Row("tick", str(tick.number), row)

    def tick_answered(self, tick: Tick) -> Row | None:
        """Return the row of a complete answer: what it used is known also where its tools are cut by a crash."""
        if not self.keeps:
            return None
        self._answering = False
        self._last_answer = (tick.number, tick_rows.answer(tick))
        return Row("tick", str(tick.number), self._last_answer[1])

    def tick_ended(self, tick: Tick) -> Row | None:
        """Return the row of what came of a tick since its answer, ``None`` where the last one said the same."""
        if not self.keeps:
            return None
        self._answering = False
        said = self._last_answer[1] if self._last_answer[0] == tick.number else {}
        data = tick_rows.ending(tick)
        data = {name: value for name, value in data.items() if name not in said or said[name] != value}
        ended = Row("tick", str(tick.number), data)
        if ended == self._last_end:
            return None
        self._last_end = ended
        return ended

    def tool(self, tick: Tick, run: ToolRun) -> Row | None:
        """Return the row that says that a tool started or, with its result, that it ended.

        There is none for the end of the last one: the entry with all results follows at once.
        """
        if not self.keeps or all(other.result is not None for other in tick.tool_calls):
            return None
        if run.result is not None:
            self._results.pop(run.id, None)
            return _result_row(tick, run.result)
        return Row("event", f"{tick.number}/{run.id}", {"type": "tool_start"})

    def partial(self, tick: Tick, kept: Sequence[Block], content: Sequence[Block]) -> Row:
        """Return the row of what has come of a response since the last one."""
        return Row("partial", str(tick.number), growth(kept, content))

    # Storing

    async def keep(self, *rows: Row | None) -> None:
        """Store what waits, then ``rows``, as one transaction; returns when it is durable."""
        if not self.keeps:
            return
        waiting, last = self._taken(rows), self._noted
        if waiting or self.journal.behind:
            await self.journal.append(waiting)
        self._stored(last)  # also what somebody else stored, who does not know so far

    async def try_keep(self, *rows: Row | None) -> None:
        """Store as ``keep`` does; what cannot be stored now waits, and the next ``keep`` says why."""
        with suppress(NbsessionError):
            await self.keep(*rows)

    def keep_soon(self) -> None:
        """Have what waits stored in ``SOON`` seconds, unless it is stored along with something else until then."""
        if self.keeps and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SOON, self._begin_to_keep)

    def _begin_to_keep(self) -> None:
        self._keeping = asyncio.get_running_loop().create_task(self.try_keep(), name="nbsession keep")

    def keep_now(self) -> None:
        """Store as ``try_keep`` does, and block."""
        with suppress(NbsessionError):
            waiting, last = self._taken(()), self._noted
            self.journal.append_now(waiting)
            self._stored(last)

    def _stored(self, last: int) -> None:
        self.stored = max(self.stored, last)
        self.due = bool(self._rows)

    def _taken(self, rows: Iterable[Row | None]) -> Rows:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for row in (self.growing(), *self._untold_results(), *rows):
            self.add(row)
        self._rows.seal(answering=self._answering)
        waiting, self._rows = self._rows, Rows()
        return waiting

    def _untold_results(self) -> list[Row]:
        results, self._results = self._results, {}
        return [_result_row(self._ticks[-1], result) for result in results.values()]


def _result_row(tick: Tick, result: ToolResult) -> Row:
    return Row("event", f"{tick.number}/{result.call_id}", {"type": "tool_end", "result": result.to_dict()})
