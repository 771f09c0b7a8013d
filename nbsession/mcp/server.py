"""A server that runs: started, watched, started again when it dies, and stopped, by one task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbsession.content import bounded, visible
from nbsession.errors import NbsessionError, ToolError
from nbsession.mcp.listing import list_tools
from nbsession.mcp.streams import DELIVERY, Delivery, Tail, reached

if TYPE_CHECKING:
    from nbsession.mcp.link import Link
    from nbsession.mcp.listing import Listed
    from nbsession.tools import ToolContext

PATIENCE = 30.0
"""Seconds that a server has to start and to list its tools."""

DELAYS = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each try to start a server again that died; after the last it is left until somebody needs it."""

STEADY = 60.0
"""Seconds after which a server that dies counts as one that dies for the first time."""

_CLOSED = -32000
"""The SDK's number for a connection that was closed."""

_TERMINATED = "Session terminated"
"""The SDK's word for a web server that does not know the connection any more."""

MOST_TOLD = 1_000
"""Progress messages of one call that are passed on."""


_SILENT = logging.NullHandler()


class ServerError(NbsessionError):
    """A server does not start, or has ended; its text is one sentence, with the end of what the server wrote.

    ``told`` says that a note has it already.
    """

    told = False


class Connection:
    """One life of a server, for its owner to make and to end; ``death`` gets the sentence that says how it ended.

    Its list is ``stale`` once the server told of a change; a server that ``changes`` its list says so, and one that is
    ``blind`` cannot any more.
    """

    def __init__(self) -> None:
        self.client: Any = None
        self.tail = Tail()
        self.ended = asyncio.Event()
        self.death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stale = False
        self.blind = False
        self.changes = False

    async def heard(self, message: Any) -> None:
        """Take note of what the server says on its own."""
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self.stale = True

    async def follow(self, subscription: Any) -> None:
        """Take note of changes that are told by a stream of their own; without it, every look at the list is a new one."""
        with suppress(Exception):
            async for _ in subscription:
                self.stale = True
        self.blind = True


