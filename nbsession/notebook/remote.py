"""A session of a server, as a cell speaks to it: what is known of it here, kept up to date, and what is sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nbsession.errors import NbsessionError, SessionError, SessionNotFoundError
from nbsession.session import Home, Preview, Session, SessionDiff
from nbsession.timeline import Branch, History, Record
from nbsession.tree import unchanged
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from nbsession.client import AsyncClient, AsyncExecution, AsyncSession
    from nbsession.context import CompiledContext
    from nbsession.events import Event
    from nbsession.knobs import By, KnobSpec
    from nbsession.notebook.loop import Engine
    from nbsession.session import Ticked
    from nbsession.timeline import Tick
    from nbsession.tools import Question

T = TypeVar("T")

TELLING = frozenset({"knob_set", "gate_changed", "execution_end", "done"})
"""Events after which what is known of the session is read anew."""

PROMPT = 5.0
"""Seconds in which a server has to answer a command that only looks."""

AT_ONCE = 8
"""Contexts that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it lives, as far as a session's users here ask its app."""

    home: Home
    store: None = None
    root: None = None

    def knows(self, id: str) -> bool:
        """Say no: which sessions the server has is its matter."""
        return False


class SetBy(NamedTuple):
    """Who set a knob last, from here."""

    name: str
    by: By


class RemoteKnobs:
    """The knobs as they were read last, and as they were set here meanwhile."""

    def __init__(self, session: Remote) -> None:
        self._session = session
        self._specs: dict[str, KnobSpec] = {}
        self._values: dict[str, Any] = {}
        self.sent: dict[str, Any] = {}
        self.history: list[SetBy] = []

    def specs(self) -> dict[str, KnobSpec]:
        """Return the specs by name."""
        return dict(self._specs)

    def values(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self._values)

    def set(self, name: str, value: Any, by: By = "program") -> None:
        """Set a knob here, at once, and at the server; ``KnobError`` for a value that it does not take."""
        self.set_many({name: value}, by)

    def set_many(self, values: Mapping[str, Any], by: By = "program") -> None:
        """Set several, all of them or none."""
        checked = {
            name: self._specs[name].check(value) for name, value in values.items() if name in self._specs
        }
        self._values.update(checked)
        self.history += [SetBy(name, by) for name in checked]
        self._session.post(self._session.far.knobs.set_many(checked))

    def stand(self, specs: Mapping[str, KnobSpec], values: Mapping[str, Any]) -> None:
        """Take over what the server says."""
        self._specs, self._values = dict(specs), dict(values)


