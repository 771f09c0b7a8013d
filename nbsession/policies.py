"""Policies: functions over the entries that decide what ``Timeline()`` shows.

A policy takes the entries and returns those to show, in order: some of them
(truncate), or others in their place (summarise, redact). The record itself is
never shortened. What a policy returned is remembered by the entries it saw, so
that one that costs a model call costs it once.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from nbsession.content import Entry, ToolResult
from nbsession.errors import SessionError

Policy: TypeAlias = Callable[[Sequence[Entry]], Any]
"""Takes entries and returns (or is awaited for) the entries to show instead."""

Memo: TypeAlias = Callable[[str, tuple[Entry, ...]], None]


class Policies:
    """The policies of one session, in order; each sees what the one before it returned.

    ``remember`` is told what a policy returned, by the key that says what it saw.
    """

    def __init__(self, policies: Sequence[Policy], *, remember: Memo | None = None) -> None:
        for policy in policies:
            if not callable(policy):
                raise SessionError(f"a policy is a function of the entries, got {policy!r}")
        self.functions = tuple(policies)
        self._remember = remember
        self.known: dict[str, tuple[Entry, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.functions)

    async def apply(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return what is shown of ``entries``. Whatever a policy raises passes through."""
        shown = tuple(entries)
        for policy in self.functions:
            key = _key(policy, shown)
            if key not in self.known:
                returned = policy(shown)
                if inspect.isawaitable(returned):
                    returned = await returned
                self._know(key, _checked(policy, returned))
            shown = self.known[key]
        return shown

    def look(self, entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Return what is shown without waiting, and the names of the policies that would have to be awaited.

        Those pass on what they see.
        """
        shown, waiting = tuple(entries), []
        for policy in self.functions:
            key = _key(policy, shown)
            if key not in self.known and inspect.iscoroutinefunction(policy):
                waiting.append(_name(policy))
                continue
            if key not in self.known:
                self._know(key, _checked(policy, policy(shown)))
            shown = self.known[key]
        return shown, tuple(waiting)

    def _know(self, key: str, shown: tuple[Entry, ...]) -> None:
        self.known[key] = shown
        if self._remember is not None:
            self._remember(key, shown)


def entries_of(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Read back what was kept of a policy's answer."""
    return tuple(Entry.from_dict(item) for item in data["entries"])


def _key(policy: Policy, entries: Sequence[Entry]) -> str:
    digest = hashlib.sha256(_name(policy).encode())
    for entry in entries:
        digest.update(b"\0" + entry.id.encode())
    return digest.hexdigest()


def _name(policy: Policy) -> str:
    return getattr(policy, "__qualname__", type(policy).__qualname__)


def _checked(policy: Policy, returned: Any) -> tuple[Entry, ...]:
    """Refuse what is no list of entries, and tool calls torn from their results."""
    if isinstance(returned, (str, Entry)) or not isinstance(returned, Sequence):
        raise SessionError(
            f"policy {_name(policy)} returned {type(returned).__name__}; return the entries to show, as a list"
        )
    for entry in returned:
        if not isinstance(entry, Entry):
            raise SessionError(f"policy {_name(policy)} returned a {type(entry).__name__} among the entries")
    open_calls: list[str] = []
    for entry in returned:
        results = [block.call_id for block in entry.content if isinstance(block, ToolResult)]
        if results != open_calls:
            raise _torn(policy)
        open_calls = [call.id for call in entry.tool_calls]
    if open_calls:
        raise _torn(policy)
    return tuple(returned)


def _torn(policy: Policy) -> SessionError:
    return SessionError(f"policy {_name(policy)} tore tool calls from their results; keep both or neither")
