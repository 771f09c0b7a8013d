"""The tree of forks, drawn from what is open and what is kept."""

from __future__ import annotations

from typing import Any

from nbsession import App, Timeline, component
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel
from nbsession.timeline import leads


@component
def Root() -> Any:
    return Timeline()


def app(store: MemoryStore | None = None) -> App:
    return App(Root, model=ScriptedModel(*["a"] * 20), store=store)


async def test_a_history_draws_forks_of_forks_and_marks_the_one_that_was_asked() -> None:
    main = app().session("main")
    early = main.fork(id="early")
    for message in ("one", "two", "three"):
        await main.send(message)
    after = main.fork(at=1, id="after")
    main.fork(at=1, before=True, id="before")
    await after.send("other")
    after.fork(id="deep")
    assert str(after.history()).split("\n") == [
        "main · 3 ticks",
        "├─ early · forked before the first tick · 0 ticks",
        "├─ before · forked before tick 1 · 1 tick",
        "└─ after · forked after tick 1 · 3 ticks ←",
        "   └─ deep · forked after tick 2 · 3 ticks",
    ]
    assert str(early.history()).split("\n")[1].endswith("0 ticks ←")
    assert repr(main.history()) == "<History of 'main': 5 sessions>"


async def test_a_history_knows_sessions_that_are_only_kept_and_leaves_strangers_out() -> None:
    store = MemoryStore()
    first = app(store)
    main = first.session("main")
    await main.send("one")
    fork = main.fork(at=0, id="fork")
    await fork.send("two")
    await first.session("stranger").send("hi")
    for session in (main, fork):
        await session.aclose()
    again = app(store).session("fork")
    assert str(again.history()).split("\n") == [
        "main · 1 tick",
        "└─ fork · forked after tick 0 · 2 ticks ←",
    ]


async def test_a_fork_whose_parent_is_not_kept_says_so() -> None:
    opened = app()
    main = opened.session("main")
    await main.send("one")
    fork = main.fork(id="fork")
    await main.aclose()
    assert str(fork.history()) == "fork · forked after tick 0 · 1 tick · its parent 'main' is not kept ←"


async def test_sessions_aside_are_in_their_own_history_alone() -> None:
    main = app().session("main")
    await main.send("one")
    aside = main.branch()
    assert [branch.id for branch in main.history().branches] == ["main"]
    assert [branch.id for branch in aside.history().branches] == ["main", aside.id]


async def test_a_history_says_when_each_session_was_last_used() -> None:
    store = MemoryStore()
    main = app(store).session("main")
    await main.send("one")
    fork = main.fork(at=0, id="fork")
    await fork.aclose()
    kept = {info.id: info.updated for info in store.sessions()}
    assert {branch.id: branch.used for branch in main.history().branches} == kept
    unkept = app().session("unkept")
    assert unkept.history().branches[0].used is None
    await unkept.send("one")
    assert unkept.history().branches[0].used == unkept.ticks[-1].ended


def test_a_drawn_tree_joins_siblings_and_ends_after_the_last() -> None:
    assert leads([]) == []
    assert leads([0, 1, 2, 1, 2, 3]) == ["", "├─ ", "│  └─ ", "└─ ", "   └─ ", "      └─ "]
