"""The compiled context: exactly what a model is sent, and how two of them differ.

A context is a system prompt, a flow of messages, tools and settings. It is
immutable and cheap to make: what did not change is shared with the context
before, and texts, messages and hash are worked out when they are first asked
for.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nbsession import tokens as token
from nbsession.content import (
    Block,
    Document,
    Entry,
    Image,
    Message,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    block_from_dict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nbsession.diff import ContextDiff
    from nbsession.timeline import Chunk

Kind: TypeAlias = Literal["system", "section", "text", "block", "message", "tool"]


ORIGIN = "thinking"
"""The key of a signed answer's metadata under which its ``Origin`` stands."""


NOTHING_SPECIAL: frozenset[str] = frozenset()
"""What a message of texts holds that not every model takes."""


class Origin(NamedTuple):
    """Where signed thinking was made: behind which prefix (its hash), and by which model."""

    prefix: str
    model: str

    @classmethod
    def of(cls, entry: Entry) -> Origin | None:
        """Read the origin of an entry's thinking; ``None`` where nothing was signed."""
        kept = entry.metadata.get(ORIGIN)
        if entry.role != "assistant" or not isinstance(kept, dict) or kept.keys() != set(cls._fields):
            return None  # the sender's own metadata may use the word, too
        return cls(**kept)


class Part:
    """One piece of a compiled context.

    ``kind`` is ``"system"``, ``"section"``, ``"text"`` (loose text), ``"block"`` (formatted), ``"message"``
    or ``"tool"``; ``path`` is the component path it came from and ``key`` tells
    apart the parts of one path; ``title`` is a section's title, a tool's name or
    ``""``; ``role`` is who speaks (``"user"``, ``"assistant"``, ``"tool"``), ``""``
    outside messages; ``body`` is the text without a section's heading; ``origin``
    says where the signed thinking of an answer was made. ``tokens`` is an estimate. ``str()`` is the text as it is sent.
    """

    __slots__ = (
        "_digest",
        "_holds",
        "_variants",
        "blocks",
        "body",
        "key",
        "kind",
        "origin",
        "path",
        "role",
        "text",
        "title",
        "tokens",
    )

    def __init__(
        self,
        kind: Kind,
        path: str,
        text: str,
        *,
        key: str = "",
        title: str = "",
        body: str | None = None,
        role: str = "",
        blocks: tuple[Block, ...] = (),
        tokens: int | None = None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.key = key
        self.title = title
        self.text = text
        self.body = text if body is None else body
        self.role = role
        self.blocks = blocks
        self.tokens = token.estimate(text) if tokens is None else tokens
        self.origin: Origin | None = None
        self._digest: str | None = None
        self._holds = None if kind == "message" else NOTHING_SPECIAL
        self._variants: dict[Any, Part] | None = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Part {self.kind} {self.path}{f'[{self.key}]' if self.key else ''} ≈{self.tokens} tokens>"

    @property
    def identity(self) -> tuple[str, str, str]:
        """What says that two parts of two contexts are the same part."""
        return ("tool" if self.kind == "tool" else "", self.path, self.key)

    @property
    def digest(self) -> str:
        """A hash of what is sent of it; ids and places are not part of that."""
        if self._digest is None:
            self._digest = _digest_of(self.canonical())
        return self._digest

    @property
    def holds(self) -> frozenset[str]:
        """The kinds of content in it that not every model takes; see ``kinds_of``."""
        if self._holds is None:
            self._holds = kinds_of(self.blocks)
        return self._holds

    def variant(self, name: Any, title: str, blocks: Callable[[], Iterable[Block]]) -> Part:
        """Return the same message with other blocks, made once for each name."""
        known = self._variants
        if known is None:
            known = self._variants = {}
        if name not in known:
            known[name] = part = message_part(self.path, tuple(blocks()), key=self.key, role=self.role)
            part.title, part.origin = title, self.origin
        return known[name]

    def canonical(self) -> dict[str, Any]:
        """What is sent, as plain JSON data without ids."""
        if self.kind == "message":
            role = "assistant" if self.role == "assistant" else "user"
            return {"role": role, "content": [_canonical_block(block) for block in self.blocks]}
        return {"kind": "tool" if self.kind == "tool" else "text", "text": self.text}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON data, to be read back by ``from_dict``."""
        data: dict[str, Any] = {
            "kind": self.kind,
            "path": self.path,
            "text": self.text,
            "tokens": self.tokens,
        }
        for name in ("key", "title", "role"):
            if getattr(self, name):
                data[name] = getattr(self, name)
        if self.body != self.text:
            data["body"] = self.body
        if self.blocks:
            data["blocks"] = [block.to_dict() for block in self.blocks]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Part:
        return cls(
            data["kind"],
            data["path"],
            data["text"],
            key=data.get("key", ""),
            title=data.get("title", ""),
            body=data.get("body"),
            role=data.get("role", ""),
            blocks=tuple(block_from_dict(item) for item in data.get("blocks", ())),
            tokens=data["tokens"],
        )


class Parts(tuple[Part, ...]):
    """Parts in the order they are sent. ``str()`` joins their texts; ``"text" in parts`` searches them."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The texts, with a blank line between."""
        return "\n\n".join(part.text for part in self)

    def __str__(self) -> str:
        return self.text

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str):
            return any(item in part.text for part in self)
        return tuple.__contains__(self, item)


