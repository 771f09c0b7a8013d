"""The compiled context: exactly what a model is sent.

A context is a system prompt, a flow of messages, tools and settings. It is
immutable and cheap to make: what did not change is shared with the context
before, and texts, messages and hash are worked out when they are first asked
for.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nbsession.content import Message, ToolSpec
from nbsession.context.chunk import FlowItem, flatten
from nbsession.context.messages import go_on, merged
from nbsession.context.part import Part, Parts, canonical_json, tokens_of, tool_part
from nbsession.context.withheld import BUDGET, Withheld
from nbsession.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbsession.context.diff import ContextDiff


class CompiledContext:
    """What a model is sent: a value, comparable by its ``hash``.

    ``system`` are the parts of the system prompt, ``messages`` the turns as the
    model reads them (neighbours of one role merged, tool results first),
    ``tools`` the tools' specs, ``settings`` the model settings of the tree.
    ``parts`` is everything in order: system, tools, messages and what stands
    among and after them. ``withheld`` is what was rendered and left out on
    purpose. ``tokens`` is the estimated sum. ``model`` names what it was compiled for, ``""`` for no one.
    """

    def __init__(
        self,
        system: Sequence[Part],
        flow: Sequence[FlowItem],
        tools: Sequence[Part] = (),
        *,
        specs: Sequence[ToolSpec] = (),
        settings: Mapping[str, Any] | None = None,
        withheld: tuple[Withheld, ...] = (),
        tokens: int | None = None,
        pending: tuple[str, ...] = (),
        model: str = "",
        left_out: Callable[[], Iterable[Withheld]] | None = None,
    ) -> None:
        self._system = system
        self._flow = flow
        self._tools = tools
        self.tools: tuple[ToolSpec, ...] = tuple(specs)
        self.settings: Mapping[str, Any] = settings or {}
        self._withheld = withheld
        self._left_out = left_out
        self.pending = pending
        self.model = model
        self.tokens: int = _sum_tokens(system, flow, tools) if tokens is None else tokens

    @cached_property
    def withheld(self) -> tuple[Withheld, ...]:
        """What was rendered and is not sent."""
        left_out = self._left_out
        return self._withheld if left_out is None else (*self._withheld, *left_out())

    @cached_property
    def system(self) -> Parts:
        """The parts of the system prompt."""
        return Parts(self._system)

    @cached_property
    def flow(self) -> Parts:
        """The parts that make the messages, in order."""
        return Parts(flatten(self._flow))

    @cached_property
    def parts(self) -> Parts:
        """All parts: system, tools, then the flow of messages."""
        return Parts((*self.system, *self._tools, *self.flow))

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The turns as the model reads them."""
        return merge(self._flow)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical form: contents in order, without ids, places and times."""
        digest = self._prefix()
        digest.update(canonical_json(dict(self.settings)).encode())
        return digest.hexdigest()

    @property
    def prefix(self) -> str:
        """The hash of what an answer to this context stands behind: all of it but most of the settings."""
        return self._prefix().hexdigest()

    def _prefix(self) -> hashlib._Hash:
        digest = prefix_hash(self._system, self._tools, self.settings)
        for item in self._flow:
            digest.update(item.digest.encode() if isinstance(item, Part) else item.digests())
        return digest

    def diff(self, older: CompiledContext) -> ContextDiff:
        """Say what changed since ``older``, part by part.

        Parts are matched by component path and key, so a moved section is
        reported as moved, not as removed and added. Token figures are
        estimates. Equal contexts give an empty, falsy diff.
        """
        from nbsession.context.diff import diff_contexts

        return diff_contexts(older, self)

    def request(self, model: Any) -> dict[str, Any]:
        """Return the body of the request that an adapter sends for this, as its provider's JSON; no key is in it.

        ``model`` is an adapter, such as ``AnthropicModel("…")`` or what ``nbsession.models.resolve(name)`` gives;
        ``session.request()`` takes a name, and has the model that was asked. Nothing is sent. Raises
        ``CompileError`` for what is no such adapter.
        """
        make = getattr(model, "request", None)
        if make is None:
            raise CompileError(
                f"request takes an adapter that sends requests, got {model!r:.80}; "
                "nbsession.models.resolve('anthropic:<id>') makes one"
            )
        made: dict[str, Any] = make(self)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return the context as plain JSON data: the request's content, then parts and figures."""
        return {
            "system": [part.text for part in self.system],
            "messages": [message.to_dict() for message in self.messages],
            "tools": [spec.to_dict() for spec in self.tools],
            "settings": dict(self.settings),
            "parts": [part.to_dict() for part in self.parts],
            "withheld": [item._asdict() for item in self.withheld],
            "tokens": self.tokens,
            "hash": self.hash,
            "model": self.model,
            "pending": list(self.pending),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CompiledContext:
        """Read a context back; its ``messages`` and ``hash`` are worked out anew and need not be there."""
        parts = [Part.from_dict(item) for item in data["parts"]]
        system = len(data["system"])
        flow = next((n for n in range(system, len(parts)) if parts[n].kind != "tool"), len(parts))
        return cls(
            parts[:system],
            parts[flow:],
            parts[system:flow],
            specs=[ToolSpec.from_dict(item) for item in data["tools"]],
            settings=data["settings"],
            withheld=tuple(Withheld(**item) for item in data["withheld"]),
            tokens=data["tokens"],
            pending=tuple(data["pending"]),
            model=data["model"],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompiledContext) and (self is other or self.hash == other.hash)

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return (
            f"<CompiledContext ≈{self.tokens} tokens: {len(self._system)} system parts, "
            f"{len(self._tools)} tools, {len(self.flow)} message parts>"
        )

    def __str__(self) -> str:
        blocks = [f"── system · {part.path} ≈{part.tokens}\n{part.text}" for part in self.system]
        blocks += [f"── tool · {part.title} ≈{part.tokens}" for part in self._tools]
        blocks += [
            f"── {part.role or part.kind} · {part.path} ≈{part.tokens}\n{part.text}" for part in self.flow
        ]
        blocks += [f"── not sent · {item}" for item in self.withheld if item.reason == BUDGET]
        return "\n".join(blocks)


NOTHING_SENT = CompiledContext((), (), tokens=0)
"""The empty context, of a tick that has not been compiled."""


def prefix_hash(system: Iterable[Part], tools: Iterable[Part], settings: Mapping[str, Any]) -> hashlib._Hash:
    """Return a running hash of a system prompt and tools, for the messages to be added to.

    Of the settings it holds the one that is sent within the messages.
    """
    digest = hashlib.sha256(b"citations|" if settings.get("citations") else b"")
    for group in (system, tools):
        for part in group:
            digest.update(part.digest.encode())
        digest.update(b"|")
    return digest


def context_of(
    system: Sequence[str] = (),
    messages: Sequence[Message] = (),
    tools: Sequence[ToolSpec] = (),
    settings: Mapping[str, Any] | None = None,
) -> CompiledContext:
    """Make a context by hand, without a tree: for adapters, tests and tools."""
    parts = [Part("system", f"system.{n}", text) for n, text in enumerate(system)]
    flow = [
        Part(
            "message",
            f"message.{n}",
            str(message),
            role=message.role,
            blocks=message.content,
            tokens=tokens_of(message.content),
        )
        for n, message in enumerate(messages)
    ]
    return CompiledContext(
        parts, flow, [tool_part(spec, "tools") for spec in tools], specs=tools, settings=settings
    )


def merge(flow: Iterable[FlowItem]) -> tuple[Message, ...]:
    """Merge a flow into alternating turns, tool results before anything else in a user turn."""
    messages: list[Message] = []
    parts: list[Part] = []
    for item in flow:
        if isinstance(item, Part):
            parts.append(item)
        else:
            go_on(messages, merged(parts))
            go_on(messages, item.messages)
            parts.clear()
    go_on(messages, merged(parts))
    return tuple(messages)


def _sum_tokens(*groups: Sequence[FlowItem]) -> int:
    return sum(item.tokens for group in groups for item in group)
