"""A session's rows in a SQL database, inside the caller's transaction.

The latest rows stand each by itself, as a line of JSON. As soon as they are worth
it, or the session is let go, they become a *pack*: many lines in one, compressed,
for each repeats most of the one before. A pack is never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from nbsession.stores import every, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

ENOUGH = 64_000
"""Characters of rows that are packed at once: each pack begins without knowing how rows look."""
FEW = 4_000
"""Characters that are not worth a pack where no more are to be expected soon."""
MOST = 128_000
"""Characters in a pack, and the rest of the row with which it reaches them."""
PACKS = 16
"""Packs that are read at once by who reads on and on."""

_ROWS = schema.rows.c
_PACKS = schema.packs.c
_INSERT = schema.rows.insert()


def add(
    connection: Connection, lines: Mapping[str, tuple[int, Sequence[str]]], unpacked: Mapping[str, int]
) -> dict[str, int]:
    """Keep the lines of sessions, the first of which has this number from 0; return their unpacked characters by session.

    ``unpacked`` is how many those were before, as far as the caller knows it.
    """
    left = {}
    single = []
    for session, (first, some) in lines.items():
        before = unpacked[session] if session in unpacked else _unpacked(connection, session)
        left[session] = before + sum(map(len, some))
        numbered = enumerate(some, first)
        if left[session] >= ENOUGH:
            _pack(connection, session, [*_take(connection, session), *numbered])
            left[session] = 0
        else:
            single += [{"session": session, "sequence": number, "line": line} for number, line in numbered]
    if single:
        connection.execute(_INSERT, single)
    return left


def pack(connection: Connection, session: str) -> None:
    """Pack what stands by itself, if that is worth it."""
    if _unpacked(connection, session) >= FEW:
        _pack(connection, session, _take(connection, session))


def _unpacked(connection: Connection, session: str) -> int:
    total = func.coalesce(func.sum(func.length(_ROWS.line)), 0)
    return int(connection.execute(select(total).where(_ROWS.session == session)).scalar_one())


def read(connection: Connection, session: str, location: str) -> list[str]:
    """Return all lines of a session; a gap between them is a ``StoreError``."""
    lines: list[str] = []
    for number, some in (
        *_packed(connection, session, 0, None, location),
        *_single(connection, session, 0, None),
    ):
        if number != len(lines):
            raise every.gap(session, len(lines) + 1, location)
        lines += some
    return lines


def page(connection: Connection, session: str, after: int, most: int, location: str) -> list[tuple[int, str]]:
    """Return some of the lines after so many, with their numbers from 0, a gap before or between them not excepted.

    Empty where there are none; at most about so many, packs being read as a whole.
    """
    found = _packed(connection, session, after, min(PACKS, most), location) or _single(
        connection, session, after, most
    )
    numbered: list[tuple[int, str]] = []
    for number, lines in found:
        if number > after:
            raise every.gap(session, after + 1, location)
        numbered += list(enumerate(lines, number))[after - number :]
        after = max(after, number + len(lines))
    return numbered


def _packed(
    connection: Connection, session: str, after: int, limit: int | None, location: str
) -> list[tuple[int, list[str]]]:
    query = select(_PACKS.first, _PACKS.last, _PACKS.lines).where(
        _PACKS.session == session, _PACKS.last >= after
    )
    found = []
    for first, last, packed in connection.execute(query.order_by(_PACKS.last).limit(limit)):
        what = f"the pack of rows {first + 1} to {last + 1} of session {session!r}"
        lines = every.unpack(bytes(packed), what, location)
        if len(lines) != last - first + 1:
            raise every.damaged(what, location, f"it holds {len(lines)} rows")
        found.append((first, lines))
    return found


def _single(
    connection: Connection, session: str, after: int, limit: int | None
) -> list[tuple[int, list[str]]]:
    query = select(_ROWS.sequence, _ROWS.line).where(_ROWS.session == session, _ROWS.sequence >= after)
    found = connection.execute(query.order_by(_ROWS.sequence).limit(limit))
    return [(number, [line]) for number, line in found]


def _take(connection: Connection, session: str) -> list[tuple[int, str]]:
    """Take away the rows that stand by themselves: their pages are free for the pack."""
    taken = [(number, lines[0]) for number, lines in _single(connection, session, 0, None)]
    if taken:
        read = (_ROWS.session == session) & (_ROWS.sequence <= taken[-1][0])
        connection.execute(schema.rows.delete().where(read))
    return taken


def _pack(connection: Connection, session: str, numbered: Sequence[tuple[int, str]]) -> None:
    packs = [
        {
            "session": session,
            "first": some[0][0],
            "last": some[-1][0],
            "lines": every.pack([line for _, line in some]),
        }
        for some in _portions(numbered)
    ]
    connection.execute(schema.packs.insert(), packs)


def _portions(numbered: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
    start = size = 0
    for place, (_, line) in enumerate(numbered, 1):
        size += len(line)
        if size >= MOST or place == len(numbered):
            yield numbered[start:place]
            start, size = place, 0
