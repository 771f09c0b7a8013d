"""A session at a server: what can be asked of it, and done with it, from afar."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nbsession.client import following
from nbsession.client.execution import AsyncExecution
from nbsession.client.knobs import AsyncKnobs
from nbsession.content import Entry, new_id
from nbsession.context import CompiledContext
from nbsession.errors import SessionError, SessionNotFoundError
from nbsession.events import EntryCommitted, ExecutionStart, QuestionAnswered, event_from_dict
from nbsession.protocol import SessionAnswer, message_to_wire, tick_from_dict
from nbsession.session.options import checked_ticks
from nbsession.tools import Output, Question
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping

    from nbsession.client.connection import Connection
    from nbsession.events import Event
    from nbsession.session.result import Result
    from nbsession.timeline import Tick

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@~+-]*")


class AsyncSession:
    """A session at a server, by its id; made by ``client.session(id)``, which asks for nothing yet.

    What is a property of ``nbsession.Session`` is awaited here: ``await session.ticks()``. What works on the tree itself
    stays where that is: ``sweep``, ``preview``, ``rewind``, ``edit``, ``outline``, ``export`` and their like.
    """

    def __init__(self, connection: Connection, id: str) -> None:
        if not id or "/" in id:
            raise SessionError(f"{id!r} is no session's id")
        self.id = id
        self.knobs = AsyncKnobs(connection, f"/sessions/{quote(id, safe='')}")
        self._connection = connection
        self._path = f"/sessions/{quote(id, safe='')}"
        self._asking: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} at {self._connection.url}>"

    # Looking

    async def info(self) -> SessionAnswer:
        """Return what the server says of it; ``SessionNotFoundError`` where there is none."""
        return SessionAnswer.model_validate(await self._connection.call("GET", self._path))

    async def status(self) -> str:
        """Return ``"idle"``, ``"running"`` or ``"closed"``."""
        return (await self.info()).status

    async def metadata(self) -> dict[str, Any]:
        """Return what it is known by."""
        return (await self.info()).metadata

    async def usage(self) -> Usage:
        """Return the tokens that it took so far; ``info()`` has the cost."""
        return Usage(**(await self.info()).usage.model_dump())

    async def state(self) -> dict[str, Any]:
        """Return the kept component state, by component path and hook."""
        state: dict[str, Any] = (await self._connection.call("GET", f"{self._path}/state"))["state"]
        return state

    async def ticks(self, after: int = -1) -> list[Tick]:
        """Return the ticks after a number, of their contexts only the tokens: ``tick(n)`` has the whole."""
        found: list[Tick] = []
        cursor: int | None = after
        while cursor is not None:
            page = await self._connection.call("GET", f"{self._path}/ticks", params={"after": cursor})
            found += map(tick_from_dict, page["ticks"])
            cursor = page["next"]
        return found

    async def tick(self, number: int) -> Tick:
        """Return a tick with the context that was sent."""
        return tick_from_dict((await self._connection.call("GET", f"{self._path}/ticks/{number}"))["tick"])

    async def timeline(self) -> list[Entry]:
        """Return the conversation, read from the session's events; of a fork with what it shares with its parent."""
        entries = await self._committed()
        known, path = dict(entries), [next(reversed(entries.values()))] if entries else []
        above: AsyncSession | None = self
        while path and path[-1].parent is not None:
            if path[-1].parent not in known:
                above = await above._parent() if above is not None else None
                if above is None:
                    break
                known.update(await above._committed())
            elif (entry := known.get(path[-1].parent)) is not None:
                path.append(entry)
        return path[::-1]

    async def compile(self, message: str | None = None) -> CompiledContext:
        """Compile what would be sent now, or with a message; no model is called."""
        params = {} if message is None else {"message": message}
        return CompiledContext.from_dict(
            await self._connection.call("GET", f"{self._path}/context", params=params)
        )

    async def waiting(self) -> list[Question]:
        """Return the questions that wait for a person, the oldest first."""
        asked = await self._connection.call("GET", f"{self._path}/waiting")
        return [Question.from_dict(question) for question in asked["waiting"]]

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the events after a number, stored ones first, then those to come; no gap, however often it breaks.

        Where some are kept nowhere any more, a ``ResyncRequired`` (of ``nbsession.protocol``) stands in their place: read
        the session anew, the events go on from there. Close it (``aclose``, or ``contextlib.aclosing``) to leave.
        """
        events = following.of_session(self._connection, self._path, after)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    # Doing

    def send(
        self,
        message: Any,
        *,
        model: str | None = None,
        max_ticks: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        output: Any = None,
        budget: float | None = None,
    ) -> AsyncExecution:
        """Send a message and start at once, in a running loop; while an execution runs there, it queues.

        ``message`` is what ``Session.send`` takes, ``model`` a name that the server knows, ``budget`` US dollars. It is
        sent under a ``request_id``, one made here if none is given, so that it is one message however often the
        connection breaks. ``output`` is a type or a JSON schema, as for ``Session.send``; the answer is read as it here.
        Raises ``SessionError`` for what cannot be sent; what the server refuses is the outcome of the execution.
        """
        if request_id is not None and not _PLAIN.fullmatch(request_id):
            raise SessionError(
                f"request_id= is part of an address here: letters, digits and . _ : @ ~ + -, got {request_id!r}"
            )
        if model is not None and not isinstance(model, str):
            raise SessionError(f"model= takes the name of a model that the server knows, got {model!r}")
        body: dict[str, Any] = {
            "message": message_to_wire(message),
            "request_id": request_id or new_id("req"),
            "model": model,
            "max_ticks": None if max_ticks is None else checked_ticks(max_ticks),
            "budget": budget,
            "metadata": dict(metadata or {}),
        }
        read = None if output is None else Output(output)
        body["output"] = None if read is None else dict(read.schema)
        body = {name: value for name, value in body.items() if value is not None}
        events = following.of_message(self._connection, self._path, body)
        return AsyncExecution(
            self, events, follow=self._connection.follow, request_id=body["request_id"], output=read
        )

    async def run(self, message: Any, **options: Any) -> Result:
        """Send a message and wait for its result; ``options`` are those of ``send``."""
        return await self.send(message, **options)

    def render(self, **props: Any) -> AsyncExecution:
        """Run without a new message; ``props`` replace those of the root component."""
        request = self._connection.call("POST", f"{self._path}/render", body={"props": props}, waits=True)
        return self._begun(request, lambda event: isinstance(event, ExecutionStart) and not event.text)

    def answer(self, id: str, value: Any) -> AsyncExecution:
        """Answer a question of ``waiting()`` and go on from there; the handle of what goes on is returned.

        ``value`` is JSON data that the question's ``schema`` takes; of a confirmation ``True``, ``False``, the input to
        use instead, or ``"always"``. A value that does not fit, and a second answer, fail as ``SessionError``.
        """
        return self._begun(
            self.give(id, value), lambda event: isinstance(event, QuestionAnswered) and event.question == id
        )

    async def queue(self, message: Any) -> None:
        """Let a message wait: for the end of the tick that would be the last, or for the next ``send``."""
        await self._say("queue", message)

    async def steer(self, message: Any) -> None:
        """Put a message into the running execution at its next tick; while idle it waits for the next ``send``."""
        await self._say("steer", message)

    async def stop(self, reason: str | None = None) -> None:
        """Stop the running execution, whoever sent it, if there is one."""
        await self.abort(None, reason)

    async def dispatch(self, tool: str, /, **input: Any) -> Any:
        """Call a tool of the tree as its user, and return what it gave, as JSON data."""
        path = f"{self._path}/dispatch/{quote(tool, safe='')}"
        return (await self._connection.call("POST", path, body=input, waits=True))["value"]

    async def fork(
        self, at: int | None = None, *, before: bool = False, id: str | None = None
    ) -> AsyncSession:
        """Return a new session there that shares this one's past: from now, or from tick ``at``."""
        body = {"at": at, "before": before, "id": id}
        made = await self._connection.call("POST", f"{self._path}/fork", body=body)
        return AsyncSession(self._connection, made["id"])

    async def rename(self, metadata: Mapping[str, Any]) -> None:
        """Replace what it is known by."""
        await self._connection.call("PUT", self._path, body={"metadata": dict(metadata)})

    async def delete(self) -> None:
        """Stop it and delete it for good; ``SessionError`` where forks share its past: they go first."""
        await self._connection.call("DELETE", self._path)

    # What its executions ask for

    async def exact(self, ticks: list[Tick], execution: str) -> list[Tick]:
        """Return an execution's ticks as the server has them, with the contexts that came with its events."""
        first = ticks[0].number if ticks else None
        told = {tick.number: tick.context for tick in ticks}
        if first is None:
            return []
        exact = [
            tick
            for tick in await self.ticks(first - 1)
            if tick.execution == execution or (not execution and tick.number in told)
        ]
        for tick in exact:
            if tick.number in told:
                tick.context = told[tick.number]
        return exact

    async def abort(self, request_id: str | None, reason: str | None) -> None:
        """Stop what was sent under an id, without one what runs."""
        path = self._path if request_id is None else f"{self._path}/runs/{quote(request_id, safe='')}"
        try:
            await self._connection.call(
                "POST", f"{path}/abort", body={"reason": reason}, waits=True, once=True
            )
        except SessionNotFoundError:
            if request_id is None:
                raise

    async def give(self, question: str, value: Any) -> None:
        """Answer a question, and wait for what comes of it."""
        path = f"{self._path}/waiting/{quote(question, safe='')}"
        await self._connection.call("POST", path, body={"value": value}, waits=True, once=True)

    async def _say(self, how: str, message: Any) -> None:
        await self._connection.call("POST", f"{self._path}/{how}", body={"message": message_to_wire(message)})

    def _begun(self, request: Coroutine[Any, Any, Any], mine: Any) -> AsyncExecution:
        async def events() -> AsyncGenerator[Event]:
            begun = (await self.info()).sequence
            asked = asyncio.ensure_future(request)
            self._asking.add(asked)
            asked.add_done_callback(self._heard)
            found = following.of_request(self._connection, self._path, begun, asked, mine)
            try:
                async for event in found:
                    yield event
            finally:
                await found.aclose()

        return AsyncExecution(self, events(), follow=self._connection.follow)

    def _heard(self, asked: asyncio.Task[Any]) -> None:
        self._asking.discard(asked)
        if not asked.cancelled():
            asked.exception()  # looked at: who reads the events has it

    async def _committed(self) -> dict[str, Entry]:
        """Return the entries that this session's own events tell of, by id."""
        entries: dict[str, Entry] = {}
        after: int | None = 0
        while after is not None:
            page = await self._connection.call(
                "GET", f"{self._path}/events/history", params={"after": after, "limit": 1000}
            )
            told = [item for item in page["events"] if item["type"] == EntryCommitted.type]
            for event in map(event_from_dict, told):
                assert isinstance(event, EntryCommitted)
                entries[event.entry.id] = event.entry
            after = page["next"]
        return entries

    async def _parent(self) -> AsyncSession | None:
        parent = (await self.info()).parent
        return None if parent is None else AsyncSession(self._connection, parent)