class Withheld(NamedTuple):
    """Something that was rendered and is not sent, on purpose.

    ``reason`` is ``"user audience"``, ``"collapsed"``, or of a timeline's entries
    ``"policy"``, ``"filtered"``, ``"compacted"`` or ``"rewritten"``, or a sentence;
    ``tokens`` is what it would cost.
    """

    path: str
    reason: str
    text: str = ""
    tokens: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


FlowItem: TypeAlias = "Part | Chunk"


class CompiledContext:
    """What a model is sent: a value, comparable by its ``hash``.

    ``system`` are the parts of the system prompt, ``messages`` the turns as the
    model reads them (neighbours of one role merged, tool results first),
    ``tools`` the tools' specs, ``settings`` the model settings of the tree.
    ``parts`` is everything in order: system, tools, messages and what stands
    among and after them. ``withheld`` is what was rendered and left out on
    purpose. ``tokens`` is the estimated sum.
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
    ) -> None:
        self._system = system
        self._flow = flow
        self._tools = tools
        self.tools: tuple[ToolSpec, ...] = tuple(specs)
        self.settings: Mapping[str, Any] = settings or {}
        self.withheld = withheld
        self.pending = pending
        self.tokens: int = _sum_tokens(system, flow, tools) if tokens is None else tokens

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
        return merge(self.flow)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical form: contents in order, without ids, places and times."""
        digest = self._prefix()
        digest.update(_json(dict(self.settings)).encode())
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
        from nbsession.diff import diff_contexts

        return diff_contexts(older, self)

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
        }

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


def tool_part(spec: ToolSpec, path: str) -> Part:
    """Make the part that stands for a tool's specification."""
    return Part("tool", path, _json(spec.to_dict()), key=spec.name, title=spec.name, body=spec.description)


def entry_part(entry: Entry, path: str) -> Part:
    """Make the part that an entry of the timeline is sent as.

    Empty texts and thinking that no provider signed are not sent, nor is, of an
    answer that was cut, a call of a provider's own tool that got no result.
    """
    blocks = sendable(entry.content)
    if entry.status == "interrupted":
        blocks = _without_open_calls(blocks)
    part = message_part(path, blocks, key=entry.id, role=entry.role)
    part.origin = Origin.of(entry)
    return part


def message_part(path: str, blocks: tuple[Block, ...], *, key: str, role: str) -> Part:
    """Make the part of a message that holds these blocks."""
    text = str(blocks[0]) if len(blocks) == 1 else "\n\n".join([str(block) for block in blocks])
    return Part("message", path, text, key=key, role=role, blocks=blocks, tokens=tokens_of(blocks))


