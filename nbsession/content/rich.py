"""Python values as content that a model reads: bounded text, pictures and documents."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
import enum
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nbsession.content.blocks import (
    Block,
    Document,
    Image,
    Role,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from nbsession.content.picture import (
    MOST_DOCUMENT_BYTES,
    image_of_bytes,
    image_of_figure,
    image_of_pil,
    kind_of,
    sniff,
)
from nbsession.content.table import table_of
from nbsession.content.unsaid import own_text, safe_repr
from nbsession.errors import CompileError, SessionError
from nbsession.tree import Element

MOST_CHARACTERS = 30_000
"""Characters of one text that a tool returns; the middle of a longer one is left out."""

MOST_ARRAY_ITEMS = 1000

Rich: TypeAlias = Text | Image | Document

_TAKES: Mapping[Role, tuple[type[Block], ...]] = {
    "user": (Text, Image, Document),
    "assistant": (Text, Image, Document, Thinking, ToolCall, ServerTool),
    "tool": (ToolResult,),
}
"""The blocks that an entry of each role holds."""

_PROVIDERS = (
    "image",
    "image_url",
    "input_image",
    "document",
    "file",
    "input_file",
    "tool_use",
    "tool_result",
    "thinking",
)
"""Types of the blocks of providers' requests, which somebody may have at hand."""


def result_content(value: Any) -> tuple[Rich, ...]:
    """Return ``value`` as content for the model; never empty.

    Text as it is; nothing as "done"; data (dicts, lists, dataclasses, pydantic
    models) as compact JSON; data frames as a Markdown table of their first and
    last rows and columns (a wide one with shorter cells); pictures and figures, and ``Image()`` and ``Document()``, as what they show;
    bytes by what they show; content and lists with pictures in them piece by piece;
    anything else as its own text. A text is cut in the middle beyond 30,000 characters, saying
    by how much. Raises ``CompileError`` for any other element, which only a tree can show, and for what
    has no text of its own: functions, iterators, objects of which only an address is known.
    """
    if isinstance(value, Element):
        return (_block_of(value),)
    if isinstance(value, enum.Enum):
        return result_content(value.value)
    if isinstance(value, str):
        return (Text(bounded(value) if value.strip() else "(empty text)"),)
    if value is None:
        return (Text("done"),)
    if isinstance(value, Text):
        return result_content(value.text)
    if isinstance(value, (Image, Document)):
        return (value,)
    if isinstance(value, ToolResult):
        return value.content
    if isinstance(value, (bytes, bytearray, memoryview)):
        return (_bytes_content(bytes(value)),)
    kind = kind_of(value)
    if kind:
        return (_foreign_content(value, kind),)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields") and any(map(_is_rich, value)):
        return tuple(block for item in value for block in result_content(item))
    return (Text(bounded(_data_text(value))),)


def message_content(role: Role, value: Any) -> tuple[Block, ...]:
    """Return ``value`` as the content of a message: text, pictures, frames, figures, or a list of those.

    Blocks that the role holds stay as they are, as an assistant's ``ToolCall``; a ``ToolResult`` that
    the user gives is what it says. Raises ``SessionError`` for other blocks, for what cannot be said, as a
    function, and for no content at all.
    """
    if isinstance(value, str):
        value = Text(value)
    if isinstance(value, _TAKES[role]):
        return (value,)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return tuple(block for item in value for block in message_content(role, item))
    if role == "tool":
        raise SessionError(
            f"a tool's entry holds ToolResult(call_id, name, content), got {type(value).__name__}: {_short(value)}"
        )
    if isinstance(value, (Thinking, ToolCall, ServerTool)):
        raise SessionError(f"a message of the {role} holds no {type(value).__name__}, got {value!r}")
    if isinstance(value, Mapping) and value.get("type") == "text" and isinstance(value.get("text"), str):
        return (Text(value["text"]),)
    if value is None or isinstance(value, (bool, int, float, set)):
        raise SessionError(
            f"a message is text, content or an entry, got {type(value).__name__}: {_short(value)}"
        )
    if isinstance(value, Mapping) and value.get("type") in _PROVIDERS:
        raise SessionError(
            f"a message holds a provider's {value['type']!r} block, which would be sent as text; "
            "give Image(source), Document(source), text or an entry in its place"
        )
    try:
        return result_content(value)
    except CompileError as error:
        raise SessionError(str(error)) from error


