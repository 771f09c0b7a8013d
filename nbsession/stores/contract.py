"""What every store must do, as checks that anyone's store can be put through."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from nbsession.errors import SessionBusyError, SessionError, StoreError
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
from nbsession.stores.contract_deleting import DELETING


def store_contract(factory: Factory) -> None:
    """Put the stores that ``factory`` opens through every check; the first that fails is an ``AssertionError``.

    ``factory`` is called several times. A store that outlives its object
    (``blocking`` is true) must be opened at the same place each time. The checks
    use session ids of their own, so the place may hold other sessions.
    """
    for check in CHECKS:
        try:
            check(factory)
        except Exception as error:
            error.add_note(f"while checking a store: {check.__name__}")
            raise


def rows_come_back_in_order(factory: Factory) -> None:
    """Rows come back as they were appended, superseded ones included, and each append counts them."""
    with opened(factory) as store:
        session = fresh("session")
        first = [
            row_of("session", session),
            row_of("entry", "e1", text="one"),
            row_of("entry", "e2", text="two"),
        ]
        later = [
            row_of("state", "root", values=[1, 2.5, None, True, {"a": []}]),
            row_of("entry", "e1", text="new"),
        ]
        assert store.append(session, first, revision=0) == 3, "append must return the number of rows kept"
        assert store.append(session, later, revision=3) == 5, "append must return the number of all rows kept"
        assert store.load(session) == first + later, "load must give every row in the order of its append"
        assert store.load(session, ["entry", "state", "none"]) == [first[0], later[0], later[1]], (
            "of some kinds load must give the last row only, where it stands"
        )
        assert store.revision(session) == 5, "revision must be the number of rows kept"


def an_unknown_session_is_none(factory: Factory) -> None:
    """A session nobody wrote is ``None`` and not listed, also after an append of no rows."""
    with opened(factory) as store:
        session = fresh("session")
        assert store.load(session) is None, "load of an unknown session must be None"
        assert store.load(session, ["entry"]) is None, "load of an unknown session must be None"
        assert store.revision(session) == 0, "the revision of an unknown session must be 0"
        assert store.append(session, [], {fresh("x"): "x"}, revision=0) == 0, (
            "no rows must leave the revision at 0"
        )
        assert store.load(session) is None, "an append of no rows must not make a session"
        assert session not in {info.id for info in store.sessions()}, "an unknown session must not be listed"


def a_stale_writer_keeps_nothing(factory: Factory) -> None:
    """A writer with another revision than the store's is refused, and neither its rows nor texts are kept."""
    with opened(factory) as store:
        session, stale = fresh("session"), fresh("stale")
        kept = [row_of("entry", "e1"), row_of("entry", "e2")]
        store.append(session, kept, revision=0)
        for revision in (0, 1, 3):
            for rows in ([row_of("entry", "late")], []):
                why = f"revision {revision} of 2 must be refused with SessionBusyError"
                with refused(SessionBusyError, session, why=why):
                    store.append(session, rows, {stale: "stale"}, revision=revision)
        assert store.load(session) == kept, "a refused append must keep nothing"
        assert_missing(store, stale)
        assert store.append(session, [row_of("entry", "e3")], revision=2) == 3, "the true revision must go on"


def a_bad_row_keeps_nothing(factory: Factory) -> None:
    """One row that is not JSON refuses the whole append, naming the row."""
    with opened(factory) as store:
        session = fresh("session")
        for bad in (float("nan"), float("inf"), b"bytes", {1, 2}, object()):
            rows = [row_of("entry", "good"), row_of("state", "the-key", value=bad)]
            why = f"{bad!r} is not JSON and must be refused with StoreError"
            with refused(StoreError, "state", "the-key", why=why):
                store.append(session, rows, revision=0)
        assert store.load(session) is None, "a refused append must keep nothing"


def rows_cannot_be_changed_afterwards(factory: Factory) -> None:
    """What is appended and what is loaded are copies."""
    with opened(factory) as store:
        session, notes = fresh("session"), ["a"]
        store.append(
            session,
            [row_of("session", session, metadata={"notes": notes}), row_of("state", "s", notes=notes)],
            revision=0,
        )
        notes.append("b")
        for _ in range(2):
            loaded = store.load(session)
            assert loaded is not None, "an appended session must load"
            assert loaded[1].data == {"notes": ["a"]}, "a kept row must not change with the caller's object"
            loaded[1].data["notes"].append("c")
        assert sessions_among(store, [session])[0].metadata == {"notes": ["a"]}, (
            "metadata must not change with the caller's object"
        )


