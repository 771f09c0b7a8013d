"""``ScriptedModel``: a model that answers what the script says, for tests and examples."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nbsession.content import Block, Text, Thinking, ToolCall
from nbsession.context import Capabilities
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelEvent,
)
from nbsession.models.playback import (
    Step,
    block_steps,
    call_id,
    chunks,
    estimated_usage,
    text_steps,
    words,
)

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.models.base import Source


class Signal:
    """Something that happens once: await it on any loop, or ``wait`` for it in any thread."""

    __slots__ = ("_happened", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = threading.Event()
        self._waiting: list[concurrent.futures.Future[None]] = []

    def __await__(self) -> Generator[Any, None, None]:
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            if self._happened.is_set():
                future.set_result(None)
            else:
                self._waiting.append(future)
        return asyncio.wrap_future(future).__await__()

    @property
    def happened(self) -> bool:
        """Whether it has happened."""
        return self._happened.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until it has happened, at most ``timeout`` seconds; say whether it has."""
        return self._happened.wait(timeout)

    def fire(self) -> None:
        """Let it have happened; again is no error."""
        with self._lock:
            self._happened.set()
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)


class Pause:
    """A place in a scripted response where it stops until it is let go; made by ``pause()``.

    ``await pause.reached`` (or ``pause.reached.wait(timeout)`` in a thread) waits
    until the response stands there; ``release()`` lets it go on, from anywhere.
    """

    __slots__ = ("_released", "reached")

    def __init__(self) -> None:
        self.reached = Signal()
        self._released = Signal()

    def release(self) -> None:
        """Let the response go on, now or as soon as it comes here."""
        self._released.fire()

    async def hold(self) -> None:
        """Say that the place is reached, and wait for ``release``."""
        self.reached.fire()
        await self._released


Item: TypeAlias = "str | Block | Pause | BaseException | type[BaseException] | MessageDelta"
Response: TypeAlias = "Item | Sequence[Item] | Callable[[CompiledContext], Any]"


def call(tool: str, /, **input: Any) -> ToolCall:
    """Make a scripted call of ``tool`` with ``input``; the model gives it an id."""
    return ToolCall("", tool, input)


def pause() -> Pause:
    """Make a place where a scripted response waits; after a text it waits in the middle of that text."""
    return Pause()


class ScriptedModel:
    """A model that gives ``responses``, one for each call, in order.

    A response is text, ``call(...)``, a content block, an exception (raised
    then), a list of those, or a function of the compiled context (sync or async)
    that returns any of these. In a list, a ``pause()`` holds the response until it
    is released, an exception cuts it there, and a ``MessageDelta`` replaces its
    stop reason and usage; texts with only a pause between them are one block.
    ``window`` is the tokens that it takes, ``None`` for any number.
    ``contexts`` are those it was sent. ``rate`` is in words a second, 0 is at once.
    A call more than there are responses is a ``ModelError``.
    """

    def __init__(self, *responses: Response, rate: float = 0, window: int | None = None) -> None:
        self.responses = responses
        self.rate = rate
        self.window = window
        self._capabilities = Capabilities(server_tools=True, window=window)
        self.contexts: list[CompiledContext] = []

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def source(self) -> Source:
        return "simulated"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def __repr__(self) -> str:
        return f"<ScriptedModel {len(self.contexts)} of {len(self.responses)} responses given>"

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        """Play the next response."""
        self.contexts.append(context)
        items = await self._next(context)
        yield MessageStart(self.name, self.source)
        performance = _Performance(context, self.rate)
        for position, item in enumerate(items):
            for step in performance.play(item, items[position + 1 :]):
                if isinstance(step, Event):
                    yield step
                else:
                    await step
        yield performance.end()
        yield MessageStop()

    async def _next(self, context: CompiledContext) -> list[Item]:
        asked = len(self.contexts)
        if asked > len(self.responses):
            raise ModelError(
                f"the scripted model has {len(self.responses)} responses and was asked for number {asked}; "
                "give ScriptedModel(...) one for each model call"
            )
        items = await _items(self.responses[asked - 1], context)
        if len(items) == 1:
            _raise(items[0])
        return items


class _Performance:
    """One response on its way: what was played, and the text block that is still open."""

    def __init__(self, context: CompiledContext, rate: float) -> None:
        self.context = context
        self.rate = rate
        self.blocks: list[Block] = []
        self.open: str | None = None
        self.delta: MessageDelta | None = None

    def play(self, item: Item, following: Sequence[Item]) -> Iterator[Step]:
        _raise(item)
        if isinstance(item, Pause):
            yield item.hold()
            if self.open is not None and not (following and isinstance(following[0], (str, Text))):
                yield self._close()
        elif isinstance(item, MessageDelta):
            self.delta = item
        elif isinstance(item, (str, Text)):
            yield from self._text(str(item), following)
        else:
            block = self._named(item)
            yield from block_steps(len(self.blocks), block)
            self.blocks.append(block)

    def _text(self, text: str, following: Sequence[Item]) -> Iterator[Step]:
        index, before = len(self.blocks), self.open or ""
        if self.open is None:
            yield ContentBlockStart(index, "text")
        pieces = words(text) if self.rate else chunks(text)
        yield from text_steps(index, pieces, rate=self.rate, offset=len(before))
        self.open = before + text
        # A pause or an exception right after a text finds it unfinished.
        if not (following and (isinstance(following[0], Pause) or _is_exception(following[0]))):
            yield self._close()

    def _close(self) -> ModelEvent:
        block = Text(self.open or "")
        self.open = None
        self.blocks.append(block)
        return ContentBlockStop(len(self.blocks) - 1, block)

    def _named(self, block: Any) -> Block:
        if isinstance(block, ToolCall):
            return (
                block
                if block.id
                else ToolCall(call_id(self.context, len(self.blocks)), block.name, block.input)
            )
        if isinstance(block, Thinking):
            return block
        raise ModelError(
            "a scripted response is text, call(...), thinking, pause(), an exception, a list of those or a "
            f"function of the compiled context; got {type(block).__name__}: {block!r}"
        )

    def end(self) -> MessageDelta:
        if self.delta is not None:
            return replace(self.delta)
        calls = any(isinstance(block, ToolCall) for block in self.blocks)
        usage = estimated_usage(self.context.tokens, self.blocks)
        return MessageDelta("tool_use" if calls else "end_turn", usage)


async def _items(response: Any, context: CompiledContext) -> list[Item]:
    """Resolve functions of the context, and make a list of what remains."""
    if callable(response) and not isinstance(response, type):
        made = response(context)
        return await _items(await made if isinstance(made, Awaitable) else made, context)
    if isinstance(response, (list, tuple)):
        return list(response)
    return [response]


def _is_exception(item: object) -> bool:
    return isinstance(item, BaseException) or (inspect.isclass(item) and issubclass(item, BaseException))


def _raise(item: object) -> None:
    if isinstance(item, BaseException) or (isinstance(item, type) and issubclass(item, BaseException)):
        raise item
