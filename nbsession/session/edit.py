"""Editing what was sent: a fork before a tick, with other texts in place of some of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.context import Edit, Edits, Part, edited, place_of
from nbsession.errors import SessionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbsession.context import CompiledContext

EDIT = "edit:"


def edits_in(state: Mapping[str, Any]) -> Edits:
    """Return the edits that a session's state holds."""
    return Edits([Edit(*value) for address, value in state.items() if address.startswith(EDIT)])


def changes_of(context: CompiledContext, texts: Mapping[Any, str]) -> list[tuple[str, Any]]:
    """Return what changes in the state log by edits of a context's parts.

    A part is named by itself, by its place (``path#key``) or, where it is the only one there, by its path.
    Raises ``SessionError`` for a part that is not there, stands twice, or has no text of its own.
    """
    changes: dict[str, Any] = {}
    for part, text in _found(context, texts):
        was = part.of or part.digest
        address = f"{EDIT}{place_of(part)}@{was[:12]}"
        if address in changes:
            raise SessionError(f"the part at {part.path!r} is given two texts; give it one")
        changes[address] = [place_of(part), was, text]
    return list(changes.items())


def _found(context: CompiledContext, texts: Mapping[Any, str]) -> Iterator[tuple[Part, str]]:
    if not texts:
        raise SessionError("edit needs a part and its text: session.edit(tick, {part: text})")
    for key, text in texts.items():
        if not isinstance(text, str):
            raise SessionError(f"a part is replaced by a text, got {type(text).__name__}: {text!r}")
        part = _part(context, key)
        edited(part, text)  # refused here, before there is a fork
        yield part, text


def _part(context: CompiledContext, key: Any) -> Part:
    if isinstance(key, Part):
        same = [part for part in context.parts if place_of(part) == place_of(key)]
        found = [part for part in same if part is key or part.digest == key.digest] or same
        if len(found) != 1:
            raise SessionError(f"what was sent has no such part as {key!r}; take one of tick.context.parts")
        return found[0]
    if not isinstance(key, str):
        raise SessionError(
            f"a part is named by itself, or by its path, got {type(key).__name__}: {key!r}; "
            "tick.context.parts has them all"
        )
    found = [part for part in context.parts if key in (place_of(part), part.path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = list(dict.fromkeys(map(place_of, found)))
        one = (
            f"name one of them: {', '.join(names[:8])}"
            if len(names) > 1
            else "give one of tick.context.parts itself"
        )
        raise SessionError(f"there are {len(found)} parts at {key!r}; {one}")
    known = dict.fromkeys(part.path for part in context.parts)
    raise SessionError(f"what was sent has no part {key!r}{did_you_mean(key, known)}")