def texts_are_kept_once(factory: Factory) -> None:
    """Texts are shared by all sessions; a digest that is there already is left alone; a missing one is an error."""
    with opened(factory) as store:
        long, short = fresh("long"), fresh("short")
        store.append(
            fresh("session"), [row_of("entry", "e")], {long: "wörld " * 200_000, short: ""}, revision=0
        )
        store.append(fresh("session"), [row_of("entry", "e")], {long: "another text"}, revision=0)
        found = store.texts([short, long, long])
        assert found == {short: "", long: "wörld " * 200_000}, "the first text of a digest must stay"
        assert store.texts([]) == {}, "no digests must give no texts"
        many = {fresh("many"): f"text {number}" for number in range(1_500)}
        store.append(fresh("session"), [row_of("entry", "e")], many, revision=0)
        assert store.texts(iter(many)) == many, "many texts must come back at once"
        assert_missing(store, fresh("never kept"))


def any_text_comes_back(factory: Factory) -> None:
    """Text beyond ASCII, NUL and lone surrogates come back as they were, in rows and in texts."""
    with opened(factory) as store:
        for text in ("naïve 日本語 🎈", "a\0b", "cut \ud83d off", "\ude00\u2028\x7f\r\n'\"\\"):
            session, digest = fresh("session"), fresh("text")
            rows = [row_of("entry", "ключ 🔑", **{text: [text]})]
            store.append(session, rows, {digest: text}, revision=0)
            assert store.load(session) == rows, f"a row with {text!r} must come back the same"
            assert store.texts([digest]) == {digest: text}, f"the text {text!r} must come back the same"


def sessions_are_listed_latest_first(factory: Factory) -> None:
    """The list has the last updated first, with revisions, times, metadata and parent."""
    with opened(factory) as store:
        a, b, c = fresh("session"), fresh("session"), fresh("session")
        store.append(a, [row_of("session", a, metadata={"title": "first"})], revision=0)
        store.append(b, [row_of("session", b, metadata={"n": [1]}, parent=a)], revision=0)
        store.append(c, [row_of("entry", "e")], revision=0)
        store.append(a, [row_of("entry", "e1"), row_of("entry", "e2")], revision=1)
        listed = sessions_among(store, [a, b, c])
        assert [info.id for info in listed] == [a, c, b], "sessions must be listed last updated first"
        assert [info.revision for info in listed] == [3, 1, 1], (
            "the listed revision must be the number of rows"
        )
        assert [info.parent for info in listed] == [None, None, a], (
            "the parent must be that of the session row"
        )
        found = [dict(info.metadata) for info in listed]
        assert found == [{"title": "first"}, {}, {"n": [1]}], "metadata must be that of the session row"
        assert listed[0].created < listed[0].updated, "updated must move on with an append, and created stay"
        store.append(a, [row_of("session", a, metadata={"title": "second"})], revision=3)
        assert sessions_among(store, [a])[0].metadata == {"title": "second"}, (
            "a later session row must supersede"
        )


def sessions_are_listed_by_pages(factory: Factory) -> None:
    """Page after page gives every session once, in the order of the whole list; what moved to the front comes no more."""
    with opened(factory) as store:
        ids = [fresh("session") for _ in range(7)]
        for session in ids:
            store.append(session, [row_of("session", session)], revision=0)
        whole = store.sessions()
        assert store.sessions(limit=3) == whole[:3], "the first page must be the beginning of the list"
        assert store.sessions(limit=0) == [], "a page of none must be empty"
        paged = store.sessions(limit=3)
        while len(paged) < len(ids):
            page = store.sessions(after=paged[-1].place, limit=3)
            assert 0 < len(page) <= 3, (
                "a page must have something while there is more, and no more than its limit"
            )
            paged += page
        assert paged == whole[: len(paged)], "the pages together must be the whole list"
        assert store.sessions(after=whole[2].place) == whole[3:], "without a limit all that follow must come"
        store.append(ids[0], [row_of("entry", "e")], revision=1)
        later = [info for info in whole[3:] if info.id != ids[0]]
        assert store.sessions(after=whole[2].place) == later, "a session that was updated must come no more"


def sessions_are_apart(factory: Factory) -> None:
    """The rows of one session do not show in another, whatever their keys."""
    with opened(factory) as store:
        a, b = fresh("session"), fresh("session")
        store.append(a, [row_of("entry", "same", of="a")], revision=0)
        store.append(b, [row_of("entry", "same", of="b"), row_of("entry", "more")], revision=0)
        assert store.load(a) == [row_of("entry", "same", of="a")], (
            "one session's rows must not show in another"
        )
        assert len(store.load(b) or []) == 2, "each session must have a revision of its own"


