"""The executions of one session: one runs, the others wait."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from nbsession.session.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.session.door import Turn

FINISHED = 256
"""Turns that a session remembers, the running one included."""


class Line:
    """Who runs, and who is next: first in, first out."""

    __slots__ = ("begun", "current", "past", "waiting")

    def __init__(self) -> None:
        self.current: Turn | None = None
        self.waiting: deque[Turn] = deque()
        self.begun: deque[Turn] = deque(maxlen=FINISHED)
        self.past: deque[Callable[[], Turn]] = deque(maxlen=FINISHED)

    @property
    def remembered(self) -> list[Turn]:
        """The latest executions, the oldest first: those of earlier processes, then those of this one."""
        return [*[again() for again in self.past], *self.begun][-FINISHED:]

    def options_of(self, execution: str) -> Options:
        """Return what an execution was asked for besides its message, to go on with; of an earlier process what is kept."""
        turns = chain(reversed(self.begun), (again() for again in reversed(self.past)))
        asked = next((turn.options for turn in turns if turn.id == execution), Options())
        return asked._replace(request_id=None, metadata={})

    def enqueue(self, execution: Turn) -> None:
        """Run an execution now, or after those before it."""
        if self.current is not None and self.current.stranded:
            self.current.bury()
        if self.current is None:
            self._begin(execution)
        else:
            self.waiting.append(execution)

    def push_in(self, execution: Turn) -> None:
        """Let an execution be the next, before all that wait."""
        self.waiting.appendleft(execution)

    def next(self, ended: Turn) -> None:
        """Start the execution whose turn it is, after the one that ended."""
        if self.current is not ended:
            return
        self.current = None
        if self.waiting:
            self._begin(self.waiting.popleft())

    def drop(self, execution: Turn) -> None:
        """Take an execution that has not begun out of the line."""
        if execution in self.waiting:
            self.waiting.remove(execution)

    def withdraw(self, reason: str) -> None:
        """End the executions that wait, because nothing can begin any more."""
        while self.waiting:
            self.waiting.popleft().withdraw(reason)

    def _begin(self, execution: Turn) -> None:
        self.current = execution
        if len(self.past) + len(self.begun) >= FINISHED and self.past:
            self.past.popleft()
        self.begun.append(execution)
        execution.start()
