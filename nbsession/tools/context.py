"""What a running tool may reach: its session, its call, progress and spawning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from nbsession.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbsession.content import Entry


class ToolSession(Protocol):
    """The session that a tool runs in, as a tool may use it; it is the ``Session`` itself."""

    id: str
    metadata: dict[str, Any]

    @property
    def state(self) -> dict[str, Any]:
        """The kept component state."""

    @property
    def knobs(self) -> Any:
        """The knobs, to be read and set."""

    @property
    def timeline(self) -> Sequence[Entry]:
        """The conversation so far."""

    @property
    def ticks(self) -> Sequence[Any]:
        """Every tick so far."""

    @property
    def usage(self) -> Any:
        """Tokens and cost so far."""

    @property
    def send(self) -> Callable[..., Any]:
        """``send(message, **options)``: send a message; it is queued behind the execution that runs the tool."""

    def queue(self, message: Any) -> None:
        """Let a message wait for the end of the tick that would be the last."""

    def steer(self, message: Any) -> None:
        """Put a message into the running execution at its next tick."""

    def spawn(self, element: Any, message: Any, **options: Any) -> Any:
        """Send a message to an isolated session of its own."""

    def stop(self) -> None:
        """Stop the running execution."""


class ToolContext:
    """What a running tool may reach; injected into a parameter annotated with this type.

    ``session`` is ``None`` outside a session; ``call_id`` and ``name`` are the
    call's. ``answer`` is what the question was answered with that the tool asked by
    ``Pause(again=True)``, as JSON data; ``None`` in a call that has asked nothing.
    """

    __slots__ = ("_emit", "_spawn", "answer", "call_id", "name", "session")

    def __init__(
        self,
        session: ToolSession | None = None,
        call_id: str = "",
        name: str = "",
        *,
        emit: Callable[[Any], None] | None = None,
        spawn: Callable[..., Any] | None = None,
        answer: Any = None,
    ) -> None:
        self.session = session
        self.call_id = call_id
        self.name = name
        self.answer = answer
        self._emit = emit
        self._spawn = spawn

    def emit(self, data: Any) -> None:
        """Tell of progress: ``data`` (JSON) reaches readers as a ``tool_progress`` event.

        Nothing is told once the call has ended, as by a thread that was left behind.
        """
        if self._emit is not None:
            self._emit(data)

    def spawn(self, *arguments: Any, **options: Any) -> Any:
        """Start a session of its own under this one, as ``session.spawn`` does, and return its execution."""
        if self._spawn is None:
            raise ToolError(f"{self.name or 'this tool'} runs without a session, so it cannot spawn one")
        return self._spawn(*arguments, **options)