def reopening_keeps_everything(factory: Factory) -> None:
    """A store that does input and output has, when opened again, all it had; closing twice does nothing."""
    with opened(factory) as store:
        session, digest = fresh("session"), fresh("kept")
        rows = [row_of("session", session, metadata={"title": "kept"}), row_of("entry", "e")]
        store.append(session, rows, {digest: "kept"}, revision=0)
        before = sessions_among(store, [session])
        lasting = store.blocking
        store.close()
        store.close()
    if not lasting:
        return
    with opened(factory) as again:
        assert again.load(session) == rows, "rows must be there after the store is opened again"
        assert again.texts([digest]) == {digest: "kept"}, (
            "texts must be there after the store is opened again"
        )
        assert sessions_among(again, [session]) == before, (
            "a session must be listed the same after the store is opened again"
        )
        assert again.append(session, [row_of("entry", "e2")], revision=2) == 3, (
            "a reopened session must go on"
        )


def threads_write_their_own_sessions(factory: Factory) -> None:
    """Several threads write a session each, and read meanwhile, without loss or error."""
    with opened(factory) as store:
        ids = [fresh("session") for _ in range(4)]
        shared = {fresh("shared"): "shared" for _ in range(25)}

        def write(session: str) -> None:
            for number in range(25):
                store.append(session, [row_of("entry", f"{number}")], shared, revision=number)
                assert len(store.load(session) or []) == number + 1, "a writer must read its own rows"

        in_threads(*(partial(write, session) for session in ids))
        assert len(store.texts(shared)) == 25, "texts that several threads keep must be there"
        for session in ids:
            keys = [row.key for row in store.load(session) or []]
            assert keys == [f"{number}" for number in range(25)], (
                "every row of every thread must be kept in order"
            )


def a_reader_sees_whole_appends(factory: Factory) -> None:
    """Who loads a session while it is written gets all rows of an append or none."""
    with opened(factory) as store:
        session = fresh("session")
        done = threading.Event()

        def write() -> None:
            try:
                for revision in range(0, 100, 2):
                    store.append(session, [row_of("entry", "a"), row_of("entry", "b")], revision=revision)
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                rows = store.load(session) or []
                assert len(rows) % 2 == 0, "a reader must see an append as a whole"

        in_threads(write, read, read)


def one_of_two_writers_wins(factory: Factory) -> None:
    """Of threads that append to one session at the same revision, exactly one is kept."""
    with opened(factory) as store:
        session = fresh("session")
        start = threading.Barrier(2)
        won: list[int] = []

        def write(name: str) -> None:
            for revision in range(20):
                start.wait()
                with suppress(SessionBusyError):
                    store.append(session, [row_of("entry", name)], revision=revision)
                    won.append(revision)

        in_threads(partial(write, "a"), partial(write, "b"))
        assert sorted(won) == list(range(20)), "of two writers at one revision exactly one must be kept"
        assert len(store.load(session) or []) == 20, "a refused writer must leave no row"


def rows_stream_from_a_revision(factory: Factory) -> None:
    """Rows come with their revisions, after one, of some kinds, so many of them, and while more are appended."""
    with opened(factory) as store:
        session, other = fresh("session"), fresh("session")
        kept = [row_of("event" if number % 3 else "entry", f"{number}", n=number) for number in range(2_500)]
        store.append(other, [row_of("event", "other")], revision=0)
        store.append(session, kept, revision=0)
        numbered = list(enumerate(kept, 1))
        assert list(store.rows(session)) == numbered, "rows must come in order, numbered from 1"
        assert list(store.rows(session, 2_400)) == numbered[2_400:], "rows must come after the revision given"
        events = [(number, row) for number, row in numbered if row.kind == "event"]
        assert list(store.rows(session, 3, ["event"])) == events[2:], "only rows of the kinds given must come"
        assert list(store.rows(session, kinds=iter(["event", "entry"]), limit=1_234)) == numbered[:1_234], (
            "no more rows than the limit must come"
        )
        for none in (
            store.rows(session, 2_500),
            store.rows(session, kinds=[]),
            store.rows(session, limit=0),
            store.rows(fresh("session")),
        ):
            assert list(none) == [], "where there are no rows, none must come, and no error"
        reading = store.rows(session)
        next(reading)
        store.append(session, [row_of("event", "late")], revision=2_500)
        assert [number for number, _ in reading] == list(range(2, 2_502)), (
            "a row appended while others are read must come too"
        )


