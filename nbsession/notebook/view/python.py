"""A tick as Python: the lines that go back to where it was compiled, and ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.notebook.remote import far_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.notebook.remote import Remote
    from nbsession.session import Session


def as_python(session: Session, tick: int, namespace: Mapping[str, Any]) -> str:
    """Return code that forks a session before a tick and asks again, by the names that ``namespace`` has."""
    if (remote := far_of(session)) is not None:
        return _from_afar(remote, tick)
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


def _from_afar(remote: Remote, tick: int) -> str:
    lines = [
        "from nbsession.client import AsyncClient",
        "",
        f"async with AsyncClient({remote.url!r}) as client:  # with the token of $NBSESSION_TOKEN",
        f"    # Exactly as tick {tick} was compiled.",
        f"    fork = await client.session({remote.id!r}).fork({tick}, before=True)",
        "    result = await fork.render()  # asks the model again",
        "print(result.text)",
    ]
    return "\n".join(lines)


def _name_of(value: object, namespace: Mapping[str, Any]) -> str:
    names = (name for name, found in list(namespace.items()) if found is value and not name.startswith("_"))
    return next(names, "")
