"""What messages are made of: content blocks, and messages as a model reads them.

All values are immutable. ``to_dict`` gives plain JSON data and ``from_dict``
reads it back; both forms are stable, because stores keep them.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Role: TypeAlias = Literal["user", "assistant", "tool"]
"""Who speaks. A ``tool`` entry carries tool results and is sent in a user turn."""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text.

    ``citations`` are the provider's own references to what it rests on. ``phase`` is the provider's word
    for what an answer's text is (``"commentary"`` between calls, ``"final_answer"``), to be sent back.
    """

    text: str
    citations: tuple[Mapping[str, Any], ...] = ()
    phase: str = ""

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "text", "text": self.text}
        if self.citations:
            data["citations"] = [dict(citation) for citation in self.citations]
        if self.phase:
            data["phase"] = self.phase
        return data

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: bytes with a media type, a URL, or the id of a file that the provider has."""

    media_type: str
    data: bytes = b""
    url: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0
    file_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        data = {
            "type": "image",
            "media_type": self.media_type,
            "data": base64.b64encode(self.data).decode("ascii"),
            "url": self.url,
            "alt": self.alt,
            "width": self.width,
            "height": self.height,
        }
        return {**data, "file_id": self.file_id} if self.file_id else data

    def __str__(self) -> str:
        return f"[image: {self.alt or self.url or self.file_id or self.media_type}]"


@dataclass(frozen=True, slots=True)
class Document:
    """A document: bytes with a media type, a URL, or the id of a file that the provider has."""

    media_type: str
    data: bytes = b""
    url: str = ""
    title: str = ""
    file_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        data = {
            "type": "document",
            "media_type": self.media_type,
            "data": base64.b64encode(self.data).decode("ascii"),
            "url": self.url,
            "title": self.title,
        }
        return {**data, "file_id": self.file_id} if self.file_id else data

    def __str__(self) -> str:
        return f"[document: {self.title or self.url or self.file_id or self.media_type}]"


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model's thinking. ``raw`` is the provider's own block, replayed byte for byte."""

    text: str
    raw: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"type": "thinking", "text": self.text, "raw": dict(self.raw)}

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. ``id`` pairs it with its result."""

    id: str
    name: str
    input: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"type": "tool_call", "id": self.id, "name": self.name, "input": dict(self.input)}

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.input.items())
        return f"{self.name}({arguments})"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool call gave: content for the model, and whether it is an error.

    ``status`` is ``"done"``, ``"error"``, ``"denied"``, ``"interrupted"`` or
    ``"unknown"`` (it had started when the process ended). ``duration`` is in
    seconds.
    """

    call_id: str
    name: str
    content: tuple[Text | Image | Document, ...]
    is_error: bool = False
    status: Literal["done", "error", "denied", "interrupted", "unknown"] = "done"
    duration: float = 0.0

    @property
    def text(self) -> str:
        """The textual content, joined."""
        return "\n".join(str(block) for block in self.content)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "tool_result",
            "call_id": self.call_id,
            "name": self.name,
            "content": [block.to_dict() for block in self.content],
            "is_error": self.is_error,
            "status": self.status,
            "duration": self.duration,
        }

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A step of a tool that the provider ran itself: its call, or (``is_result``) what it gave.

    ``call_id`` pairs the two. ``text`` is what is shown of it; ``raw`` is the
    provider's own block, replayed byte for byte; without one the step is only shown.
    """

    call_id: str
    name: str
    text: str
    raw: Mapping[str, Any]
    is_result: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "server_tool",
            "call_id": self.call_id,
            "name": self.name,
            "text": self.text,
            "raw": dict(self.raw),
            "is_result": self.is_result,
        }

    def __str__(self) -> str:
        return self.text


Block: TypeAlias = Text | Image | Document | Thinking | ToolCall | ToolResult | ServerTool


def block_from_dict(data: Mapping[str, Any]) -> Block:
    """Read a content block back from its ``to_dict`` form."""
    kind = data["type"]
    if kind == "text":
        return Text(data["text"], tuple(data.get("citations", ())), data.get("phase", ""))
    if kind == "tool_call":
        return ToolCall(data["id"], data["name"], data["input"])
    if kind == "tool_result":
        content = tuple(block_from_dict(item) for item in data["content"])
        return ToolResult(
            data["call_id"],
            data["name"],
            content,  # type: ignore[arg-type]  # only text, images and documents are written there
            data["is_error"],
            data["status"],
            data["duration"],
        )
    if kind == "thinking":
        return Thinking(data["text"], data["raw"])
    if kind == "image":
        raw = base64.b64decode(data["data"])
        return Image(
            data["media_type"],
            raw,
            data["url"],
            data["alt"],
            data["width"],
            data["height"],
            data.get("file_id", ""),
        )
    if kind == "document":
        raw = base64.b64decode(data["data"])
        return Document(data["media_type"], raw, data["url"], data["title"], data.get("file_id", ""))
    if kind == "server_tool":
        return ServerTool(data["call_id"], data["name"], data["text"], data["raw"], data["is_result"])
    raise ValueError(f"unknown content block type {kind!r}")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn as a model reads it: ``user`` or ``assistant``, and content blocks."""

    role: Literal["user", "assistant"]
    content: tuple[Block, ...]

    @property
    def text(self) -> str:
        """The text blocks and what tools gave, joined by blank lines."""
        return "\n\n".join(block.text for block in self.content if isinstance(block, (Text, ToolResult)))

    def to_dict(self) -> dict[str, Any]:
        return {"role": self.role, "content": [block.to_dict() for block in self.content]}

    def __str__(self) -> str:
        return "\n\n".join(str(block) for block in self.content)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it: name, description and JSON schema of its input.

    ``options`` are those of a tool that the provider runs itself (it is known to
    the model by its name), ``None`` for one that runs here. ``deferred`` says that the model
    is shown it only when it has searched for it.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    options: Mapping[str, Any] | None = None
    deferred: bool = False

    def to_dict(self) -> dict[str, Any]:
        if self.options is not None:
            return {"name": self.name, "options": dict(self.options)}
        data: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "input_schema": dict(self.input_schema),
        }
        if self.deferred:
            data["defer_loading"] = True
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolSpec:
        return cls(
            data["name"],
            data.get("description", ""),
            data.get("input_schema", {}),
            data.get("options"),
            data.get("defer_loading", False),
        )


def new_id(prefix: str) -> str:
    """Return an id that no other call, in this process or another, returns."""
    return f"{prefix}_{os.urandom(9).hex()}"