def kinds_of(blocks: Iterable[Block]) -> frozenset[str]:
    """Say what blocks hold that not every model takes.

    That is ``"images"``, ``"documents"``, ``"calls"`` (of tools, and their results),
    ``"steps"`` (of a provider's own tool), ``"citations"`` and signed ``"thinking"``.
    """
    kinds: set[str] = set()
    for block in blocks:
        if isinstance(block, Text):
            if block.citations:
                kinds.add("citations")
        elif isinstance(block, ToolResult):
            kinds.add("calls")
            kinds |= kinds_of(block.content)
        elif isinstance(block, Thinking):
            if block.raw:
                kinds.add("thinking")
        elif (kind := _KINDS.get(type(block))) is not None:
            kinds.add(kind)
    return frozenset(kinds) if kinds else NOTHING_SPECIAL


_KINDS: Mapping[type, str] = {
    Image: "images",
    Document: "documents",
    ToolCall: "calls",
    ServerTool: "steps",
}


def sendable(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Leave out what no request may hold: blank texts, and thinking without a provider's own block."""
    for block in blocks:
        if _unsendable(block):
            return tuple([block for block in blocks if not _unsendable(block)])
    return blocks


def _unsendable(block: Block) -> bool:
    if isinstance(block, Text):
        return not block.text or block.text.isspace()
    return isinstance(block, Thinking) and not block.raw


def _without_open_calls(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    ended = {block.call_id for block in blocks if isinstance(block, ServerTool) and block.is_result}
    return tuple(
        block
        for block in blocks
        if not isinstance(block, ServerTool) or block.is_result or block.call_id in ended
    )


def tokens_of(blocks: Iterable[Block]) -> int:
    """Estimate the tokens of a message's blocks, its frame included."""
    total = token.MESSAGE_OVERHEAD
    for block in blocks:
        if isinstance(block, Text):
            total += token.estimate(block.text)
        elif isinstance(block, ToolCall):
            total += token.estimate(block.name) + token.estimate(_json(dict(block.input)))
        elif isinstance(block, ToolResult):
            total += tokens_of(block.content)
        elif isinstance(block, Image):
            total += token.estimate_image(block.width, block.height)
        elif isinstance(block, Document):
            total += max(1, len(block.data) // 16)
        elif isinstance(block, ServerTool):
            total += token.estimate(_json(dict(block.raw)))
        elif block.raw:
            total += token.estimate(block.text)
    return total


def merge(flow: Iterable[Part]) -> tuple[Message, ...]:
    """Merge parts into alternating turns, tool results before anything else in a user turn."""
    turns: list[tuple[Literal["user", "assistant"], list[Block]]] = []
    for part in flow:
        blocks: tuple[Block, ...] = part.blocks if part.kind == "message" else (Text(part.text),)
        if not blocks:
            continue
        role: Literal["user", "assistant"] = "assistant" if part.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    for role, content in turns:
        if role == "user" and any(isinstance(block, ToolResult) for block in content):
            content.sort(key=lambda block: not isinstance(block, ToolResult))
    return tuple(Message(role, tuple(content)) for role, content in turns)


def flatten(flow: Iterable[FlowItem]) -> Iterator[Part]:
    """Give the parts of a flow, those of chunks one by one."""
    for item in flow:
        if isinstance(item, Part):
            yield item
        else:
            yield from item.parts


def _sum_tokens(*groups: Sequence[FlowItem]) -> int:
    return sum(item.tokens for group in groups for item in group)


def _canonical_block(block: Block) -> dict[str, Any]:
    if isinstance(block, ToolCall):
        return {"type": "tool_call", "name": block.name, "input": dict(block.input)}
    if isinstance(block, ToolResult):
        content = [_canonical_block(item) for item in block.content]
        return {"type": "tool_result", "name": block.name, "content": content, "is_error": block.is_error}
    return block.to_dict()


_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str).encode


def _digest_of(data: Any) -> str:
    return hashlib.sha256(_json(data).encode("utf-8", "surrogatepass")).hexdigest()
