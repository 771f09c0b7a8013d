"""What of a context can be edited in place, as the fields of a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Text, ToolResult
from nbsession.context import edited, place_of
from nbsession.errors import SessionError
from nbsession.notebook.view.cards import row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import CompiledContext, Part

MOST = 60
"""Messages in a form, the newest; an older one is edited with ``session.edit``."""

PART = "part:"


class Field(NamedTuple):
    """A part that can be edited: its row, and the text to be changed."""

    name: str
    row: Any
    text: str


def fields_of(context: CompiledContext) -> tuple[tuple[Field, ...], int]:
    """List what can be edited of a context, and count the older messages that are left out."""
    fields = [
        Field(PART + place_of(part), row(part), _text(part)) for part in context.parts if _is_editable(part)
    ]
    messages = [field for field in fields if field.row.title in ("user", "assistant", "tool")]
    old = {field.name for field in messages[:-MOST]}
    return tuple(field for field in fields if field.name not in old), len(old)


def texts_in(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts by part, of the fields that a reader changed."""
    return {name.removeprefix(PART): str(value) for name, value in fields.items() if name.startswith(PART)}


def _is_editable(part: Part) -> bool:
    try:
        edited(part, "-")
    except SessionError:
        return False
    return True


def _text(part: Part) -> str:
    if part.kind != "message":
        return part.text
    return next(str(block) for block in part.blocks if isinstance(block, (Text, ToolResult)))
