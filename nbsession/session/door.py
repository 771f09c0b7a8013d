"""A session, an execution and an app as the rooms behind the door name them.

``Session``, ``Execution`` and ``App`` are these; who is built before them, or below them,
names them by what it asks of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbsession.content import Draft
    from nbsession.context import CompiledContext, ToolUse
    from nbsession.events import Event
    from nbsession.record import EventLog
    from nbsession.session.feed import Observer
    from nbsession.session.home import Home
    from nbsession.session.options import Options
    from nbsession.session.questions import Answer
    from nbsession.stores.base import SessionStore
    from nbsession.timeline import Branch, ForkPoint, Policy, Record, Tick
    from nbsession.tools import Rule
    from nbsession.usage import Budget


class Door(Protocol):
    """A session."""

    id: str
    metadata: dict[str, Any]
    app: Any
    parent: str | None
    forked: ForkPoint | None
    swept_by: Any

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``."""

    @property
    def timeline(self) -> Record:
        """The conversation: the entries on the path to the head."""

    @property
    def ticks(self) -> list[Tick]:
        """Every tick so far."""

    @property
    def knobs(self) -> Any:
        """The knobs, to be read and set; see ``SessionKnobs``."""

    @property
    def current(self) -> Any:
        """The execution that runs now."""

    @property
    def executions(self) -> Sequence[Any]:
        """The latest executions, the oldest first."""

    @property
    def state(self) -> dict[str, Any]:
        """The kept component state."""

    @property
    def usage(self) -> Any:
        """Tokens and cost so far."""

    def sources(self) -> Mapping[str, Any]:
        """Where each component of the author's is written."""

    def take_notes(self) -> list[str]:
        """Give what its user should be told and has not been."""

    def branch(self) -> Any:
        """Return a fork from now that nothing keeps."""

    def fork(
        self, at: int | None = None, *, before: bool = False, id: str | None = None, without: Any = ()
    ) -> Any:
        """Return a new session that shares this one's past."""

    async def dispatch(self, tool: str, /, **input: Any) -> Any:
        """Call a tool of the tree by name."""

    def queue(self, message: Any) -> None:
        """Let a message wait."""

    def steer(self, message: Any) -> None:
        """Put a message into the running execution."""

    def compile(self, message: Any = None, *, model: Any = None) -> CompiledContext:
        """Compile what would be sent now, or with a message."""

    @property
    def send(self) -> Callable[..., Any]:
        """Send a message and start at once: ``send(message, **options)``."""

    def rewind(self, entry: str | None) -> None:
        """Stand at an entry and go on from there."""

    def spawn(self, element: Any, message: Any, **options: Any) -> Any:
        """Send a message to an isolated session of its own."""

    def stop(self) -> None:
        """Stop the running execution, if there is one."""

    def close(self) -> None:
        """Close it, and wait."""

    async def aclose(self) -> None:
        """Close it."""


class Turn(Protocol):
    """An execution that waits for its turn, has it, or had it."""

    id: str
    status: str
    max_ticks: int
    drafts: Sequence[Draft]
    options: Options
    answer: Answer | None
    log: EventLog
    withdrawn: bool

    @property
    def session(self) -> Any:
        """Its session."""

    @property
    def request(self) -> tuple[str, str] | None:
        """The request id that it was sent with and the digest of its message, if it has an id."""

    @property
    def asked(self) -> Mapping[str, Any]:
        """What it was asked for besides its message, as far as that can be kept."""

    @property
    def left(self) -> Any:
        """Where its message stands, if it may be sent again."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def stranded(self) -> bool:
        """Whether its event loop was closed under it, so that it can never end by itself."""

    def start(self) -> None:
        """Commit the message and begin to run."""

    def bury(self) -> None:
        """End it on the loop that runs now, in place of the one that was closed under it."""

    def withdraw(self, reason: str) -> None:
        """End it before it has begun."""

    def refuse(self, error: Exception) -> None:
        """Fail it before it was queued."""

    def abort(self, reason: str | None = None) -> None:
        """Stop it."""

    def pause(self) -> bool:
        """Let a confirmation wait that nobody gives now; say whether there is one."""

    def take_answer(self, answer: Answer) -> bool:
        """Take an answer to what it asks at this moment; say whether it does."""

    def emit(self, event: Event) -> None:
        """Give an event a sequence number and keep it."""

    def checkpoint(self) -> None:
        """Stop here if it was aborted."""

    async def settled(self) -> None:
        """Wait for its end."""


class Owner(Protocol):
    """The app that a session belongs to, as the session sees it."""

    root: Any
    store: SessionStore | None
    home: Home
    model: Any
    max_ticks: int
    budget: Budget | None
    policies: tuple[Policy, ...]
    permissions: tuple[Rule, ...]
    tool_uses: tuple[ToolUse, ...]
    observe: Callable[[str, str], Observer] | None

    def element(self, props: Mapping[str, Any]) -> Any:
        """Return the root element with these props."""

    def root_of(self, element: Any) -> Any:
        """Return what a spawned session mounts."""

    def session(self, id: str | None = None) -> Any:
        """Open a session."""

    def knows(self, id: str) -> bool:
        """Say whether a session of that id is open here or kept in the store."""

    def branches(self, session: Any) -> Iterator[Branch]:
        """Give the sessions of a session's family."""

    def adopt(self, session: Any) -> Any:
        """Make a session findable by its id."""

    def forget(self, session: Any) -> None:
        """Let go of a session that was closed."""
