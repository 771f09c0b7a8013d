"""The compiled context: exactly what a model is sent, and how two of them differ.

A context is a system prompt, a flow of messages, tools and settings. It is
immutable and cheap to make: what did not change is shared with the context
before, and texts, messages and hash are worked out when they are first asked
for.
"""

from __future__ import annotations

import hashlib
import itertools
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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.timeline import Chunk

Kind: TypeAlias = Literal["system", "section", "text", "block", "message", "tool"]


PREFIX = "prefix"
"""The key of a signed answer's metadata under which the hash of its context's prefix stands."""


class Part:
    """One piece of a compiled context.

    ``kind`` is ``"system"``, ``"section"``, ``"text"`` (loose text), ``"block"`` (formatted), ``"message"``
    or ``"tool"``; ``path`` is the component path it came from and ``key`` tells
    apart the parts of one path; ``title`` is a section's title, a tool's name or
    ``""``; ``role`` is who speaks (``"user"``, ``"assistant"``, ``"tool"``), ``""``
    outside messages; ``body`` is the text without a section's heading; ``prefixes``
    says under which prefix a signed answer was made, by its key. ``tokens`` is an
    estimate. ``str()`` is the text as it is sent.
    """

    __slots__ = (
        "_digest",
        "blocks",
        "body",
        "key",
        "kind",
        "path",
        "prefixes",
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
        self.prefixes: Mapping[str, str] = {}
        self._digest: str | None = None

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
        return Parts(_flatten(self._flow))

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
        """The hash of what an answer to this context stands behind: all of it but the settings."""
        return self._prefix().hexdigest()

    def _prefix(self) -> hashlib._Hash:
        digest = prefix_hash(self._system, self._tools)
        for item in self._flow:
            digest.update(item.digest.encode() if isinstance(item, Part) else item.digests())
        return digest

    def diff(self, older: CompiledContext) -> ContextDiff:
        """Say what changed since ``older``, part by part.

        Parts are matched by component path and key, so a moved section is
        reported as moved, not as removed and added. Token figures are
        estimates. Equal contexts give an empty, falsy diff.
        """
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


def prefix_hash(system: Iterable[Part], tools: Iterable[Part]) -> hashlib._Hash:
    """Return a running hash of a system prompt and tools, for the messages to be added to."""
    digest = hashlib.sha256()
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
    text = str(blocks[0]) if len(blocks) == 1 else "\n\n".join([str(block) for block in blocks])
    part = Part("message", path, text, key=entry.id, role=entry.role, blocks=blocks, tokens=tokens_of(blocks))
    if PREFIX in entry.metadata:
        part.prefixes = {entry.id: entry.metadata[PREFIX]}
    return part


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


class Change(NamedTuple):
    """A part that stands in both contexts with another content."""

    old: Part
    new: Part


class ContextDiff:
    """What changed from one context to another; falsy when nothing did.

    ``added`` and ``removed`` are parts, ``changed`` pairs of parts (``old``,
    ``new``), ``moved`` parts that only stand elsewhere. ``tokens`` is the signed
    change of the estimate. ``prefix_tokens_kept`` estimates how many tokens at
    the front of the request (tools, system, messages) are the same, and so may
    still be read from the provider's cache; ``prefix_broken_by`` is the part that
    ends them (new, changed, moved, or one that is gone), ``None`` where all of the
    older request stands at the front of the newer. ``settings`` are the changed
    model settings as ``name: (old, new)``.
    """

    __slots__ = (
        "added",
        "changed",
        "moved",
        "prefix_broken_by",
        "prefix_tokens_kept",
        "removed",
        "settings",
        "tokens",
    )

    def __init__(
        self,
        *,
        added: Sequence[Part] = (),
        removed: Sequence[Part] = (),
        changed: Sequence[Change] = (),
        moved: Sequence[Part] = (),
        settings: Mapping[str, tuple[Any, Any]] | None = None,
        tokens: int = 0,
        prefix_tokens_kept: int = 0,
        prefix_broken_by: Part | None = None,
    ) -> None:
        self.added = tuple(added)
        self.removed = tuple(removed)
        self.changed = tuple(changed)
        self.moved = tuple(moved)
        self.settings = dict(settings or {})
        self.tokens = tokens
        self.prefix_tokens_kept = prefix_tokens_kept
        self.prefix_broken_by = prefix_broken_by

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved or self.settings)

    def __repr__(self) -> str:
        return (
            f"<ContextDiff +{len(self.added)} −{len(self.removed)} ~{len(self.changed)} "
            f"moved {len(self.moved)}, {self.tokens:+d} tokens>"
        )

    def __str__(self) -> str:
        import difflib

        lines: list[str] = []
        for part in self.removed:
            lines.append(f"− {_label(part)} (≈{part.tokens} tokens)")
            lines.extend(f"-{line}" for line in part.text.splitlines())
        for part in self.added:
            lines.append(f"+ {_label(part)} (≈{part.tokens} tokens)")
            lines.extend(f"+{line}" for line in part.text.splitlines())
        for old, new in self.changed:
            lines.append(f"~ {_label(new)} ({new.tokens - old.tokens:+d} tokens)")
            changes = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), n=1, lineterm="")
            lines.extend(line for n, line in enumerate(changes) if n > 1 and not line.startswith("@@"))
        lines.extend(f"↕ {_label(part)} moved" for part in self.moved)
        lines.extend(f"~ {name}: {old!r} → {new!r}" for name, (old, new) in self.settings.items())
        if lines:
            end = f", up to {_label(self.prefix_broken_by)}" if self.prefix_broken_by is not None else ""
            lines.append(
                f"≈{self.tokens:+d} tokens; ≈{self.prefix_tokens_kept} tokens of the prefix are kept{end}"
            )
        return "\n".join(lines)