def bounded(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return ``text`` with its middle left out where it is longer than ``most`` characters, saying by how much."""
    if len(text) <= most:
        return text
    room = max(0, most - 70)  # characters, for the note
    head = room * 2 // 3
    note = f"\n… [{len(text) - room:,} of {len(text):,} characters left out here] …\n"
    return text[:head] + note + text[len(text) - (room - head) :]


def media(
    source: Any, *, alt: str = "", title: str = "", kind: Literal["image", "document"] = "image"
) -> Image | Document:
    """Return a picture or a document from a path, bytes, a URL, a PIL image or a matplotlib figure.

    The type is what the bytes show, not what the name says; text files are
    documents too. URLs (http, https) are passed on and not fetched, so their
    type is guessed from the name, and where that says nothing it is ``kind``;
    ``data:`` URLs are read. Raises ``CompileError`` for a file that cannot be read, for
    types that models don't take, and beyond 5 MB for a picture (where it cannot
    be scaled down) or 32 MB for a document.
    """
    if isinstance(source, (Image, Document)):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "the data", alt, title)
    if isinstance(source, str) and source.partition(":")[0].lower() in ("http", "https", "data"):
        return _from_url(source, alt, title, kind)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), alt, title)
    found = kind_of(source)
    if found == "pil":
        return image_of_pil(source, alt=alt)
    if found in ("figure", "axes"):
        return image_of_figure(source if found == "figure" else source.figure, alt=alt)
    raise CompileError(
        f"no picture or document can be made of {type(source).__name__} {_short(source)}; "
        "give a path, bytes, a URL, a PIL image or a matplotlib figure"
    )


def _from_bytes(data: bytes, name: str, alt: str, title: str) -> Image | Document:
    media_type = sniff(data)
    if media_type.startswith("image/"):
        return image_of_bytes(data, alt=alt, name=name)
    if not media_type:
        if not data or not _is_text(data):
            what = (
                "is empty"
                if not data
                else f"is no PNG, JPEG, GIF, WebP, PDF or text (it begins with {data[:8]!r})"
            )
            raise CompileError(f"{name} {what}; convert it to one of these")
        media_type = "text/plain"
    if len(data) > MOST_DOCUMENT_BYTES:
        raise CompileError(f"{name} has {len(data) / 2**20:.1f} MB; a document may have at most 32 MB")
    return Document(media_type, data, title=title)


def _from_path(path: Path, alt: str, title: str) -> Image | Document:
    path = path.expanduser()
    try:
        size = path.stat().st_size
        if size > MOST_DOCUMENT_BYTES:
            raise CompileError(f"{path} has {size / 2**20:.1f} MB; at most 32 MB can be sent")
        data = path.read_bytes()
    except OSError as error:
        raise CompileError(
            f"{path} cannot be read: {error.strerror or error}; working directory: {Path.cwd()}"
        ) from error
    return _from_bytes(data, str(path), alt or path.name, title or path.name)


_TYPES_BY_SUFFIX = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/plain",
}


def _from_url(url: str, alt: str, title: str, kind: str) -> Image | Document:
    from urllib.parse import urlsplit

    if url[:5].lower() == "data:":
        return _from_data_url(url, alt, title)
    parts = urlsplit(url)
    if not parts.netloc:
        raise CompileError(f"{url!r} names no host; give a whole URL, or a path")
    name = parts.path.rpartition("/")[2]
    media_type = _TYPES_BY_SUFFIX.get(Path(name).suffix.lower(), "")
    if not media_type:
        media_type = "image/*" if kind == "image" else "application/pdf"
    if media_type.startswith("image/"):
        return Image(media_type, url=url, alt=alt or name)
    return Document(media_type, url=url, title=title or name)


def _from_data_url(url: str, alt: str, title: str) -> Image | Document:
    from urllib.parse import unquote_to_bytes

    head, comma, body = url[5:].partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        encoded = head.lower().endswith(";base64")
        data = base64.b64decode(body, validate=True) if encoded else unquote_to_bytes(body)
    except (ValueError, binascii.Error) as error:
        raise CompileError(f"the data URL {_short(url)} cannot be read: {error}") from error
    declared = head.partition(";")[0].lower()
    found = _from_bytes(data, "the data URL", alt, title)
    if declared.startswith("image/") and declared != found.media_type:
        raise CompileError(f"the data URL says {declared}, but holds {found.media_type}; correct its type")
    return found


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _is_rich(value: Any) -> bool:
    return isinstance(value, (Text, Image, Document, Element, bytes, bytearray)) or bool(kind_of(value))


def _block_of(element: Element) -> Image | Document:
    """Return what an ``Image()`` or ``Document()`` holds: the words for a picture in a tree are those for one to send."""
    block = element.props.get("block")
    if isinstance(block, (Image, Document)):
        return block
    raise CompileError(
        f"{element.type.name}() is an element, which only a component can show, by returning it; "
        "here give text, data, Image() or Document()"
    )


def _bytes_content(data: bytes) -> Rich:
    try:
        found = _from_bytes(data, "the data", "", "")
    except CompileError as error:
        return Text(f"({len(data):,} bytes: {error})")
    if found.media_type == "text/plain":
        return Text(bounded(data.decode("utf-8")))
    return found


def _foreign_content(value: Any, kind: str) -> Rich:
    if kind == "pil":
        return image_of_pil(value)
    if kind == "figure":
        return image_of_figure(value)
    if kind == "axes":
        return image_of_figure(value.figure)
    return Text(_table(value, kind))


def _table(value: Any, kind: str) -> str:
    """Return a data frame, or a series, as a Markdown table."""
    if kind == "series":
        value = value.to_frame(name="value" if value.name is None else value.name)
    return str(table_of(value, MOST_CHARACTERS))


def _data_text(value: Any) -> str:
    """Return data as compact JSON, and what is no data as its own text."""
    if not (
        isinstance(value, (bool, int, float, Mapping, list, tuple, set, frozenset))
        or _as_data(value) is not value
    ):
        return own_text(value)
    try:
        return json.dumps(_keyed(value), ensure_ascii=False, separators=(",", ":"), default=_jsonable)
    except (ValueError, TypeError, RecursionError):  # it holds itself, or a key that JSON has no word for
        return safe_repr(value)


def _keyed(value: Any) -> Any:
    """Return data with keys that JSON takes; mappings of other kinds become dicts."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, (str, int, float)) else str(key): _keyed(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _keyed(value._asdict())
    if isinstance(value, (list, tuple)):
        return [_keyed(item) for item in value]
    return value


def _jsonable(value: Any) -> Any:
    data = _as_data(value)
    return own_text(value) if data is value else _keyed(data)


def _as_data(value: Any) -> Any:
    """Return a value in simpler terms, or the value itself where there are none."""
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (os.PathLike, dt.timedelta)) or type(value).__name__ in ("Decimal", "UUID"):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return _in_order(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"({len(value):,} bytes)"
    kind = kind_of(value)
    if kind in ("frame", "series"):
        return _table(value, kind)
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist() if value.size <= MOST_ARRAY_ITEMS else value
    return value


def _in_order(items: Iterable[Any]) -> list[Any]:
    """Return a set in an order that is the same in every process, as far as its items have one."""
    found = list(items)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=repr)


def _short(value: Any) -> str:
    text = safe_repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
