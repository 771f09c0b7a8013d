"""Why Anthropic's cache missed: what a request asks of it, and what the answer says.

The service compares a request with an earlier one that it is told the answer of. It keeps what
it needs for that only of requests that ask, so all do, the first of a conversation, too.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, ToolCall
from nbsession.events import ContentBlockStop, MessageDelta
from nbsession.usage import CacheDiagnosis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping

    from nbsession.content import Block
    from nbsession.context import CompiledContext, Part
    from nbsession.events import ModelEvent

LOG = logging.getLogger("nbsession.models")

MOST_ANSWERS = 1_000
"""Answers of one adapter that a later request may be compared with."""

FIELD = "diagnostics"

UNCHANGED = CacheDiagnosis("nothing changed; what it kept has expired, or was too short to be kept")

_REASONS = {
    "model_changed": "the model changed",
    "system_changed": "the system prompt changed",
    "tools_changed": "the tools changed",
    "messages_changed": "an earlier message changed",
    "previous_message_not_found": "it does not know the request before any more",
    "unavailable": "it cannot say why",
}


class Answers:
    """The ids of an adapter's latest answers, found by the contexts that go on from them.

    May be used from several threads.
    """

    def __init__(self) -> None:
        self.refusing: set[str] = set()
        """The URLs of servers that refused to be asked."""
        self._ids: dict[Hashable, str] = {}
        self._lock = Lock()

    def before(self, context: CompiledContext) -> str | None:
        """Return the id of the answer that a context goes on from, ``None`` where it is not known."""
        messages = _messages(context)
        places = [place for place, part in enumerate(messages) if part.role == "assistant"]
        if not places or not places[-1]:
            return None
        answer = messages[places[-1]]
        return self._ids.get(_key(messages[places[-1] - 1], answer.blocks))

    def keep(self, context: CompiledContext, blocks: Iterable[Block], message_id: str) -> None:
        """Remember which answer a context got."""
        messages = _messages(context)
        if not messages or not message_id:
            return
        key = _key(messages[-1], blocks)
        with self._lock:
            self._ids.pop(key, None)
            self._ids[key] = message_id
            if len(self._ids) > MOST_ANSWERS:
                del self._ids[next(iter(self._ids))]


class Question:
    """What one request asks beside its context: why the cache could not be read up to the answer before."""

    def __init__(self, answers: Answers, context: CompiledContext, url: str) -> None:
        self._answers = answers
        self._context = context
        self._url = url
        self._before = answers.before(context)
        self._id = ""
        self._blocks: list[Block] = []

    def asking(self, create: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return ``create`` of the SDK with the question; a server that refuses it is sent the request without."""

        async def ask(**request: Any) -> Any:
            if self._url in self._answers.refusing:
                return await create(**request)
            # Not every version of the SDK knows the field.
            field = {FIELD: {"previous_message_id": self._before}}
            try:
                return await create(**request, extra_body=field)
            except Exception as error:
                if getattr(error, "status_code", 0) not in (400, 422) or FIELD not in str(error):
                    raise
            LOG.debug("%s refuses %r; it is not sent there again", self._url, FIELD)
            self._answers.refusing.add(self._url)
            return await create(**request)

        return ask

    def told(self, message: Mapping[str, Any]) -> CacheDiagnosis | None:
        """Read what a message says as it begins, ``None`` where that is nothing, or not known yet."""
        self._id = message.get("id") or ""
        if self._before is None or FIELD not in message or self._url in self._answers.refusing:
            return None
        found = message[FIELD]
        if found is None:
            return UNCHANGED
        reason = found.get("cache_miss_reason")
        if not reason:
            return None
        code = str(reason.get("type", ""))
        words = _REASONS.get(code, code.replace("_", " "))
        return CacheDiagnosis(words, code, reason.get("cache_missed_input_tokens") or 0)

    def take(self, event: ModelEvent) -> None:
        """Take the next event of the answer; one that is complete is remembered: a later request may go on from it."""
        if isinstance(event, ContentBlockStop):
            self._blocks.append(event.content)
        elif isinstance(event, MessageDelta):
            self._answers.keep(self._context, self._blocks, self._id)


def _messages(context: CompiledContext) -> list[Part]:
    return [part for part in context.flow if part.kind == "message"]


def _key(before: Part, blocks: Iterable[Block]) -> Hashable:
    """Tell answers apart by what they answer, and by what they say: forks may answer one message in several ways."""
    said = [str(block) for block in blocks if isinstance(block, (Text, ToolCall))]
    return before.identity, hash(tuple(text for text in said if text.strip()))
