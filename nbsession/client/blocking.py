"""The same, blocking: for programs without an event loop. The client has a loop of its own, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from nbsession.client.client import AsyncClient
from nbsession.client.connection import PATIENCE
from nbsession.errors import SessionError
from nbsession.session.shared_loop import Carried

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from nbsession.client.execution import AsyncExecution
    from nbsession.client.knobs import AsyncKnobs
    from nbsession.client.session import AsyncSession
    from nbsession.content import Entry
    from nbsession.context import CompiledContext
    from nbsession.events import Event
    from nbsession.knobs import KnobSpec
    from nbsession.protocol import AgentAnswer, Health, SessionAnswer, SessionEntry
    from nbsession.session.result import Result
    from nbsession.timeline import Tick
    from nbsession.tools import Question
    from nbsession.usage import Usage

T = TypeVar("T")

GOES_ON = "the execution goes on at the server; its abort(), or session.stop(), stops it"


class Thread:
    """A thread that runs one event loop, from the first use on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done there, and wait for it; an interrupt ends the wait and what was asked for."""
        try:
            carried = Carried(self._running(), work)
        except SessionError:
            work.close()
            raise
        return carried.wait()

    def call(self, fn: Callable[[], T]) -> T:
        """Call what has to be called there."""

        async def calling() -> T:
            return fn()

        return self.do(calling())

    def each(self, values: AsyncGenerator[T]) -> Iterator[T]:
        """Give what is given there, as it comes."""
        try:
            while (value := self.do(_next(values))) is not _LAST:
                yield value
        finally:
            self.do(values.aclose())

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise SessionError("the client was closed; make another one")
            if threading.current_thread() is self._thread:
                raise SessionError("a blocking client cannot wait on its own thread; use AsyncClient there")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="nbsession-client", daemon=True
                )
                self._thread.start()
            return self._loop


_LAST: Any = object()


async def _next(values: AsyncGenerator[Any]) -> Any:
    return await anext(values, _LAST)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


class Client:
    """A server, for a program without an event loop; see ``AsyncClient`` for its options. Close it, or use ``with``."""

    def __init__(self, url: str, *, token: str | None = None, patience: float = PATIENCE) -> None:
        self._client = AsyncClient(url, token=token, patience=patience)
        self._thread = Thread()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._client.url

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; what runs at the server goes on there."""
        self._thread.do(self._client.aclose())
        self._thread.close()

    def session(self, id: str) -> Session:
        """Return a session of the server by its id; whether there is one shows when it is used."""
        return Session(self._thread, self._client.session(id))

    def create(
        self,
        id: str | None = None,
        *,
        agent: str | None = None,
        component: str | None = None,
        work_dir: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Make a session; see ``AsyncClient.create``."""
        made = self._client.create(id, agent=agent, component=component, work_dir=work_dir, metadata=metadata)
        return Session(self._thread, self._thread.do(made))

    def sessions(self) -> Iterator[SessionEntry]:
        """Give the sessions of the server, the last used first; they are read a page at a time."""
        return self._thread.each(self._client.sessions())

    def agents(self) -> list[AgentAnswer]:
        """Return the apps that are served, each with the knobs and tools of a new session."""
        return self._thread.do(self._client.agents())

    def delete(self, id: str) -> None:
        """Stop a session and delete it for good; ``SessionError`` where forks share its past: they go first."""
        self._thread.do(self._client.delete(id))

    def health(self) -> Health:
        """Return what the server says of itself, which needs no token."""
        return self._thread.do(self._client.health())


class Session:
    """A session at a server, with the names of ``nbsession.Session``: each asks the server. See ``AsyncSession``."""

    def __init__(self, thread: Thread, session: AsyncSession) -> None:
        self.id = session.id
        self.knobs = Knobs(thread, session.knobs)
        self._thread = thread
        self._session = session

    def __repr__(self) -> str:
        return repr(self._session).replace("AsyncSession", "Session", 1)

    @property
    def info(self) -> SessionAnswer:
        """What the server says of it; ``SessionNotFoundError`` where there is none."""
        return self._thread.do(self._session.info())

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``."""
        return self._thread.do(self._session.status())

    @property
    def metadata(self) -> dict[str, Any]:
        """What it is known by; ``rename`` replaces it."""
        return self._thread.do(self._session.metadata())

    @property
    def usage(self) -> Usage:
        """The tokens that it took so far."""
        return self._thread.do(self._session.usage())

    @property
    def state(self) -> dict[str, Any]:
        """The kept component state, by component path and hook."""
        return self._thread.do(self._session.state())

    @property
    def ticks(self) -> Sequence[Tick]:
        """Its ticks, without their contexts: ``tick(n)`` has that."""
        return self._thread.do(self._session.ticks())

    @property
    def timeline(self) -> Sequence[Entry]:
        """The conversation, read from the session's events."""
        return self._thread.do(self._session.timeline())

    @property
    def waiting(self) -> list[Question]:
        """The questions that wait for a person, the oldest first."""
        return self._thread.do(self._session.waiting())

    def tick(self, number: int) -> Tick:
        """Return a tick with the context that was sent."""
        return self._thread.do(self._session.tick(number))

    def compile(self, message: str | None = None) -> CompiledContext:
        """Compile what would be sent now, or with a message; no model is called."""
        return self._thread.do(self._session.compile(message))

    def subscribe(self, after: int | None = None) -> Iterator[Event]:
        """Give the events after a number, stored ones first, then those to come; see ``AsyncSession.subscribe``."""
        return self._thread.each(self._session.subscribe(after))

    def send(self, message: Any, **options: Any) -> Execution:
        """Send a message and start at once; ``options`` are those of ``AsyncSession.send``."""
        return self._begun(lambda: self._session.send(message, **options))

    def run(self, message: Any, **options: Any) -> Result:
        """Send a message and wait for its result."""
        return self.send(message, **options).result

    def render(self, **props: Any) -> Execution:
        """Run without a new message; ``props`` replace those of the root component."""
        return self._begun(lambda: self._session.render(**props))

    def answer(self, id: str, value: Any) -> Execution:
        """Answer a question of ``waiting`` and go on from there; see ``AsyncSession.answer``."""
        return self._begun(lambda: self._session.answer(id, value))

    def queue(self, message: Any) -> None:
        """Let a message wait: for the end of the tick that would be the last, or for the next ``send``."""
        self._thread.do(self._session.queue(message))

    def steer(self, message: Any) -> None:
        """Put a message into the running execution at its next tick; while idle it waits for the next ``send``."""
        self._thread.do(self._session.steer(message))

    def stop(self, reason: str | None = None) -> None:
        """Stop the running execution, whoever sent it, if there is one."""
        self._thread.do(self._session.stop(reason))

    def dispatch(self, tool: str, /, **input: Any) -> Any:
        """Call a tool of the tree as its user, and return what it gave, as JSON data."""
        return self._thread.do(self._session.dispatch(tool, **input))

    def fork(self, at: int | None = None, *, before: bool = False, id: str | None = None) -> Session:
        """Return a new session there that shares this one's past: from now, or from tick ``at``."""
        return Session(self._thread, self._thread.do(self._session.fork(at, before=before, id=id)))

    def rename(self, metadata: Mapping[str, Any]) -> None:
        """Replace what it is known by."""
        self._thread.do(self._session.rename(metadata))

    def delete(self) -> None:
        """Stop it and delete it for good; ``SessionError`` where forks share its past: they go first."""
        self._thread.do(self._session.delete())

    def _begun(self, begin: Callable[[], AsyncExecution]) -> Execution:
        return Execution(self, self._thread, self._thread.call(begin))


class Knobs:
    """The knobs of a session at a server. ``knobs[name]`` reads, ``knobs[name] = value`` sets, as its user."""

    def __init__(self, thread: Thread, knobs: AsyncKnobs) -> None:
        self._thread = thread
        self._knobs = knobs

    def __getitem__(self, name: str) -> Any:
        return self._thread.do(self._knobs.get(name))

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self.values()

    def __iter__(self) -> Iterator[str]:
        return iter(self.values())

    def __len__(self) -> int:
        return len(self.values())

    def values(self) -> dict[str, Any]:
        """Return the present values, by name."""
        return self._thread.do(self._knobs.values())

    def specs(self) -> dict[str, KnobSpec]:
        """Return the specs of the knobs that are mounted, by name."""
        return self._thread.do(self._knobs.specs())

    def set(self, name: str, value: Any) -> None:
        """Set a knob; ``KnobError`` for an unknown name or a value that it does not take."""
        self._thread.do(self._knobs.set(name, value))

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Set several knobs, all of them or none."""
        self._thread.do(self._knobs.set_many(values))

    def reset(self, *names: str) -> None:
        """Set knobs (all, where none is named) back to their defaults."""
        self._thread.do(self._knobs.reset(*names))

    def __repr__(self) -> str:
        return f"<knobs {self.values()!r}>"


class Execution:
    """What was sent to a server, for a program without an event loop: see ``AsyncExecution``.

    Iterate it for its events as they come; ``result`` waits for its ``Result``. An interrupt (Ctrl-C) ends the
    wait, not the execution, which goes on at the server: ``abort()`` stops it.
    """

    def __init__(self, session: Session, thread: Thread, execution: AsyncExecution) -> None:
        self.session = session
        self._thread = thread
        self._execution = execution

    def __repr__(self) -> str:
        return repr(self._execution).replace("AsyncExecution", "Execution", 1)

    def __iter__(self) -> Iterator[Event]:
        return self._thread.each(self._execution.events())

    @property
    def id(self) -> str:
        """Its id at the server, ``""`` until it has begun there."""
        return self._execution.id

    @property
    def status(self) -> str:
        """``"queued"``, ``"running"`` or ``"done"``."""
        return self._execution.status

    @property
    def result(self) -> Result:
        """Its result, which is waited for; raises the error of one that failed."""
        try:
            self._thread.do(self._execution.settled())
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(GOES_ON)
            raise
        return self._execution.outcome.result()

    @property
    def ticks(self) -> list[Tick]:
        """Its ticks so far."""
        return self._execution.ticks

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._execution.done

    @property
    def error(self) -> BaseException | None:
        """The error it failed with, ``None`` while it runs or when it did not fail."""
        return self._execution.error

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what was said so far is kept. A second call, or one after the end, does nothing."""
        self._execution.abort(reason)

    def confirm(
        self, call_id: str, approved: bool, reason: str | None = None, input: Mapping[str, Any] | None = None
    ) -> None:
        """Answer a ``ConfirmationRequested``; see ``AsyncExecution.confirm``."""
        self._execution.confirm(call_id, approved, reason, input)
