"""What every store does alike: rows as JSON text, what a session's rows say about it, and the time."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbsession.errors import (
    SessionBusyError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    StoreError,
)
from nbsession.stores.base import Row

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_SHOWN = 12  # names in an error


@dataclass(frozen=True, slots=True)
class Description:
    """What the latest row of kind ``"session"`` says: it supersedes the earlier ones as a whole.

    ``metadata`` is JSON text. ``shares`` is the session whose first rows, so many of them, are
    also this one's past; only the first such row can say so, and it stays.
    """

    metadata: str = "{}"
    parent: str | None = None
    shares: tuple[str, int] | None = None


def encode(value: object, what: str) -> str:
    """Return ``value`` as compact JSON that any database can hold.

    Lone surrogates, which UTF-8 has no bytes for, are kept as escapes. What is
    not JSON, NaN and infinity included, is a ``StoreError`` that begins with ``what``.
    """
    try:
        text = _JSON.encode(value)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                text = _ASCII.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{what} cannot be kept: {error}; use only text, finite numbers, booleans, None, lists and dicts"
        ) from error
    return text


def decode(text: str, what: str, location: str = "") -> Any:
    """Return the value that ``encode`` made this text of; other text is a ``StoreError``."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise damaged(what, location, error) from error


def encode_rows(session: str, rows: Iterable[Row]) -> list[str]:
    """Return each row as a line of JSON, ``[kind, key, data]``; one that cannot be kept is a ``StoreError`` naming it."""
    plain(session, "a session id")
    return [
        f"{beginning(row.kind)}{encode(plain(row.key, f'the key of a row of kind {row.kind!r}'), 'a key')},"
        f"{encode(dict(row.data), f'row {row.kind!r} {row.key!r} of session {session!r}')}]"
        for row in rows
    ]


def beginning(kind: str) -> str:
    """Return what the lines of a kind begin with, so that they are found without being read."""
    return f"[{encode(plain(kind, 'a kind of rows'), 'a kind')},"


def decode_rows(
    session: str, lines: Sequence[str], numbers: Sequence[int], location: str = "memory"
) -> list[Row]:
    """Return the rows that ``encode_rows`` made these lines of; another line is a ``StoreError`` with its number."""
    try:
        # At once, which takes little more than half the time of one by one.
        return [Row._make(line) for line in json.loads(f"[{','.join(lines)}]")]
    except (ValueError, TypeError):
        rows = []
        for number, line in zip(numbers, lines, strict=True):
            what = f"row {number} of session {session!r}"
            value = decode(line, what, location)
            if not (isinstance(value, list) and len(value) == 3):
                raise damaged(what, location, "it is no list of kind, key and data") from None
            rows.append(Row(*value))
        return rows


def last_of(lines: Sequence[str], kinds: Iterable[str]) -> list[int]:
    """Return the places of the lines that are left where of each of ``kinds`` only the last one counts."""
    places: Iterable[int] = range(len(lines))
    for kind in kinds:
        start = beginning(kind)
        last = next((place for place in range(len(lines) - 1, -1, -1) if lines[place].startswith(start)), -1)
        places = [place for place in places if place == last or not lines[place].startswith(start)]
    return list(places)


def pack(lines: Iterable[str]) -> bytes:
    """Return many lines in few bytes: they repeat one another."""
    return zlib.compress("\n".join(lines).encode())


def unpack(packed: bytes, what: str, location: str) -> list[str]:
    """Return the lines that ``pack`` made this of; other bytes are a ``StoreError`` that begins with ``what``."""
    try:
        return zlib.decompress(packed).decode().split("\n")
    except (zlib.error, UnicodeDecodeError) as error:
        raise damaged(what, location, error) from error


def encode_texts(texts: Mapping[str, str]) -> dict[str, bytes]:
    """Return each text, as JSON and packed, by its digest."""
    return {
        plain(digest, "a digest"): pack([encode(text, f"text {digest}")]) for digest, text in texts.items()
    }


def decode_text(packed: bytes, digest: str, location: str) -> str:
    """Return the text that ``encode_texts`` made this of; other bytes are a ``StoreError`` naming its digest."""
    what = f"text {digest}"
    value = decode("\n".join(unpack(packed, what, location)), what, location)
    if not isinstance(value, str):
        raise damaged(what, location, "it is no text")
    return value


