"""A tick as Python: the lines that go back to where it was compiled, and ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.session import Session


def as_python(session: Session, tick: int, namespace: Mapping[str, Any]) -> str:
    """Return code that forks a session before a tick and asks again, by the names that ``namespace`` has."""
    name = _name_of(session, namespace)
    app = _name_of(session.app, namespace)
    if name:
        opened = []
    elif app:
        opened = [f"session = {app}.session({session.id!r})"]
    else:
        opened = [f"%session use {session.id} --as session"]
    lines = [
        *opened,
        f"fork = {name or 'session'}.fork(at={tick}, before=True)  # exactly as tick {tick} was compiled",
        "result = await fork.render()  # asks the model again",
        "print(result.text)",
    ]
    return "\n".join(lines)


def _name_of(value: object, namespace: Mapping[str, Any]) -> str:
    names = (name for name, found in list(namespace.items()) if found is value and not name.startswith("_"))
    return next(names, "")
