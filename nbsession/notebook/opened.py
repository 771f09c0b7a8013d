"""A foreign trace, as the notebook's panels ask a session: what is known of it is looked at, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError
from nbsession.notebook.remote import Place
from nbsession.session import Home, Session
from nbsession.timeline import Branch, History
from nbsession.usage import Usage

if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import AsyncGenerator

    from nbsession.events import Event
    from nbsession.session import SessionDiff, Ticked
    from nbsession.timeline import Tick
    from nbsession.traces import Trace


class Named(NamedTuple):
    """The model that a trace names, and the trace's source in the place of the model's."""

    name: str
    source: str


class Opened:
    """A trace that is shown as a session is: its ticks, their contexts and differences, the conversation.

    What a session does or has of its own (a tree, knobs, what would be sent now) it refuses in one sentence.
    """

    def __init__(self, trace: Trace, loop: asyncio.AbstractEventLoop) -> None:
        self.trace = trace
        self.id = trace.id
        self.ticks = trace.ticks
        self.timeline = trace.timeline
        self.app = Place(Home())
        self.app.home.bind(loop)
        self.model = Named(trace.ticks[-1].model, trace.source)
        self.usage = Usage.sum([tick.usage for tick in trace.ticks])
        self.status = "idle"
        self.parent = self.forked = self.current = None
        self.waiting = self.sweeps = self.left_out = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Session, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        raise self._refusal(name)

    def __str__(self) -> str:
        return f"trace {self.id!r}: {self.trace.source}"

    @property
    def beyond(self) -> str:
        """What is said of the session's own tree."""
        return "and a trace has none"

    def compile(self, message: Any = None, *, model: Any = None) -> Any:
        """Refuse: nothing would be sent."""
        raise self._refusal("what would be sent now")

    def _refusal(self, what: str) -> SessionError:
        return SessionError(
            f"{what} needs a session, and {self.id!r} is a {self.trace.source}, which is there to be looked at: "
            "%session inspect, ticks, context TICK, compare and export"
        )

    def branch(self, at: int | None = None, *, before: bool = False) -> Any:
        """Refuse: there is no tree that could be rendered."""
        raise SessionError(f"a {self.trace.source} tells of no components")

    def compare(self, other: Ticked) -> SessionDiff:
        """Set it beside a session or another trace, and say where they part."""
        return self.trace.compare(other)

    def export(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write it to a file; see ``Trace.export``."""
        self.trace.export(path, force=force)

    def history(self) -> History:
        """Return it alone: it is nobody's fork."""
        return History([Branch(self.id, None, None, len(self.ticks))], self.id)

    def tick(self, number: int) -> Tick:
        """Return a tick."""
        return self.ticks[number]

    def sources(self) -> dict[str, Any]:
        """Return nothing: where its components are written is not recorded."""
        return {}

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give nothing: no more will happen."""
        none: tuple[Event, ...] = ()
        for event in none:
            yield event

    def close(self) -> None:
        """Let go of it."""
        self.status = "closed"


def opened_of(session: object) -> Opened | None:
    """Return a session as the trace that it is, ``None`` for one that is none."""
    return session if isinstance(session, Opened) else None
