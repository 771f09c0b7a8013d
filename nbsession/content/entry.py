"""An entry: one record of the timeline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nbsession.content.blocks import Block, Role, Text, ToolCall, ToolResult, block_from_dict
from nbsession.content.rich import message_content, result_content
from nbsession.errors import SessionError


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the timeline, immutable, with its parent in the tree of entries.

    ``status`` is ``"complete"`` or ``"interrupted"``. ``created`` is in seconds
    since the epoch. ``metadata`` is the sender's own JSON data.
    """

    id: str
    parent: str | None
    role: Role
    content: tuple[Block, ...]
    status: Literal["complete", "interrupted"] = "complete"
    created: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, role: Role, *content: Any, id: str = "") -> Entry:
        """Make an entry that is in no record, as for a policy or a test: ``Entry.of("user", "Hello")``.

        ``content`` is what a message may hold: text, pictures, data frames, figures; a ``ToolCall`` in
        an assistant's, ``ToolResult``s in a tool's. Without ``id``, equal ones are the same entry:
        their id is made of what they say. Raises ``SessionError`` for another role and for content
        that the role does not hold.
        """
        if role not in ("user", "assistant", "tool"):
            raise SessionError(f"an entry's role must be 'user', 'assistant' or 'tool', got {role!r}")
        blocks = message_content(role, content)
        said = json.dumps([role, [block.to_dict() for block in blocks]], sort_keys=True)
        return cls(id or f"of_{hashlib.sha256(said.encode()).hexdigest()[:18]}", None, role, blocks)

    def replace(self, *content: Any) -> Entry:
        """Return this entry, under its id, with other content; of a tool's entry, each result then says that.

        ``content`` is as in ``Entry.of``; a tool's takes what a tool returns, or each ``ToolResult``.
        """
        if self.role != "tool" or all(isinstance(item, ToolResult) for item in content):
            return replace(self, content=message_content(self.role, content))
        said = tuple(block for item in content for block in result_content(item))
        results = [block for block in self.content if isinstance(block, ToolResult)]
        return replace(self, content=tuple(replace(result, content=said) for result in results))

    @property
    def text(self) -> str:
        """The text blocks and what tools gave, joined by blank lines."""
        return "\n\n".join(block.text for block in self.content if isinstance(block, (Text, ToolResult)))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls among the content."""
        return tuple(block for block in self.content if isinstance(block, ToolCall))

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "parent": self.parent,
            "role": self.role,
            "content": [block.to_dict() for block in self.content],
            "status": self.status,
            "created": self.created,
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Entry:
        content = tuple(block_from_dict(item) for item in data["content"])
        return cls(
            data["id"],
            data["parent"],
            data["role"],
            content,
            data["status"],
            data["created"],
            data["metadata"],
        )

    def __str__(self) -> str:
        return "\n\n".join(str(block) for block in self.content)
