"""Anthropic's Message Batches: many requests at once, answered within a day, for less."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import ModelError
from nbsession.events import MessageDelta
from nbsession.models.anthropic.context_editing import FIELD as CONTEXT_EDITING
from nbsession.models.anthropic.context_editing import HEADER as EDITING_HEADER
from nbsession.models.anthropic.stream import Answer
from nbsession.models.base import Source, refuse_unfit, request_for
from nbsession.models.failure import failed, without_key
from nbsession.models.wire import learn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from nbsession.context import Capabilities, CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.base import ModelAdapter
    from nbsession.models.endpoint import Endpoint
    from nbsession.models.wire import Wire

_NOT_MADE = ("rate_limit", "overloaded")
"""Kinds of failure after which it is certain that no batch was made."""
_PAGE = 100


class Listed(NamedTuple):
    """A batch as the provider lists it; ``created`` is in seconds since the epoch."""

    id: str
    created: float
    requests: int


class Reply(NamedTuple):
    """What became of one request: its ``message``, or the ``error`` of one that has none.

    ``expired`` says that it was not begun in time, so that it may be sent again.
    """

    message: Any = None
    error: ModelError | None = None
    expired: bool = False


class MessageBatches:
    """Sends batches to where a model's requests go. Every failure is a ``ModelError`` of one sentence.

    Raises ``MissingKeyError`` where there is no key.
    """

    def __init__(self, model: ModelAdapter, wire: Wire, kinds: Mapping[str, str]) -> None:
        self.endpoint: Endpoint = wire.endpoint()
        self._model = model
        self._wire = wire
        self._kinds = kinds

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return what a batch asks for a context: what ``stream`` sends, but for the stream."""
        refuse_unfit(context, self._model)
        request = request_for(self._model, context)
        return {name: value for name, value in request.items() if name != "stream"}

    async def send(self, requests: Mapping[str, Mapping[str, Any]]) -> str:
        """Send requests, each with an id of 1 to 64 letters, digits, ``_`` and ``-``; return the batch's id.

        It is tried again only where it is certain that no batch was made.
        """
        entries = [{"custom_id": name, "params": request} for name, request in requests.items()]
        edits = any(CONTEXT_EDITING in request for request in requests.values())
        options = {"extra_headers": EDITING_HEADER} if edits else {}
        api = await self._api()
        batch = await self._asked(api.create, {"requests": entries, **options}, again=_NOT_MADE)
        return str(batch.id)

    async def ended(self, batch: str) -> bool:
        """Say whether every request of a batch was answered, or will not be."""
        api = await self._api()
        found = await self._asked(api.retrieve, {"message_batch_id": batch}, missing=self._unknown(batch))
        return bool(found.processing_status == "ended")

    async def replies(self, batch: str) -> dict[str, Reply]:
        """Return what became of each request of a batch that has ended, by its id, in whatever order they come."""
        api = await self._api()

        async def read(message_batch_id: str) -> dict[str, Reply]:
            found = await api.retrieve(message_batch_id)
            if not found.results_url:  # it is long ago: they are kept for 29 days
                return {}
            try:
                results = await api.results(message_batch_id)
                return {each.custom_id: self._reply(each.result) async for each in results}
            except (ValueError, AttributeError) as error:
                raise failed(
                    f"the answers of batch {batch} cannot be read ({type(error).__name__}); run again",
                    "stream",
                ) from error

        replies: dict[str, Reply] = await self._asked(
            read, {"message_batch_id": batch}, missing=self._unknown(batch)
        )
        return replies

    async def since(self, time: float) -> list[Listed]:
        """Return the batches that were made since a time (seconds since the epoch), the newest first."""
        api = await self._api()

        async def read() -> list[Listed]:
            found = []
            async for batch in api.list(limit=_PAGE):
                counts = batch.request_counts
                size = (
                    counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                )
                listed = Listed(batch.id, batch.created_at.timestamp(), size)
                if listed.created < time:
                    break
                found.append(listed)
            return found

        batches: list[Listed] = await self._asked(read, {})
        return batches

    async def _api(self) -> Any:
        return (await self._wire.client(self.endpoint)).messages.batches

    async def _asked(
        self,
        create: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any],
        *,
        missing: str = "",
        again: tuple[str, ...] | None = None,
    ) -> Any:
        missing = (
            missing or f"{self._model.name} takes no batches at {self.endpoint.host}; run without batch=True"
        )
        return await self._wire.asked(self.endpoint, create, request, missing=missing, again=again)

    def _unknown(self, batch: str) -> str:
        return (
            f"batch {batch} is not known at {self.endpoint.host} to this API key; use a key of the workspace that it "
            "was sent from, or another name= to send all of it anew"
        )

    def _reply(self, result: Any) -> Reply:
        name = self._model.name
        if result.type == "succeeded":
            return Reply(result.message)
        if result.type == "expired":
            text = f"{name} did not come to it before its batch expired; run again to send it once more"
            return Reply(error=failed(text, "timeout"), expired=True)
        if result.type == "canceled":
            text = f"its batch was canceled before {name} came to it; run again to send it"
            return Reply(error=failed(text, "other"))
        told = result.error.error
        words = without_key(told.message, self.endpoint.key)
        kind = self._kinds.get(told.type, "server")
        return Reply(
            error=ModelError(
                f"{name} refused it in its batch ({told.type}): {words}; run again to send it", kind=kind
            )
        )


class Received:
    """A model whose answer to one context has come already: it gives that, and asks nobody.

    ``asked`` is the hash of the context that it answers.
    """

    def __init__(self, model: ModelAdapter, reply: Reply, asked: str) -> None:
        self._model = model
        self._reply: Reply | None = reply
        self._asked = asked

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def source(self) -> Source:
        return self._model.source

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return what the model would be sent."""
        return request_for(self._model, context)

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Give the answer, whose usage says that it came in a batch; see ``ModelAdapter``.

        Raises ``ModelError`` for another context, and where it was given before.
        """
        reply, self._reply = self._reply, None
        if reply is None:
            raise failed(
                "a batch has one tick, and this trial wants another one; run it without batch=True", "request"
            )
        if context.hash != self._asked:
            raise failed(
                f"the context is another one than {self.name} answered in the batch: it changes from one time that it "
                "is compiled to the next, as by the time of day; run it without batch=True",
                "request",
            )
        if reply.error is not None:
            raise reply.error
        answer = Answer(self.name, self.name.partition(":")[0])
        for raw in _events_of(reply.message):
            for event in answer.take(raw):
                yield event
        for event in answer.end():
            if isinstance(event, MessageDelta):
                event.usage = replace(event.usage, batch=True)
            await learn(self.name, context, event)
            yield event


def _events_of(message: Any) -> Iterator[Any]:
    """Give a finished message as the raw events of a stream, each block of which is whole as it starts."""
    yield SimpleNamespace(type="message_start", message=message)
    for index, block in enumerate(message.content):
        yield SimpleNamespace(type="content_block_start", index=index, content_block=block)
        yield SimpleNamespace(type="content_block_stop", index=index)
    yield SimpleNamespace(type="message_delta", delta=message, usage=message.usage, to_dict=message.to_dict)
    yield SimpleNamespace(type="message_stop")
