"""What tests of a context, a tool or a store need: a scripted model, recorded events, no network."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from nbsession.errors import NbsessionError
from nbsession.events import ContentBlockStop, Event, TextDelta
from nbsession.hooks import Environment, StateLog
from nbsession.knobs import Knobs
from nbsession.models.scripted import Pause, ScriptedModel, call, pause
from nbsession.session import Mount
from nbsession.stores.contract import store_contract
from nbsession.timeline import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator, Mapping

    from nbsession.content import Block
    from nbsession.context import CompiledContext
    from nbsession.tools import Tool

__all__ = [
    "EventRecorder",
    "NetworkRefusedError",
    "Pause",
    "Rendered",
    "ScriptedModel",
    "call",
    "no_network",
    "pause",
    "render",
    "store_contract",
]

E = TypeVar("E", bound=Event)


class EventRecorder:
    """The events of an execution or of a model's answer, in order, as far as they came.

    Record with ``await EventRecorder().record(execution)``; what came before an
    error stays in ``events``.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, stream: AsyncIterable[Event]) -> EventRecorder:
        """Read ``stream`` to its end and return this recorder; its error goes through."""
        async for event in stream:
            self.events.append(event)
        return self

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def types(self) -> list[str]:
        """The events' types, each run of deltas as one."""
        types = [event.type for event in self.events]
        return [
            name
            for position, name in enumerate(types)
            if not (name.endswith("_delta") and position and types[position - 1] == name)
        ]

    @property
    def text(self) -> str:
        """The text of all deltas of text and thinking, joined."""
        return "".join([event.text for event in self.of(TextDelta)])

    @property
    def blocks(self) -> list[Block]:
        """The finished blocks."""
        return [event.content for event in self.of(ContentBlockStop)]


def render(node: Any) -> Rendered:
    """Mount a tree without a session, model and store, and look at what it compiles to.

    Its timeline is empty, its ``use_session()`` fails, and it belongs to the
    thread that renders it. Raises what a session would: ``RenderError`` with the
    component's path, ``CompileError``, ``KnobError``.
    """
    return Rendered(node)


class Rendered:
    """A mounted tree; made by ``render()``.

    ``context`` is what it compiles to now, after state and knobs that changed;
    ``tools`` are its tools by name, ``knobs`` its knobs: ``knobs["depth"] = 3``
    sets one.
    """

    def __init__(self, node: Any) -> None:
        self.knobs = Knobs(on_set=lambda _: self._environment.knob_watchers.mark())
        self._environment = Environment(knobs=self.knobs, record=Record(), set_knob=self._set_knob)
        self._node = node
        self._mount = Mount(node, self._environment, StateLog())
        self._mount.flush()

    @property
    def context(self) -> CompiledContext:
        """Render what changed, run effects, and compile."""
        self._mount.flush()
        return self._mount.compile().context

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools of the tree, those for the user only included; calling one calls its function."""
        self._mount.flush()
        return self._mount.compile().toolbox

    def rerender(self, node: Any = None) -> Rendered:
        """Render the same tree again, or another one in its place, state kept where names and keys match."""
        self._node = self._node if node is None else node
        self._mount.root.update(self._node)
        self._mount.flush()
        return self

    async def settle(self) -> Rendered:
        """Run mount callbacks (their session is ``None``) and await the data that ``use_data`` asked for."""
        await self._mount.settle()
        return self

    def unmount(self) -> None:
        """Take the tree down: clean-ups of effects, then unmount callbacks, which may not wait for anything here."""
        unmounting = self._mount.unmount()
        try:
            unmounting.send(None)
        except StopIteration:
            return
        unmounting.close()
        raise NbsessionError(
            "a use_on_unmount callback awaits something; test it in a session, which can wait for it"
        )

    def _set_knob(self, name: str, value: Any) -> None:
        self.knobs.set(name, value(self.knobs[name]) if callable(value) else value)


class NetworkRefusedError(NbsessionError, ConnectionError):
    """Something tried to reach the network while ``no_network()`` was active. ``host`` is where to."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"no_network() is active and refuses {host!r}; use ScriptedModel, a recording, or a server on 127.0.0.1"
        )
        self.host = host


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse every connection of this process but those to this machine, with ``NetworkRefusedError``.

    Names are refused before they are looked up. A client that retries or wraps
    connection errors does so with this one, too.
    """
    names = ("connect", "connect_ex", "sendto")
    methods = {name: socket.socket.__dict__.get(name) for name in names}
    lookup = socket.getaddrinfo

    def refusing(original: Callable[..., Any]) -> Callable[..., Any]:
        def checked(self: socket.socket, *arguments: Any) -> Any:
            # sendto takes its address last, the others take nothing else.
            address = arguments[-1]
            if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                _refuse_outside(address[0])
            return original(self, *arguments)

        return checked

    def checked_lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        _refuse_outside(host)
        return lookup(host, *arguments, **options)

    for name in names:
        setattr(socket.socket, name, refusing(getattr(socket.socket, name)))
    socket.getaddrinfo = checked_lookup
    try:
        yield
    finally:
        socket.getaddrinfo = lookup
        for name, method in methods.items():
            if method is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)


def _refuse_outside(host: Any) -> None:
    name = (
        host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host or "localhost")
    )
    if name == "localhost" or name.endswith(".localhost"):
        return
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        raise NetworkRefusedError(name) from None
    if not (address.is_loopback or address.is_unspecified):
        raise NetworkRefusedError(name)