def one_owner_holds_a_session(factory: Factory) -> None:
    """While a lease lasts no other owner gets one, and who asks is told who holds it; release lets go of it."""
    with opened(factory) as store, opened_again(factory, store) as other:
        session = fresh("session")
        assert store.holder(session) == "", "a session that nobody holds must have no holder"
        first = store.acquire(session, "process 1 on host-a", 60)
        assert other.holder(session) == "process 1 on host-a", "everybody must be told who holds a session"
        with refused(SessionBusyError, session, "process 1 on host-a", why="a held session must be refused"):
            other.acquire(session, "process 2 on host-b", 60)
        assert store.append(session, [row_of("entry", "e1")], revision=0, token=first) == 1, (
            "the holder of the lease must be able to write"
        )
        assert other.load(session) == [row_of("entry", "e1")], "reading must need no lease"
        assert other.acquire(fresh("session"), "process 2 on host-b", 60) > 0, (
            "leases must be a session's own"
        )
        store.release(session, first)
        assert other.holder(session) == "", "nobody holds what was released"
        with refused(SessionError, session, why="a lease that was released must not be renewed"):
            store.renew(session, first, 60)
        second = other.acquire(session, "process 2 on host-b", 60)
        assert second > first, "a token must be greater than those before"
        store.release(session, first)
        with refused(SessionBusyError, "process 2", why="an old token must not release a newer lease"):
            store.acquire(session, "process 1 on host-a", 60)
        again = other.acquire(session, "process 2 on host-b", 60)
        assert again > second, "the same owner must get the lease again, with a greater token"


def a_late_owner_writes_nothing(factory: Factory) -> None:
    """An expired lease can be renewed, or taken over by another; then the old owner's write and renewal fail."""
    with opened(factory) as store, opened_again(factory, store) as other:
        session, late = fresh("session"), fresh("late")
        first = store.acquire(session, "process 1 on host-a", 0)
        store.renew(session, first, 60)
        with refused(SessionBusyError, "process 1", why="a renewed lease must hold"):
            other.acquire(session, "process 2 on host-b", 60)
        store.renew(session, first, 0)
        store.append(session, [row_of("entry", "e1")], revision=0, token=first)
        second = other.acquire(session, "process 2 on host-b", 60)
        assert second > first, "a token must be greater than those before"
        for rows in ([row_of("entry", "late")], []):
            why = "a write with an old token must be refused with SessionBusyError"
            with refused(SessionBusyError, session, "process 2 on host-b", why=why):
                store.append(session, rows, {late: "late"}, revision=1, token=first)
        with refused(
            SessionBusyError, "process 2 on host-b", why="an old token must not renew a newer lease"
        ):
            store.renew(session, first, 60)
        assert other.load(session) == [row_of("entry", "e1")], "a refused write must keep nothing"
        assert_missing(store, late)
        assert other.append(session, [row_of("entry", "e2")], revision=1, token=second) == 2, (
            "the new owner must be able to write"
        )
        with refused(SessionBusyError, why="a token that was never given must be refused"):
            other.append(session, [row_of("entry", "e3")], revision=2, token=second + 1)


def who_knows_too_little_takes_no_lease(factory: Factory) -> None:
    """A lease that is asked for with another revision than the store's stays with whom it was."""
    with opened(factory) as store:
        session = fresh("session")
        token = store.acquire(session, "process 1 on host-a", 60, revision=0)
        store.append(session, [row_of("entry", "e1")], revision=0, token=token)
        for revision in (0, 2):
            with refused(SessionBusyError, session, why=f"revision {revision} of 1 must get no lease"):
                store.acquire(session, "process 1 on host-a", 60, revision=revision)
        assert store.append(session, [row_of("entry", "e2")], revision=1, token=token) == 2, (
            "the holder of the lease must be able to write on"
        )
        assert store.acquire(session, "process 1 on host-a", 60, revision=2) > token, (
            "the true revision must get the lease"
        )


def one_of_several_gets_the_lease(factory: Factory) -> None:
    """Of threads that want a session at once, exactly one gets it."""
    with opened(factory) as store:
        start = threading.Barrier(3)
        won: list[str] = []

        def take(owner: str) -> None:
            for session in ids:
                start.wait()
                with suppress(SessionBusyError):
                    store.acquire(session, owner, 60)
                    won.append(session)

        ids = [fresh("session") for _ in range(10)]
        in_threads(*(partial(take, owner) for owner in ("a", "b", "c")))
        assert sorted(won) == sorted(ids), "of several who want a session exactly one must get it"


CHECKS: tuple[Callable[[Factory], None], ...] = (
    rows_come_back_in_order,
    an_unknown_session_is_none,
    a_stale_writer_keeps_nothing,
    a_bad_row_keeps_nothing,
    rows_cannot_be_changed_afterwards,
    texts_are_kept_once,
    any_text_comes_back,
    sessions_are_listed_latest_first,
    sessions_are_listed_by_pages,
    sessions_are_apart,
    reopening_keeps_everything,
    threads_write_their_own_sessions,
    a_reader_sees_whole_appends,
    one_of_two_writers_wins,
    rows_stream_from_a_revision,
    one_owner_holds_a_session,
    a_late_owner_writes_nothing,
    who_knows_too_little_takes_no_lease,
    one_of_several_gets_the_lease,
    *DELETING,
)
"""The checks one by one, each called with the factory: for a test runner that reports them apart."""