def diff_contexts(older: CompiledContext, newer: CompiledContext) -> ContextDiff:
    """Compare two contexts; see ``CompiledContext.diff``.

    What the two share as the same object is skipped without being looked at.
    """
    if older is newer:
        return ContextDiff(prefix_tokens_kept=newer.tokens)
    before, after = _numbered(_unshared(older, newer)), _numbered(_unshared(newer, older))
    common = [identity for identity in after if identity in before]
    crossed = set(itertools.islice(before, len(older._system))) ^ set(
        itertools.islice(after, len(newer._system))
    )
    moved = crossed.union(_moved([identity for identity in before if identity in after], common))
    kept, broken_by = _prefix_kept(older, newer)
    diff = ContextDiff(
        added=[part for identity, part in after.items() if identity not in before],
        removed=[part for identity, part in before.items() if identity not in after],
        changed=[
            Change(before[identity], after[identity])
            for identity in common
            if not _same(before[identity], after[identity])
        ],
        moved=[after[identity] for identity in common if identity in moved],
        settings={
            name: (older.settings.get(name), newer.settings.get(name))
            for name in {**older.settings, **newer.settings}
            if older.settings.get(name) != newer.settings.get(name)
        },
        tokens=newer.tokens - older.tokens,
        prefix_tokens_kept=kept,
        prefix_broken_by=broken_by,
    )
    if diff and not diff.tokens and not diff.settings and older.hash == newer.hash:
        # The same is sent from other places.
        return ContextDiff(prefix_tokens_kept=newer.tokens)
    return diff


Identity: TypeAlias = tuple[str, str, str, int]
"""A part's identity, and how many of that identity stand before it."""


def _numbered(parts: Iterable[Part]) -> dict[Identity, Part]:
    """Key parts by identity; trailing context that was sent again stands more than once."""
    numbered: dict[Identity, Part] = {}
    for part in parts:
        identity = (*part.identity, 0)
        while identity in numbered:
            identity = (*part.identity, identity[3] + 1)
        numbered[identity] = part
    return numbered


def _unshared(context: CompiledContext, other: CompiledContext) -> Iterator[Part]:
    """Give the parts, without the leading flow items that both contexts share."""
    yield from context._system
    yield from context._tools
    yield from _flatten(context._flow[_shared_items(context._flow, other._flow) :])


def _shared_items(flow: Sequence[FlowItem], other: Sequence[FlowItem]) -> int:
    shared = 0
    for mine, theirs in zip(flow, other, strict=False):
        if mine is not theirs:
            break
        shared += 1
    return shared


def _same(old: Part, new: Part) -> bool:
    return old is new or (
        old.text == new.text and old.role == new.role and old.kind == new.kind and old.digest == new.digest
    )


def _moved(old_order: list[Identity], common: list[Identity]) -> list[Identity]:
    """Return what stands outside the longest run that kept its order."""
    rank = {identity: n for n, identity in enumerate(old_order)}
    ranks = [rank[identity] for identity in common]
    if all(a < b for a, b in itertools.pairwise(ranks)):
        return []
    kept = _longest_increasing(ranks)
    return [identity for n, identity in enumerate(common) if n not in kept]


def _longest_increasing(values: list[int]) -> set[int]:
    """Return the positions of a longest increasing subsequence (patience sorting)."""
    import bisect

    tails: list[int] = []
    tail_positions: list[int] = []
    previous: list[int] = []
    for position, value in enumerate(values):
        slot = bisect.bisect_left(tails, value)
        previous.append(tail_positions[slot - 1] if slot else -1)
        if slot == len(tails):
            tails.append(value)
            tail_positions.append(position)
        else:
            tails[slot] = value
            tail_positions[slot] = position
    kept: set[int] = set()
    position = tail_positions[-1] if tail_positions else -1
    while position >= 0:
        kept.add(position)
        position = previous[position]
    return kept


def _prefix_kept(older: CompiledContext, newer: CompiledContext) -> tuple[int, Part | None]:
    """Estimate the tokens of the common front of two requests, and say which part ends it.

    The order is that of a request: tools, system, messages.
    """
    kept = 0
    for mine, theirs in ((newer._tools, older._tools), (newer._system, older._system)):
        for new, old in itertools.zip_longest(mine, theirs):
            if new is None or old is None or not (new is old or new.digest == old.digest):
                return kept, new if new is not None else old
            kept += new.tokens
    shared = _shared_items(newer._flow, older._flow)
    kept += sum(item.tokens for item in newer._flow[:shared])
    rest = itertools.zip_longest(_flatten(newer._flow[shared:]), _flatten(older._flow[shared:]))
    for new, old in rest:
        if old is None:
            break
        if new is None or not (new is old or new.digest == old.digest):
            return kept, new if new is not None else old
        kept += new.tokens
    return kept, None


def _flatten(flow: Iterable[FlowItem]) -> Iterator[Part]:
    for item in flow:
        if isinstance(item, Part):
            yield item
        else:
            yield from item.parts


def _sum_tokens(*groups: Sequence[FlowItem]) -> int:
    return sum(item.tokens for group in groups for item in group)


def _label(part: Part) -> str:
    name = part.title or part.role or part.kind
    return f"{name} · {part.path}"


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
