"""Policies: functions over the entries that decide what ``Timeline()`` shows.

A policy takes the entries and returns those to show, in order: some of them
(truncate), or others in their place (summarise, redact). The record itself is
never shortened. What a policy returned is remembered by its code and the entries it
saw, so that one that costs a model call costs it once, and an edited one is asked anew.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from nbsession.content import Entry, ToolResult
from nbsession.errors import SessionError
from nbsession.timeline.fingerprint import fingerprint

Policy: TypeAlias = Callable[..., Any]
"""Takes entries (and the session, if it takes two) and returns, or is awaited for, the entries to show instead."""

Memo: TypeAlias = Callable[[str, str, tuple[Entry, ...]], None]
Recall: TypeAlias = Callable[[], Mapping[str, tuple[Entry, ...]]]


KEPT = 64
"""Answers of policies that a session has in memory."""


class Policies:
    """The policies of one session, in order; each sees what the one before it returned.

    ``remember`` is told a policy's name, the key that says what it saw, and what it returned.
    The latest answers are in memory (without ``recall`` all); an older one is looked up in
    what ``recall`` returns.
    """

    def __init__(
        self, policies: Sequence[Policy], *, remember: Memo | None = None, recall: Recall | None = None
    ) -> None:
        for policy in policies:
            if not callable(policy):
                raise SessionError(f"a policy is a function of the entries, got {policy!r}")
        self.functions = tuple(policies)
        self._marks = tuple([f"{_name(policy)} {fingerprint(policy)}" for policy in self.functions])
        self._remember = remember
        self._recall = recall
        self._answers: dict[str, tuple[Entry, ...]] = {}  # the one used last stands last
        self._dropped: set[str] = set()

    @property
    def answers(self) -> Mapping[str, tuple[Entry, ...]]:
        """What policies answered, as far as it is in memory, by the keys that say what they saw."""
        return dict(self._answers)

    @property
    def older(self) -> frozenset[str]:
        """The keys of the answers that are in memory no more."""
        return frozenset(self._dropped)

    def take_over(
        self, answers: Mapping[str, tuple[Entry, ...]], older: frozenset[str] = frozenset()
    ) -> None:
        """Know answers of an earlier process, or of the session that this one was forked from."""
        self._dropped |= older
        for key, shown in answers.items():
            self._keep(key, shown)

    def __bool__(self) -> bool:
        return bool(self.functions)

    async def apply(self, entries: Sequence[Entry], session: Any = None) -> tuple[Entry, ...]:
        """Return what is shown of ``entries``. What a policy raises passes through, with a note that names it."""
        shown = tuple(entries)
        recorded = {entry.id: entry for entry in shown}
        for position, policy in enumerate(self.functions):
            key = _key(self._marks[: position + 1], shown, recorded)
            answer = self._find(key)
            if answer is None:
                with _named(policy):
                    returned = _call(policy, shown, session)
                    if inspect.isawaitable(returned):
                        returned = await returned
                answer = self._know(policy, key, _checked(policy, shown, returned))
            shown = answer
        return shown

    def look(
        self, entries: Sequence[Entry], session: Any = None
    ) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Return what is shown without waiting, and the names of the policies that would have to be awaited.

        Those pass on what they see.
        """
        shown, waiting = tuple(entries), []
        recorded = {entry.id: entry for entry in shown}
        for position, policy in enumerate(self.functions):
            key = _key(self._marks[: position + 1], shown, recorded)
            answer = self._find(key)
            if answer is None:
                with _named(policy):
                    returned = _call(policy, shown, session)
                if inspect.isawaitable(returned):
                    if inspect.iscoroutine(returned):
                        returned.close()  # it has not begun
                    waiting.append(_name(policy))
                    continue
                answer = self._know(policy, key, _checked(policy, shown, returned))
            shown = answer
        return shown, tuple(waiting)

    def _know(self, policy: Policy, key: str, shown: tuple[Entry, ...]) -> tuple[Entry, ...]:
        self._keep(key, shown)
        if self._remember is not None:
            self._remember(_name(policy), key, shown)
        return shown

    def _find(self, key: str) -> tuple[Entry, ...] | None:
        shown = self._answers.get(key)
        if shown is None and key in self._dropped and self._recall is not None:
            shown = self._recall().get(key)
        if shown is not None:
            self._keep(key, shown)
        return shown

    def _keep(self, key: str, shown: tuple[Entry, ...]) -> None:
        """Have an answer in memory, as the one used last."""
        self._answers.pop(key, None)
        self._answers[key] = shown
        while self._recall is not None and len(self._answers) > KEPT:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            self._dropped.add(oldest)


