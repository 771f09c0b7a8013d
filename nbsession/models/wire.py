"""What the adapters that speak HTTP have in common: keys, hosts, and how a failure is told."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nbsession.calibration import observe
from nbsession.content import Text, ToolCall, ToolResult
from nbsession.errors import ModelError
from nbsession.events import MessageDelta

if TYPE_CHECKING:
    from nbsession.content import Block
    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent

LOCAL_KEY = "none-needed"
"""What is sent as the key to a server that needs none: the SDKs refuse to send nothing."""

_RETRYABLE = ("rate_limit", "overloaded", "timeout", "server", "connection", "stream")
_STATUS_KINDS = {
    401: "authentication",
    403: "authentication",
    408: "timeout",
    429: "rate_limit",
    504: "timeout",
    529: "overloaded",
}
_TOO_LARGE = ("too long", "too large", "context length", "context size", "context window")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that a server reported itself. ``status`` is 0 in mid-stream; ``kind`` as in ``ModelError``.

    ``message`` are the server's words, ``wait`` its ``retry-after``, ``variable``
    the environment variable that holds the key.
    """

    model: str
    status: int
    kind: str
    message: str
    wait: str = ""
    variable: str = ""


async def learn(model: str, context: CompiledContext, event: ModelEvent) -> None:
    """Compare the reported input tokens of an answer that ends with the estimate of its context."""
    if not isinstance(event, MessageDelta) or event.usage.estimated or not event.usage.input_tokens:
        return
    if any(tool.options is not None for tool in context.tools):
        return  # what the provider's tools find meanwhile counts as input, too
    if all(_is_text(block) for message in context.messages for block in message.content):
        await asyncio.to_thread(observe, model, context.tokens, event.usage.input_tokens)


def _is_text(block: Block) -> bool:
    """Say whether a block is estimated as text: media and thinking are counted by other rules."""
    if isinstance(block, ToolResult):
        return all(isinstance(item, Text) for item in block.content)
    return isinstance(block, (Text, ToolCall))


def failed(text: str, kind: str) -> ModelError:
    """Make the error; whether it may be retried follows from its kind."""
    return ModelError(text, retryable=kind in _RETRYABLE, kind=kind)


def kind_of(status: int) -> str:
    """Return what an HTTP status amounts to."""
    return _STATUS_KINDS.get(status) or ("server" if status >= 500 else "request")


def refused(refusal: Refusal, key: str) -> ModelError:
    """Put what a server reported into one sentence that says what to do; ``key`` is never in it."""
    name, kind = refusal.model, refusal.kind
    words = re.sub(r"\s+", " ", refusal.message).strip().rstrip(".").replace(key, "[key]")[:300]
    said = (f" ({refusal.status})" if refusal.status else "") + (f": {words}" if words else "")
    if kind == "authentication":
        text = f"{name} refused the API key{said}; check {refusal.variable} or api_key="
    elif kind == "rate_limit":
        pause = f"{refusal.wait} s" if refusal.wait.isdigit() else "a minute"
        text = f"{name} is over its rate limit{said}; wait {pause}, then send again"
    elif kind == "overloaded":
        text = f"{name} is overloaded{said}; wait a moment, then send again, or choose another model"
    elif kind == "timeout":
        text = f"{name} took too long{said}; send again"
    elif refusal.status == 404:
        text = f"{name} is not known where it was asked for{said}; check the model's id and base_url="
    elif kind == "server":
        text = f"{name} failed on its side{said}; send again"
    elif any(sign in words for sign in _TOO_LARGE):
        text = f"the context is too large for {name}{said}; show less, such as Timeline(limit=20)"
    else:
        text = f"{name} refused the request{said}; look at the compiled context and the settings"
    return failed(text, kind)


def check_key(key: str, model: str) -> None:
    """Raise ``ModelError`` for a key that no header may hold: HTTP libraries would quote, and so show it."""
    if not (key.isascii() and key.isprintable()):
        raise ModelError(
            f"the API key for {model} holds a character that no HTTP header may hold; copy it again",
            kind="authentication",
        )


def is_at(url: str, hosts: Iterable[str]) -> bool:
    """Say whether a URL's host is one of ``hosts``, or below one."""
    host = urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in hosts)


def on_this_machine(url: str) -> bool:
    """Say whether a URL's host is the loopback."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