class Server:
    """One MCP server as it runs for one component.

    The SDK's scopes have to be left by the task that entered them, so one task owns each connection: all that others do
    is wait for it, and ask. ``tools`` is what was listed last, ``None`` before that; ``note`` is told what a user should
    know. All of it is for the loop that its session lives on.
    """

    def __init__(self, name: str, link: Link, note: Callable[[str], object]) -> None:
        self.tools: list[Listed] | None = None
        self._name = name
        self._link = link
        self._note = note
        self._owner: asyncio.Task[None] | None = None
        self._next: asyncio.Future[Connection] | None = None
        self._hurry: asyncio.Event | None = None

    def __str__(self) -> str:
        return f"MCP server {self._name!r} ({self._link})"

    @property
    def runs(self) -> bool:
        """Whether it runs, or is being started."""
        owner = self._owner
        return owner is not None and not owner.done() and owner.get_loop() is asyncio.get_running_loop()

    async def listed(self) -> list[Listed]:
        """Return its tools as they are now; it is started where it does not run. Raises ``ServerError``."""
        for again in (True, False):
            connection = await self._connected()
            if self.tools is not None and not connection.stale and not connection.blind:
                break
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._list(connection)
                break
            except Exception as error:
                connection.stale = True
                if again and await self._is_over(connection, error):
                    continue
                raise ServerError(f"{self} did not list its tools: {_said(error)}") from error
        assert self.tools is not None
        return self.tools

    async def stop(self) -> None:
        """End it, with all that it started, and wait for that."""
        owner, self._owner = self._owner, None
        if owner is not None and not owner.done():
            owner.cancel()
            await asyncio.wait({owner})

    async def call(self, tool: str, input: dict[str, Any], context: ToolContext) -> Any:
        """Call a tool and return the SDK's result; cancelling this tells the server. Raises ``ToolError``."""
        from mcp import MCPError

        progress, delivery = _progress(context), Delivery()
        DELIVERY.set(delivery)
        for again in (True, False):
            try:
                connection = await self._connected()
            except ServerError as error:
                raise ToolError(str(error)) from error
            try:
                result = await connection.client.call_tool(tool, input, progress_callback=progress)
            except MCPError as error:
                over = await self._is_over(connection, error)
                if over and again and (delivery.failed or error.message == _TERMINATED):
                    continue  # it was not reached, or was started anew and knows no such session: nothing was done
                if over:
                    unknown = "it is not known whether it did what the call asks for"
                    raise ToolError(f"{connection.death.result()}; {unknown}") from error
                raise ToolError(f"{self} refused the call: {_said(error)}") from error
            except Exception as error:
                raise ToolError(f"{self} gave no valid answer: {_said(error)}") from error
            # Over HTTP a change is told on a stream of its own, which may be behind the answer.
            connection.stale |= connection.changes and bool(self._link.url)
            return result
        raise AssertionError("the second try returns or raises")

    async def _is_over(self, connection: Connection, error: Exception) -> bool:
        """Say whether an error is the end of a connection; then its owner has seen to that, and begins the next one."""
        code, said = getattr(error, "code", None), getattr(error, "message", "")
        if self._link.url and said == _TERMINATED:
            connection.ended.set()
        if code == _CLOSED:  # a server may use the number, too: it is the end of the stream that counts
            with suppress(TimeoutError):
                await asyncio.wait_for(connection.ended.wait(), 1)
        if connection.ended.is_set():
            await asyncio.shield(connection.death)
            return True
        return False

    # The owner

    async def _connected(self) -> Connection:
        """Return the connection, once there is one; a server that died is started again at once, and not after its delay."""
        if not self.runs:
            self._hurry = asyncio.Event()
            self._expect()
            self._owner = asyncio.create_task(self._own(), name=f"nbsession mcp {self._name}")
        assert self._next is not None
        assert self._hurry is not None
        self._hurry.set()
        return await asyncio.shield(self._next)

    def _expect(self) -> asyncio.Future[Connection]:
        """Let whoever needs the server wait for its next connection."""
        expected: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        expected.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # that nobody waits is no fault
        self._next = expected
        return expected

    async def _own(self) -> None:
        """Start it, and again each time it dies; a server that has never started is tried once."""
        assert self._hurry is not None
        delays, died = iter(DELAYS), False
        connection = Connection()
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._live(connection)
                except ServerError as error:
                    error.told = died
                    self._settle(error)
                    if not died:
                        return
                    said = str(error)
                else:
                    died = True
                    said = connection.death.result()
                if time.monotonic() - began > STEADY:
                    delays = iter(DELAYS)
                delay = next(delays, None)
                if delay is None:
                    self._note(f"{said}; it is not started again before a tool of it is called")
                    return
                self._note(f"{said}; it is started again")
                self._hurry.clear()
                self._expect()
                connection = Connection()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), delay)
        finally:
            if not connection.death.done():
                connection.death.set_result(f"{self} was stopped")
            self._settle(ServerError(f"{self} was stopped"))

    def _settle(self, error: ServerError) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_exception(error)

    async def _live(self, connection: Connection) -> None:
        """Start it and be there until it ends; ``ServerError`` where it does not start."""
        trouble: BaseException | None = None
        up = False
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(PATIENCE):
                    await self._begin(connection, stack)
                up = True
                connection.tail.clear()
                assert self._next is not None
                self._next.set_result(connection)
                await connection.ended.wait()
        except TimeoutError:
            trouble = TimeoutError(f"it did not answer within {PATIENCE:g} seconds")
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises of a server is said
            trouble = error
        finally:
            connection.ended.set()
        wrote = await asyncio.to_thread(connection.tail.lines)
        if not up:
            # A process that ended says more of it than the closed connection that it left.
            closed = type(_first(trouble)).__name__ == "MCPError"
            why = [wrote] if wrote and closed else [_said(trouble), wrote]
            raise ServerError(f"{self} did not start: {'; '.join(filter(None, why))}") from trouble
        connection.death.set_result(f"{self} ended{f': {wrote}' if wrote else ''}")

    async def _begin(self, connection: Connection, stack: AsyncExitStack) -> None:
        await asyncio.to_thread(_load)
        from mcp import Client
        from mcp_types import Implementation
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        connection.client = client = await stack.enter_async_context(
            Client(
                reached(self._link, connection.tail, connection.ended.set),
                message_handler=connection.heard,
                client_info=Implementation(name="nbsession", version="1"),
                cache=None,
            )
        )
        tools = client.server_capabilities.tools
        connection.changes = tools is not None and bool(tools.list_changed)
        if connection.changes and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            try:
                async with asyncio.timeout(PATIENCE / 6):
                    changes = await stack.enter_async_context(client.listen(tools_list_changed=True))
            except Exception:  # noqa: BLE001  # a proxy may not let it through; the tools can be used all the same
                connection.blind = True
            else:
                stack.callback(asyncio.create_task(connection.follow(changes)).cancel)
        await self._list(connection)

    async def _list(self, connection: Connection) -> None:
        connection.stale = False  # before: a change that is told meanwhile is one more
        self.tools, told = await list_tools(connection.client)
        if told:
            self._note(f"{self}: {told}")


def _load() -> None:
    """Load the SDK, and what it loads when the first answer comes, which takes a second."""
    for name in ("mcp", "mcp.client.streamable_http", "jsonschema"):
        import_module(name)
    # It logs each line of a server that is no message; where nobody handles its log, that is not to be printed.
    logging.getLogger("mcp").addHandler(_SILENT)


def _progress(context: ToolContext) -> Callable[[float, float | None, str | None], Awaitable[None]]:
    """Return what tells of a server's progress by a tool's context."""
    told = 0

    async def progress(done: float, total: float | None, message: str | None) -> None:
        nonlocal told
        told += 1
        if told <= MOST_TOLD:
            said = None if message is None else bounded(visible(message), 500)
            data = {"progress": done, "total": total, "message": said}
            context.emit({word: value for word, value in data.items() if value is not None})

    return progress


def _first(error: BaseException | None) -> BaseException | None:
    """Return an error itself, of a group its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _said(error: BaseException | None) -> str:
    """Return what an error says, in one bounded line."""
    first = _first(error)
    return bounded(" ".join(visible(str(first)).split()), 500) or type(first).__name__
