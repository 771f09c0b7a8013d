"""What deleting sessions must do, as checks of the store contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from nbsession.errors import (
    NbsessionError,
    SessionBusyError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    StoreError,
)
from nbsession.stores.checking import (
    Factory,
    assert_missing,
    fresh,
    in_threads,
    opened,
    opened_again,
    refused,
    row_of,
    sessions_among,
)


def a_deleted_session_is_gone(factory: Factory) -> None:
    """Rows, many or few, description and lease of a deleted session are gone, for who has the store open elsewhere too."""
    with opened(factory) as store, opened_again(factory, store) as other:
        gone, stays = fresh("session"), fresh("session")
        rows = [row_of("session", gone, metadata={"title": "gone"})]
        rows += [row_of("entry", f"{number}", text="long " * 200) for number in range(200)]
        token = store.acquire(gone, "process 1 on host-a", 60)
        store.append(gone, rows, revision=0, token=token)
        store.release(gone, token)
        store.append(stays, [row_of("session", stays)], revision=0)
        store.delete([gone])
        for each in (store, other):
            assert each.load(gone) is None, "a deleted session must be unknown"
            assert (each.revision(gone), list(each.rows(gone))) == (0, []), (
                "a deleted session must have no rows"
            )
            assert each.holder(gone) == "", "nobody must hold a deleted session"
            listed = [info.id for info in sessions_among(each, [gone, stays])]
            assert listed == [stays], "a deleted session must not be listed, and the others must stay"
        store.delete([])
        assert store.load(stays) == [row_of("session", stays)], "to delete no session must do nothing"


def all_are_deleted_or_none(factory: Factory) -> None:
    """One id that is not there or is held keeps all; the error names it, and who holds it."""
    with opened(factory) as store:
        a, b, unknown = fresh("session"), fresh("session"), fresh("unknown")
        for session in (a, b):
            store.append(session, [row_of("session", session)], {f"text of {session}": "x"}, revision=0)
        with refused(SessionNotFoundError, unknown, why="an unknown id must be a SessionNotFoundError"):
            store.delete([a, unknown, b])
        token = store.acquire(b, "process 1 on host-a", 60)
        why = "a session that another process holds must be refused with SessionBusyError"
        with refused(SessionBusyError, b, "process 1 on host-a", why=why):
            store.delete([a, b])
        with refused(StoreError, a, why="an id in place of a list of ids must be refused with StoreError"):
            store.delete(a)
        for session in (a, b):
            assert store.load(session) == [row_of("session", session)], "a refused delete must delete nothing"
            assert store.texts([f"text of {session}"]), "a refused delete must delete no text"
        store.renew(b, token, 0)
        store.delete([a, b, a])
        assert sessions_among(store, [a, b]) == [], "sessions that nobody holds must be deleted"


def a_past_that_forks_share_stays(factory: Factory) -> None:
    """A session that is the past of forks is refused, with their names, unless they go too; a fork of none is refused."""
    with opened(factory) as store:
        first, fork, second = fresh("first"), fresh("fork"), fresh("second")
        shared = {fresh("shared"): "shared"}
        store.append(first, [row_of("session", first), row_of("entry", "e")], shared, revision=0)
        store.append(fork, [row_of("session", fork, parent=first, shares=[first, 2])], revision=0)
        # What a later row does not say stays.
        store.append(fork, [row_of("session", fork, parent=first, metadata={"n": 1})], revision=1)
        birth = row_of("session", second, parent=fork, shares=[fork, 2])
        store.append(second, [birth, row_of("session", second, parent=fork)], revision=0)
        with refused(SessionError, first, fork, why="the past of a fork must not be deleted"):
            store.delete([first])
        for some in ([fork], [first, fork]):
            with refused(SessionError, fork, second, why="the past of a fork's fork must not be deleted"):
                store.delete(some)
        assert len(sessions_among(store, [first, fork, second])) == 3, "a refused delete must delete nothing"
        store.delete([second])
        store.delete([first, fork])
        assert sessions_among(store, [first, fork]) == [], "a past must go along with its forks"
        assert_missing(store, *shared)
        with refused(SessionClosedError, second, first, why="a fork must not be kept without its past"):
            store.append(
                second, [row_of("session", second, shares=[first, 2])], {fresh("x"): "x"}, revision=0
            )
        assert store.load(second) is None, "a refused fork must keep nothing"


def a_text_goes_with_the_last_session_that_has_it(factory: Factory) -> None:
    """A text stays while a session that it was given with does, also one that was given it later; then it is gone."""
    with opened(factory) as store:
        a, b, own, both = fresh("session"), fresh("session"), fresh("own"), fresh("both")
        store.append(a, [row_of("entry", "e")], {own: "own", both: "both"}, revision=0)
        store.append(a, [row_of("entry", "e")], {own: "own"}, revision=1)
        store.append(b, [row_of("entry", "e")], {both: "both"}, revision=0)
        store.delete([a])
        assert_missing(store, own)
        assert store.texts([both]) == {both: "both"}, "a text that another session has must stay"
        store.delete([b])
        assert_missing(store, both)
        store.append(a, [row_of("entry", "e")], {own: "anew"}, revision=0)
        assert store.texts([own]) == {own: "anew"}, "a text that is given anew must be kept anew"


def who_has_it_open_is_told_that_it_is_gone(factory: Factory) -> None:
    """A late write, lease or renewal for a deleted session is a ``SessionClosedError``, and none of them is kept."""
    with opened(factory) as store, opened_again(factory, store) as other:
        session, late = fresh("session"), fresh("late")
        token = store.acquire(session, "process 1 on host-a", 0)
        store.append(session, [row_of("entry", "e1")], revision=0, token=token)
        other.delete([session])
        calls = (
            partial(store.append, session, [row_of("entry", "e2")], {late: "x"}, revision=1, token=token),
            partial(store.append, session, [row_of("entry", "e2")], {late: "x"}, revision=1),
            partial(store.acquire, session, "process 1 on host-a", 60, revision=1),
            partial(store.renew, session, token, 60),
        )
        for call in calls:
            with refused(SessionClosedError, session, why="a write to a deleted session must be refused"):
                call()
        store.release(session, token)
        assert store.load(session) is None, "a refused write must keep nothing"
        assert_missing(store, late)
        # One that begins anew under the same id is none of theirs.
        later = other.acquire(session, "process 2 on host-b", 60)
        assert later > token, "a token must be greater than those before, also those of what was deleted"
        other.append(session, [row_of("entry", "new")], revision=0, token=later)
        with refused(
            SessionBusyError, session, "process 2", why="an old token must not write what began anew"
        ):
            store.append(session, [row_of("entry", "e2")], revision=1, token=token)
        store.release(session, token)
        assert other.holder(session) == "process 2 on host-b", "an old token must not release a newer lease"
        assert other.load(session) == [row_of("entry", "new")], "what began anew must stay as it is"


def a_text_that_is_just_given_stays(factory: Factory) -> None:
    """While one thread deletes the session that has a text, another keeps it too: never is it missing there."""
    with opened(factory) as store, opened_again(factory, store) as other:
        for _ in range(15):
            going, coming, digest = fresh("going"), fresh("coming"), fresh("text")
            store.append(going, [row_of("entry", "e")], {digest: "text"}, revision=0)
            in_threads(
                partial(store.delete, [going]),
                partial(other.append, coming, [row_of("entry", "e")], {digest: "text"}, revision=0),
            )
            assert [info.id for info in sessions_among(store, [going, coming])] == [coming], (
                "of two sessions the one must be deleted and the other kept"
            )
            assert store.texts([digest]) == {digest: "text"}, "a text that a session was just given must stay"


def a_fork_that_is_just_made_has_its_past(factory: Factory) -> None:
    """Of a deletion and a fork at the same time one is refused, and there is never a fork without its past."""
    with opened(factory) as store, opened_again(factory, store) as other:
        for _ in range(15):
            first, fork = fresh("first"), fresh("fork")
            store.append(first, [row_of("session", first)], revision=0)
            birth = row_of("session", fork, shares=[first, 1])
            in_threads(
                partial(attempt, partial(store.delete, [first])),
                partial(attempt, partial(other.append, fork, [birth], revision=0)),
            )
            left = {info.id for info in sessions_among(store, [first, fork])}
            assert left in ({first, fork}, set()), (
                "a fork must have its past, and a past without forks be deleted"
            )


def attempt(call: Callable[[], object]) -> None:
    """Call what may be refused."""
    with suppress(NbsessionError):
        call()


DELETING: tuple[Callable[[Factory], None], ...] = (
    a_deleted_session_is_gone,
    all_are_deleted_or_none,
    a_past_that_forks_share_stays,
    a_text_goes_with_the_last_session_that_has_it,
    who_has_it_open_is_told_that_it_is_gone,
    a_text_that_is_just_given_stays,
    a_fork_that_is_just_made_has_its_past,
)
"""The checks one by one."""