Answer: TypeAlias = tuple[str, tuple[Entry, ...]]
"""The key that says what a policy saw, and what it returned."""


def row_of(shown: Sequence[Entry], before: Answer | None, entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return a policy's answer as the data of a row, which holds what is new in it.

    ``[start, end]`` stands for entries of the policy's answer ``before``, and an id for
    one of the session's ``entries``; others stand there as they are.
    """
    base, old = before or ("", ())
    places = {entry.id: place for place, entry in enumerate(old)}
    items: list[Any] = []
    for entry in shown:
        place = places.get(entry.id, -1)
        if place >= 0 and old[place] == entry:
            if items and isinstance(items[-1], list) and items[-1][1] == place:
                items[-1][1] += 1
            else:
                items.append([place, place + 1])
        else:
            items.append(entry.id if entries.get(entry.id) == entry else entry.to_dict())
    return {"base": base, "entries": items}


def entries_of(
    data: Mapping[str, Any], known: Mapping[str, tuple[Entry, ...]], entries: Mapping[str, Entry]
) -> tuple[Entry, ...]:
    """Read back what ``row_of`` made of a policy's answer; ``known`` are the answers before, by their keys."""
    shown: list[Entry] = []
    for item in data["entries"]:
        if isinstance(item, list):
            shown += known[data["base"]][item[0] : item[1]]
        else:
            shown.append(entries[item] if isinstance(item, str) else Entry.from_dict(item))
    return tuple(shown)


def _key(marks: Sequence[str], entries: Sequence[Entry], recorded: Mapping[str, Entry]) -> str:
    """Tell what the last of some policies sees: the entries, by their ids as far as they are as ``recorded``.

    One that a policy before it wrote counts with all it says: the next may have the same id.
    """
    digest = hashlib.sha256("\0".join(marks).encode())
    for entry in entries:
        digest.update(b"\0" + entry.id.encode())
        if recorded.get(entry.id) != entry:
            digest.update(json.dumps(entry.to_dict(), sort_keys=True).encode())
    return digest.hexdigest()


def _call(policy: Policy, entries: tuple[Entry, ...], session: Any) -> Any:
    try:
        second = list(inspect.signature(policy).parameters.values())[1:2]
    except (TypeError, ValueError):  # a builtin's
        second = []
    # A parameter with a default is the author's own: def latest(entries, count=20).
    takes_session = second and second[0].kind in (second[0].POSITIONAL_ONLY, second[0].POSITIONAL_OR_KEYWORD)
    if takes_session and (second[0].default is second[0].empty or second[0].name == "session"):
        return policy(entries, session)
    return policy(entries)


@contextmanager
def _named(policy: Policy) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by the policy {_name(policy)}; the record is whole")
        raise


def _name(policy: Policy) -> str:
    return getattr(policy, "__qualname__", type(policy).__qualname__)


def _checked(policy: Policy, given: tuple[Entry, ...], returned: Any) -> tuple[Entry, ...]:
    """Refuse what is no list of entries, and tool calls torn from their results; the last may have none as yet."""
    if isinstance(returned, (str, Entry)) or not isinstance(returned, Sequence):
        raise SessionError(
            f"policy {_name(policy)} returned {type(returned).__name__}; return the entries to show, as a list"
        )
    ids: set[str] = set()
    for entry in returned:
        if not isinstance(entry, Entry):
            raise SessionError(
                f"policy {_name(policy)} returned a {type(entry).__name__} among the entries; return those it was "
                'given, or others in their place: entry.replace("…"), or Entry.of("user", "…")'
            )
        if entry.id in ids:
            raise SessionError(
                f"policy {_name(policy)} returned two entries with the id {entry.id!r}; "
                'give a new one an id of its own: Entry.of(role, …, id="…")'
            )
        ids.add(entry.id)
    open_calls: list[str] = []
    for entry in returned:
        results = [block.call_id for block in entry.content if isinstance(block, ToolResult)]
        if results != open_calls:
            raise _torn(policy)
        open_calls = [call.id for call in entry.tool_calls]
    if open_calls and (not given or returned[-1] is not given[-1]):
        raise _torn(policy)
    return tuple(returned)


def _torn(policy: Policy) -> SessionError:
    return SessionError(f"policy {_name(policy)} tore tool calls from their results; keep both or neither")