def plain(text: str, what: str) -> str:
    """Return ``text`` if it can be a database key, which NUL and lone surrogates keep it from being."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{what} may hold no lone surrogate, got {text!r}") from error
    if "\0" in text:
        raise StoreError(f"{what} may hold no NUL character, got {text!r}")
    return text


def describe(session: str, rows: Sequence[Row]) -> Description | None:
    """Return what the last row of kind ``"session"`` says, or ``None`` where there is none.

    What it shares is said once, perhaps by one before.
    """
    said = [row for row in rows if row.kind == "session"]
    if not said:
        return None
    metadata, parent = said[-1].data.get("metadata") or {}, said[-1].data.get("parent")
    if not isinstance(metadata, Mapping):
        raise StoreError(f"metadata of session {session!r} must be a dict, got {metadata!r}")
    if not (parent is None or isinstance(parent, str)):
        raise StoreError(f"parent of session {session!r} must be a session id, got {parent!r}")
    text = encode(dict(metadata), f"metadata of session {session!r}")
    shares = next((row.data["shares"] for row in said if row.data.get("shares") is not None), None)
    known = None if parent is None else plain(parent, "a session id")
    return Description(text, known, _shares(session, shares))


def _shares(session: str, value: object) -> tuple[str, int] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and len(value) == 2:
        shared, revision = value
        if isinstance(shared, str) and type(revision) is int:
            return plain(shared, "a session id"), revision
    raise StoreError(
        f"what session {session!r} shares must be a session id and a number of rows, got {value!r}"
    )


def tells(rows: Iterable[Row]) -> bool:
    """Say whether there are events among the rows, so that listeners are told."""
    return any(row.kind == "events" for row in rows)


def to_delete(sessions: Sequence[str]) -> list[str]:
    """Return the ids that ``delete`` was given, each once, in the one order in which all take them."""
    if isinstance(sessions, str):
        raise StoreError(f"delete() takes a list of session ids, got {sessions!r}: write [{sessions!r}]")
    return sorted({plain(session, "a session id") for session in sessions})


def unknown(sessions: Sequence[str], location: str) -> SessionNotFoundError:
    """Return the error for sessions that are to be deleted and are not there."""
    return SessionNotFoundError(f"there is no session {_listed(sessions)} in {location}: nothing was deleted")


def shared(session: str, forks: Sequence[str]) -> SessionError:
    """Return the error for a session that is to be deleted and is the past of forks that stay."""
    return SessionError(
        f"session {session!r} is the past of {'its fork' if len(forks) == 1 else 'its forks'} {_listed(sorted(forks))}: "
        "delete them first or along with it; nothing was deleted"
    )


def without_past(session: str, shares: tuple[str, int], kept: int, location: str) -> SessionClosedError:
    """Return the error for a fork that is to be kept where its past, with ``kept`` rows now, is not."""
    return SessionClosedError(
        f"session {session!r} shares the first {shares[1]} rows of {shares[0]!r}, which has {kept} in {location}: it was "
        "deleted meanwhile, or the store was put back; nothing of this was kept, so close this session and begin another"
    )


def _listed(sessions: Sequence[str]) -> str:
    return ", ".join(map(repr, sessions[:_SHOWN])) + (", …" if len(sessions) > _SHOWN else "")


def gone(session: str) -> SessionClosedError:
    """Return the error for a writer whose session was deleted."""
    return SessionClosedError(
        f"session {session!r} is not in the store any more: it was deleted, or the store was put back; nothing of this was "
        "kept, so close it here and begin another"
    )


def conflict(session: str, known: int, kept: int) -> SessionError:
    """Return the error for a writer that knew ``known`` rows where ``kept`` are."""
    if not kept:
        return gone(session)
    meanwhile = "another one wrote meanwhile" if kept > known else "the store lost the last, or was put back"
    return SessionBusyError(
        f"session {session!r} has {kept} rows in the store and this writer knew {known}: {meanwhile}, and nothing of "
        f"this was kept; open {session!r} again to go on from what is there, or fork what is in memory here under a "
        "new id"
    )


def damaged(what: str, location: str, why: object) -> StoreError:
    """Return the error for what is there and cannot be read."""
    return StoreError(
        f"{what} is damaged in {location}: {why}; restore the store from a copy", location=location
    )


def cut(session: str, told: int, kept: int, location: str) -> StoreError:
    """Return the error for a session that should have ``told`` rows and has ``kept``."""
    return StoreError(
        f"session {session!r} should have {told} rows and has {kept} in {location}: restore the store from a copy",
        location=location,
    )


def gap(session: str, revision: int, location: str) -> StoreError:
    """Return the error for a row that is not where it should follow another."""
    return StoreError(
        f"row {revision} of session {session!r} is missing from {location}: restore the store from a copy",
        location=location,
    )


def absent(digests: Sequence[str], location: str) -> StoreError:
    """Return the error for texts that rows refer to and the store does not have."""
    shown = ", ".join(digests[:3]) + (", …" if len(digests) > 3 else "")
    return StoreError(
        f"{len(digests)} texts are missing from {location}: {shown}; restore the store from a copy",
        location=location,
    )


class Clock:
    """Seconds since the epoch that never repeat or go back, so that they order what one store does."""

    def __init__(self) -> None:
        self._last = 0.0

    def now(self) -> float:
        """Return the time, at least a microsecond after the last. Callers hold the store's lock."""
        self._last = max(time.time(), self._last + 1e-6)
        return self._last