class Remote:
    """A session at a server that the notebook shows as its own; what works on the tree itself stays there.

    It lives on the engine's loop. What is asked of it from a cell blocks that; on the loop only what is known is given.
    """

    def __init__(self, client: AsyncClient, id: str, engine: Engine) -> None:
        self.id = id
        self.url = client.url
        self.far: AsyncSession = client.session(id)
        self.app = Place(Home())
        self.app.home.bind(engine.loop)
        self.metadata: dict[str, Any] = {}
        self.usage = Usage()
        self.ticks: list[Tick] = []
        self.timeline = Record()  # cells that are run again send again: nothing is rewound from afar
        self.waiting: list[Question] = []
        self.executions: list[Any] = []
        self.knobs = RemoteKnobs(self)
        self.parent: str | None = None
        self.model: str | None = None
        self.is_whole = False
        self.forked = self.current = None
        self.gates = self.sweeps = self.left_out = ()
        self.closed = False
        self._client = client
        self._engine = engine
        self._status = "idle"
        self._component = ""
        self._base: CompiledContext | None = None
        self._next: CompiledContext | None = None
        self._notes: list[str] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Session, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        raise SessionError(f"{name} works on the session's own tree, {self.beyond}")

    # What is known

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``, as far as it is known here."""
        if self.closed:
            return "closed"
        return "running" if any(not execution.done for execution in self.executions) else self._status

    @property
    def component(self) -> str:
        """The name of its root component."""
        return self._component

    @property
    def beyond(self) -> str:
        """What is said of the session's own tree."""
        return f"which is at {self.url}; do it there, or with a session that %session new opens here"

    def __str__(self) -> str:
        return f"session {self.id!r} ({self._component}) at {self.url}"

    def sources(self) -> dict[str, Any]:
        """Return nothing: where its components are written is known there."""
        return {}

    def take_notes(self) -> list[str]:
        """Give what its user should be told and has not been."""
        notes, self._notes = self._notes, []
        return notes

    def history(self) -> History:
        """Return it alone: which forks there are is known there."""
        return History([Branch(self.id, None, None, len(self.ticks))], self.id)

    def outline(self) -> Any:
        """Refuse: there is no tree here."""
        raise SessionError(f"its components are at {self.url}")

    def branch(self, at: int | None = None, *, before: bool = False) -> Any:
        """Refuse: there is no tree here that could be rendered."""
        return self.outline()

    def compare(self, other: Ticked) -> SessionDiff:
        """Set it beside another session, and say where they part; ``fetch`` reads what that takes."""
        return SessionDiff(self.id, other.id, tuple(self.ticks), tuple(other.ticks))

    def preview(self) -> Preview:
        """Return what the knobs, as they stand, change in the context that was sent last, or that was first there."""
        if self._next is None or self._base is None:
            raise SessionError(f"what {self} would be sent is not known yet")
        sent, values = self.knobs.sent, self.knobs.values()
        changed = {
            name: (sent[name], value)
            for name, value in values.items()
            if name in sent and not unchanged(sent[name], value)
        }
        return Preview(self._next, self._next.diff(self._base), changed)

    # From a cell

    def connect(self, *, make: bool, agent: str | None = None) -> bool:
        """Read what is there, and say whether it was made just now; ``make`` makes it where it is not there."""
        return self._wait(self._connect(make=make, agent=agent))

    async def _connect(self, *, make: bool, agent: str | None) -> bool:
        made = False
        try:
            await self.far.info()
        except SessionNotFoundError:
            if not make:
                raise
            await self._client.create(self.id, agent=agent)
            made = True
        await self.refresh(sent=True)
        return made

    def update(self) -> Remote:
        """Read what is there by now, whoever did it; ``SessionError`` where the server does not answer soon."""
        self._wait(self._update())
        return self

    async def _update(self) -> None:
        try:
            async with asyncio.timeout(PROMPT):
                await self.far.info()
        except TimeoutError:
            raise SessionError(
                f"the server at {self.url} did not answer within {PROMPT:g} s; try again, or go on in another session: "
                "%session list"
            ) from None
        await self.refresh()

    def fetch(self) -> Remote:
        """Read the contexts of all ticks as well, now and whenever there are more."""
        self.is_whole = True
        return self.update()

    def tick(self, number: int) -> Tick:
        """Return a tick with its context."""
        return self._wait(self.far.tick(number))

    def compile(self, message: Any = None, *, model: Any = None) -> CompiledContext:
        """Compile what would be sent now, or with a message of text."""
        if message is not None and not isinstance(message, str):
            raise SessionError("from afar a context is compiled with a message of text only")
        if message is None and self._engine.here and self._next is not None:
            return self._next
        return self._wait(self.far.compile(message))

    def fork(
        self, at: int | None = None, *, before: bool = False, id: str | None = None, without: str = ""
    ) -> Remote:
        """Fork it at the server."""
        if without:
            raise SessionError(f"--without works on the session's own tree, {self.beyond}")
        return self._wait(self.branch_off(at, before=before, id=id))

    def steer(self, message: Any) -> None:
        """Put a message into the running execution."""
        self._wait(self.far.steer(message))

    def stop(self) -> None:
        """Stop what runs there."""
        self.post(self.far.stop())

    def send(self, message: Any, **options: Any) -> AsyncExecution:
        """Send a message and start at once; ``model`` is a name that the server knows."""
        options = {"model": self.model, **options}
        return self._begun(lambda: self.far.send(message, **options))

    def answer(self, id: str, value: Any) -> AsyncExecution:
        """Answer a question and go on from there; of one that does not wait it is said what became of it."""
        if not self._engine.here and all(question.id != id for question in self.waiting):
            self._wait(self.give(id, value))
        self.waiting = [question for question in self.waiting if question.id != id]
        return self._begun(lambda: self.far.answer(id, value))

    def close(self) -> None:
        """Let go of it; what runs at the server goes on there."""
        self.closed = True
        if self._engine.running:
            self._engine.submit(self._client.aclose())

    # On the engine's loop

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the events to come; what is known of the session is up to date when one is given that changes it."""
        number = (await self.far.info()).sequence if after is None else after
        events = self.far.subscribe(number)
        try:
            async for event in events:
                if event.type in TELLING:
                    await self.refresh(sent=event.type in ("execution_end", "done"))
                yield event
        finally:
            await events.aclose()

    async def refresh(self, *, sent: bool = False) -> None:
        """Read what is known of it anew; with ``sent``, what its knobs are compared with, too."""
        info = await self.far.info()
        self._status, self._component = info.status, info.component
        self.metadata, self.parent = info.metadata, info.parent
        self.usage = Usage(**info.usage.model_dump())
        self.waiting = await self.far.waiting()
        ended = next((tick.number for tick in self.ticks if tick.ended is None), len(self.ticks))
        self.ticks[ended:] = await self.far.ticks(ended - 1)
        if self.is_whole:
            await self._fill()
        specs, values = await self.far.knobs.specs(), await self.far.knobs.values()
        self.knobs.stand(specs, values)
        self._next = await self.far.compile()
        if sent:
            self._base, self.knobs.sent = self._next, values

    async def _fill(self) -> None:
        """Read the contexts that are not here yet."""
        bare = [tick for tick in self.ticks if tick.context.tokens and not tick.context.parts]
        for first in range(0, len(bare), AT_ONCE):
            some = bare[first : first + AT_ONCE]
            for whole in await asyncio.gather(*[self.far.tick(tick.number) for tick in some]):
                self.ticks[whole.number].context = whole.context

    async def branch_off(
        self, at: int | None = None, *, before: bool = False, id: str | None = None
    ) -> Remote:
        """Fork it at the server."""
        fork = Remote(self._client, (await self.far.fork(at, before=before, id=id)).id, self._engine)
        fork.model = self.model
        await fork.refresh(sent=True)
        return fork

    async def exact(self, ticks: list[Tick], execution: str) -> list[Tick]:
        """Return an execution's ticks as the server has them; all that it changed is known then."""
        exact = await self.far.exact(ticks, execution)
        await self.refresh(sent=True)
        for tick in exact:
            if tick.number < len(self.ticks):
                self.ticks[tick.number] = tick
        return exact

    async def abort(self, request_id: str | None, reason: str | None) -> None:
        """Stop what was sent under an id."""
        await self.far.abort(request_id, reason)

    async def give(self, question: str, value: Any) -> None:
        """Answer a question, and wait for what comes of it."""
        await self.far.give(question, value)

    def post(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done at the server, without waiting; what it refuses is told with the next note."""

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(self._try(work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self.app.home.post(begin)

    async def _try(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except NbsessionError as error:
            self._notes.append(str(error))
            await self.refresh()

    def _begun(self, begin: Any) -> AsyncExecution:
        def made() -> AsyncExecution:
            execution: AsyncExecution = begin()
            execution.session = self
            self.executions.append(execution)
            return execution

        async def making() -> AsyncExecution:
            return made()

        return made() if self._engine.here else self._wait(making())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._engine.here:
            work.close()
            raise SessionError(
                f"a button does not wait for the server at {self.url}; do it in a cell, as with %session context"
            )
        return self._engine.submit(work).result()


OWN_TREE = frozenset(
    {
        "predict",
        "check",
        "bisect",
        "explain",
        "break",
        "continue",
        "tree",
        "history",
        "reset",
        "export",
        "resume",
    }
)
"""Commands that work on the session's own tree, or what is kept with that."""

INSTEAD: Mapping[str, str] = {
    "reset": "%session fork 0 --before stands before its first message",
    "resume": "%session connect URL --id ID opens another one of a server",
    "export": "nbsession sessions export writes it there",
}
"""What does from afar what a command does here."""


def at_hand(session: Session, command: str) -> Session:
    """Return a session whose own tree is here, as a command needs it; ``SessionError`` for one of a server."""
    if (remote := far_of(session)) is not None:
        instead = f"which is at {remote.url}; {INSTEAD[command]}" if command in INSTEAD else remote.beyond
        raise SessionError(f"%session {command} works on the session's own tree, {instead}")
    return session


def far_of(session: object) -> Remote | None:
    """Return a session as the remote one that it is, ``None`` for one that is here."""
    return session if isinstance(session, Remote) else None
