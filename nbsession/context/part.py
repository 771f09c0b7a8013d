"""A part: one piece of a compiled context, with the component it came from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nbsession.content import (
    Block,
    Document,
    Entry,
    Image,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    block_from_dict,
)
from nbsession.usage import tokens as token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Kind: TypeAlias = Literal["system", "section", "text", "block", "message", "tool"]


ORIGIN = "origin"
"""The key of an answer's metadata under which its ``Origin`` stands."""


INSERTED = "inserted"
"""The key of a message's metadata under which ``[expression, size in words]`` of each expression in it stands."""


MOST_NAMED = 3
"""Expressions of a message that are named; of more, their number is said."""


PROVIDERS_OWN = frozenset({"thinking", "steps", "citations"})
"""The kinds of content that only the provider reads again that it came from; see ``kinds_of``."""


NOTHING_SPECIAL: frozenset[str] = frozenset()
"""What a message of texts holds that not every model takes."""


class Origin(NamedTuple):
    """Where what only its provider reads again was made (signed thinking, steps of its own tools, citations).

    That is behind which prefix (its hash), and by which model.
    """

    prefix: str
    model: str

    @classmethod
    def of(cls, entry: Entry) -> Origin | None:
        """Read the origin of an entry; ``None`` where it holds nothing of the kind."""
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
    says where an answer was made that holds what only its provider reads again; ``edited`` that its text is not the
    tree's, but was put there by ``session.edit``; ``of`` is the digest of the tree's part where this
    is a text in its place; ``inserted`` which expressions a message was made with and
    the size of what they gave, in words (``"df, 4 rows"``). ``tokens`` is an estimate. ``str()`` is the text as it is sent.
    """

    __slots__ = (
        "_digest",
        "_holds",
        "_variants",
        "blocks",
        "body",
        "edited",
        "inserted",
        "key",
        "kind",
        "of",
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
        self.edited = False
        self.of = ""
        self.inserted = ""
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
    def readable(self) -> str:
        """The text as it is sent; of a tool, its description, and its schema set apart and indented."""
        if self.kind != "tool":
            return self.text
        try:
            schema = json.loads(self.text)["input_schema"]
        except (ValueError, LookupError, TypeError):
            return self.text
        return f"{self.body}\n\n{json.dumps(schema, indent=1, ensure_ascii=False)}"

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
            part.title, part.origin, part.inserted = title, self.origin, self.inserted
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
        if self.edited:
            data["edited"] = True
        if self.of:
            data["of"] = self.of
        if self.blocks:
            data["blocks"] = [block.to_dict() for block in self.blocks]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Part:
        part = cls(
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
        part.edited, part.of = data.get("edited", False), data.get("of", "")
        return part


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


def place_of(part: Part) -> str:
    """Name a part by its path, and its key where that does not stand there already."""
    if not part.key or part.path.endswith(f"[{part.key}]"):
        return part.path
    return f"{part.path}[{part.key}]"


def tool_part(spec: ToolSpec, path: str) -> Part:
    """Make the part that stands for a tool's specification; one that is not shown yet costs nothing."""
    return Part(
        "tool",
        path,
        canonical_json(spec.to_dict()),
        key=spec.name,
        title=spec.name,
        body=spec.description,
        tokens=0 if spec.deferred else None,
    )


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
    if INSERTED in entry.metadata:
        part.inserted = _inserted(entry.metadata[INSERTED])
    return part


def _inserted(kept: Any) -> str:
    """Say what expressions gave; the sender's own metadata may use the word, too."""
    pairs = kept if isinstance(kept, (list, tuple)) else ()
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        return ""
    said = [", ".join(str(word) for word in pair if word) for pair in pairs]
    more = [f"{len(said) - MOST_NAMED} more"] if len(said) > MOST_NAMED else []
    return "; ".join([*said[:MOST_NAMED], *more])


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
            total += token.estimate(block.name) + token.estimate(canonical_json(dict(block.input)))
        elif isinstance(block, ToolResult):
            total += tokens_of(block.content)
        elif isinstance(block, Image):
            total += token.estimate_image(block.width, block.height)
        elif isinstance(block, Document):
            total += max(1, len(block.data) // 16)
        elif isinstance(block, ServerTool):
            total += token.estimate(canonical_json(dict(block.raw)))
        elif block.raw:
            total += token.estimate(block.text)
    return total


def _canonical_block(block: Block) -> dict[str, Any]:
    if isinstance(block, ToolCall):
        return {"type": "tool_call", "name": block.name, "input": dict(block.input)}
    if isinstance(block, ToolResult):
        content = [_canonical_block(item) for item in block.content]
        return {"type": "tool_result", "name": block.name, "content": content, "is_error": block.is_error}
    return block.to_dict()


canonical_json = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
).encode


def _digest_of(data: Any) -> str:
    return hashlib.sha256(canonical_json(data).encode("utf-8", "surrogatepass")).hexdigest()
