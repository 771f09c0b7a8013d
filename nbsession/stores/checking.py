"""What the checks of the store contract are written with."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from nbsession.errors import NbsessionError, StoreError
from nbsession.stores.base import Row, SessionInfo, SessionStore

Factory = Callable[[], SessionStore]


@contextmanager
def opened(factory: Factory) -> Iterator[SessionStore]:
    """Open a store, and close it behind the block."""
    store = factory()
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_again(factory: Factory, store: SessionStore) -> Iterator[SessionStore]:
    """Give another object for the same place, or the same where a place is one object."""
    if not store.blocking:
        yield store
        return
    with opened(factory) as other:
        yield other


def fresh(name: str) -> str:
    """Return an id that no store has seen."""
    return f"{name}-{uuid.uuid4().hex}"


def row_of(kind: str, key: str, **data: object) -> Row:
    """Return a row of this data."""
    return Row(kind, key, data)


def sessions_among(store: SessionStore, ids: Sequence[str]) -> list[SessionInfo]:
    """List those of the sessions that the store has, in its order."""
    return [info for info in store.sessions() if info.id in ids]


def assert_missing(store: SessionStore, digest: str) -> None:
    """Check that a text is not kept."""
    with refused(StoreError, digest, why="a text that was never kept must be a StoreError"):
        store.texts([digest])


@contextmanager
def refused(expected: type[NbsessionError], *names: str, why: str) -> Iterator[None]:
    """Check that the block raises an error that names all of ``names``."""
    try:
        yield
    except expected as error:
        message = str(error)
    else:
        raise AssertionError(why)
    for name in names:
        assert name in message, f"{expected.__name__} must name {name!r}, and says {message!r}"


def in_threads(*calls: Callable[[], object]) -> None:
    """Run the calls at the same time, and raise what one of them raised."""
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        for running in [pool.submit(call) for call in calls]:
            running.result()
