"""The contract between the loop and any model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from nbsession.content import Document, Image, ToolResult
from nbsession.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nbsession.content import Block
    from nbsession.context import Capabilities, CompiledContext
    from nbsession.events import ModelEvent

Source: TypeAlias = Literal["live", "recorded", "simulated"]
"""Where a response came from: a model, a recording, or rules without a language model."""


OUTPUT_SCHEMA = "output_schema"
"""The model setting that asks for an answer of a JSON schema."""


@runtime_checkable
class ModelAdapter(Protocol):
    """A model that answers a compiled context.

    ``name`` is what the user wrote to choose it (``"anthropic:<id>"``,
    ``"simulated"``). ``stream`` yields, for one answer: ``MessageStart``; for
    each block ``ContentBlockStart``, its deltas, ``ContentBlockStop`` with the
    finished block; ``MessageDelta`` with stop reason and usage;
    ``MessageStop``. It raises ``ModelError`` for every failure, never a
    provider's own class, and never ends without ``MessageStop`` otherwise.
    Cancelling the task that iterates closes the connection. An adapter changes
    syntax only: what is sent is the context, no more and no less.

    Optional: ``request(context)``, the body of the provider's request as JSON data, without keys; ``async prepare() -> bool``, awaited before each call, for an adapter that
    learns its capabilities from a server; it says whether they changed; ``batches()``, what asks the same in batches.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> Source: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]: ...


def request_for(model: ModelAdapter, context: CompiledContext) -> dict[str, Any]:
    """Return what an adapter sends for a context, as the provider's JSON; ``ModelError`` where it sends nothing."""
    request = getattr(model, "request", None)
    if request is None:
        raise no_request(model)
    made: dict[str, Any] = request(context)
    return made


def no_request(model: ModelAdapter) -> ModelError:
    """Return the error for a model that no provider answers."""
    return ModelError(
        f"{model.name} sends no request to a provider; name a model that does, such as anthropic:<id> or openai:<id>",
        kind="request",
    )


def rate_of(given: Any, what: str) -> float:
    """Return a rate as a number; ``what`` names it in the ``ModelError`` for one that is none."""
    try:
        rate = float(given)
    except (TypeError, ValueError):
        rate = math.nan
    if not math.isfinite(rate) or rate < 0:
        raise ModelError(f"{what} must be a number, 0 (at once) or more, got {given!r}", kind="request")
    return rate


def refuse_unfit(context: CompiledContext, model: ModelAdapter) -> None:
    """Raise ``ModelError`` where the context has what the model does not take.

    Tools, images, documents, or a schema of its answer.
    """
    can = model.capabilities
    if context.tools and not can.tools:
        names = ", ".join([tool.name for tool in context.tools])
        _refuse(model, "tools", names)
    schema = context.settings.get(OUTPUT_SCHEMA)
    if schema and not can.output:
        raise ModelError(
            f"{model.name} cannot be held to a schema, and is asked for a {schema.get('title', 'JSON object')}; "
            "choose another model, or send without output=",
            kind="request",
        )
    if can.images and can.documents:
        return
    for block in _blocks(context):
        if isinstance(block, Image) and not can.images:
            _refuse(model, "images", str(block))
        if isinstance(block, Document) and not can.documents:
            _refuse(model, "documents", str(block))


def _refuse(model: ModelAdapter, what: str, which: str) -> None:
    raise ModelError(
        f"{model.name} takes no {what}, and the context has {which}; choose another model, or leave them out",
        kind="request",
    )


def _blocks(context: CompiledContext) -> Iterator[Block]:
    for message in context.messages:
        for block in message.content:
            yield block
            if isinstance(block, ToolResult):
                yield from block.content
