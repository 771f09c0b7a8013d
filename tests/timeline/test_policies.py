"""Policies decide what the timeline shows; the record keeps everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Entry, Session, Timeline
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from nbsession.timeline.policies import KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence


def last_two(entries: Sequence[Entry]) -> Sequence[Entry]:
    return entries[-2:]


def redact(entries: Sequence[Entry]) -> Sequence[Entry]:
    return [entry.replace(entry.text.replace("secret", "•••")) for entry in entries]


def texts(context: Any) -> list[str]:
    return [message.text for message in context.messages]


async def test_a_policy_shortens_what_is_sent_and_never_the_record() -> None:
    model = ScriptedModel("one", "two", "three")
    session = App(Timeline(), model=model, policies=[last_two]).session()
    for text in ("a", "b", "c"):
        await session.send(text)
    assert texts(model.contexts[2]) == ["two", "c"]
    assert len(session.timeline) == 6


async def test_policies_follow_one_another_and_may_be_async() -> None:
    seen = []

    async def note(entries: Sequence[Entry]) -> Sequence[Entry]:
        seen.append([entry.text for entry in entries])
        return entries

    model = ScriptedModel("ok", "ok")
    session = App(Timeline(), model=model, policies=[redact, note, last_two]).session()
    await session.send("my secret")
    await session.send("and another secret")
    assert texts(model.contexts[0]) == ["my •••"]
    assert seen == [["my •••"], ["my •••", "ok", "and another •••"]]
    assert texts(model.contexts[1]) == ["ok", "and another •••"]


async def test_what_a_policy_answered_is_kept_by_the_entries_it_saw_also_after_a_restart() -> None:
    calls = 0

    async def summarise(entries: Sequence[Entry]) -> Sequence[Entry]:
        nonlocal calls
        calls += 1
        return entries[-1:]

    store = MemoryStore()
    session = App(Timeline(), model=ScriptedModel("one"), policies=[summarise], store=store).session("s")
    await session.send("a")
    expected = session.ticks[0].context.hash
    await session.aclose()
    again = App(Timeline(), model=ScriptedModel("two"), policies=[summarise], store=store).session("s")
    assert again.compile().pending == (summarise.__qualname__,)
    assert again.fork(at=0, before=True).compile().hash == expected
    assert calls == 1


def last(count: int) -> Any:
    """Make a policy that shows the last entries."""

    def keep(entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries[-count:]

    return keep


async def test_a_policy_that_was_edited_is_asked_anew() -> None:
    store = MemoryStore()

    def opened(policy: Any) -> Session:
        return App(Timeline(), model=ScriptedModel("one"), policies=[policy], store=store).session("s")

    session = opened(last(1))
    await session.send("a")
    assert len(session.compile().messages) == 1
    await session.aclose()
    assert len(opened(last(2)).compile().messages) == 2


async def test_a_policy_that_raises_fails_the_execution_and_keeps_the_message() -> None:
    def broken(entries: Sequence[Entry]) -> Sequence[Entry]:
        if len(entries) == 1:
            raise ZeroDivisionError("no")
        return entries

    model = ScriptedModel("fine")
    session = App(Timeline(), model=model, policies=[broken]).session()
    with pytest.raises(ZeroDivisionError) as raised:
        await session.send("a")
    assert "broken" in raised.value.__notes__[0]
    assert [entry.text for entry in session.timeline] == ["a"]
    assert (await session.send("b")).text == "fine"


async def test_a_policy_may_not_tear_a_tool_call_from_its_result() -> None:
    def torn(entries: Sequence[Entry]) -> Sequence[Entry]:
        return [entry for entry in entries if entry.role != "tool"]

    session = App(Timeline(), model=ScriptedModel([call("look")], "never"), policies=[torn]).session()
    with pytest.raises(Exception, match="tore tool calls from their results"):
        await session.send("a")


async def test_a_policy_that_returns_something_else_is_named() -> None:
    def prose(entries: Sequence[Entry]) -> str:
        return "all of them"

    session = App(Timeline(), model=ScriptedModel("never"), policies=[prose]).session()
    with pytest.raises(Exception, match=r"prose returned str; return the entries to show"):
        await session.send("a")


@pytest.mark.parametrize("again", [False, True])
async def test_only_the_latest_answers_are_in_memory_and_the_others_are_not_asked_for_again(
    again: bool,
) -> None:
    calls: list[int] = []

    async def latest(entries: Sequence[Entry]) -> Sequence[Entry]:
        calls.append(len(entries))
        return entries[-3:]

    def session_of(store: MemoryStore) -> Session:
        return App(Timeline(), model=ScriptedModel(*["ok"] * 101), policies=[latest], store=store).session(
            "s"
        )

    store = MemoryStore()
    session = session_of(store)
    for number in range(100):
        await session.send(f"{number}")
    assert len(calls) == 100
    if again:
        await session.aclose()
        session = session_of(store)
    assert len(session._core.policies.answers) == KEPT
    session.rewind(session.timeline[4].id)
    await session.render()
    assert len(calls) == 100, "it is the third message, which was seen before"
    assert texts(session.ticks[-1].context) == ["1", "ok", "2"]


async def test_a_fork_has_the_answers_of_its_parent() -> None:
    calls: list[int] = []

    async def latest(entries: Sequence[Entry]) -> Sequence[Entry]:
        calls.append(len(entries))
        return entries[-1:]

    session = App(Timeline(), model=ScriptedModel("one", "two"), policies=[latest]).session()
    await session.send("a")
    await session.fork(at=0, before=True).render()
    assert calls == [1]


async def test_a_fork_knows_what_a_policy_answered_live_and_after_a_restart() -> None:
    calls = 0

    async def summarise(entries: Sequence[Entry]) -> Sequence[Entry]:
        nonlocal calls
        calls += 1
        return entries[-1:]

    store = MemoryStore()
    replies = ScriptedModel("one", "two", "three")
    session = App(Timeline(), model=replies, policies=[summarise], store=store).session("s")
    await session.send("a")
    await session.send("b")
    hashes = [tick.context.hash for tick in session.ticks]
    fork = session.fork(id="fork")
    assert [fork.fork(at=n, before=True).compile().hash for n in range(2)] == hashes
    await fork.send("c")
    for each in (fork, session):
        await each.aclose()
    again = App(Timeline(), policies=[summarise], store=store).session("fork")
    assert [again.fork(at=n, before=True).compile().hash for n in range(2)] == hashes
    assert calls == 3


async def test_an_object_may_be_an_async_policy() -> None:
    class Latest:
        async def __call__(self, entries: Sequence[Entry]) -> Sequence[Entry]:
            return entries[-1:]

    session = App(Timeline(), model=ScriptedModel("one", "two"), policies=[Latest()]).session()
    await session.send("a")
    assert texts((await session.send("b")).ticks[0].context) == ["b"]
    assert session.compile().pending == (Latest.__qualname__,)


async def test_a_policy_may_not_show_an_entry_twice() -> None:
    def echo(entries: Sequence[Entry]) -> Sequence[Entry]:
        return [*entries, *entries]

    session = App(Timeline(), model=ScriptedModel("never"), policies=[echo]).session()
    with pytest.raises(Exception, match=r"echo returned two entries with the id 'en_"):
        await session.send("a")


async def test_a_policy_that_takes_the_session_may_ask_a_model_on_its_account() -> None:
    async def summarise(entries: Sequence[Entry], session: Session) -> Sequence[Entry]:
        if len(entries) < 4:
            return entries
        spoken = "\n".join(entry.text for entry in entries[:-1])
        summary = await session.spawn(Timeline(), f"Sum up: {spoken}", model=ScriptedModel("in short"))
        return [Entry.of("user", summary.text), entries[-1]]

    session = App(Timeline(), model=ScriptedModel("one", "two", "three"), policies=[summarise]).session()
    for text in "abc":
        await session.send(text)
    (child,) = session.children
    assert texts(child.ticks[0].context) == ["Sum up: a\none\nb\ntwo"]
    assert texts(session.ticks[-1].context) == ["in short\n\nc"]
    own = sum(tick.usage.output_tokens for tick in session.ticks)
    assert session.usage.output_tokens == own + child.usage.output_tokens
    assert len(session.timeline) == 6


async def test_a_default_of_a_policy_is_its_own() -> None:
    def latest(entries: Sequence[Entry], count: int = 1) -> Sequence[Entry]:
        return entries[-count:]

    session = App(Timeline(), model=ScriptedModel("one", "two"), policies=[latest]).session()
    await session.send("a")
    assert texts((await session.send("b")).ticks[0].context) == ["b"]


@pytest.mark.parametrize("stored", [False, True])
async def test_every_tick_of_a_long_session_can_be_forked_before(stored: bool) -> None:
    async def latest(entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries[-3:]

    store = MemoryStore() if stored else None
    session = App(Timeline(), model=ScriptedModel(*["ok"] * 80), policies=[latest], store=store).session("s")
    for number in range(80):
        await session.send(f"{number}")
    for tick in session.ticks[::7]:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_a_policy_is_asked_anew_where_the_one_before_it_rewrote_an_entry_otherwise() -> None:
    def count(entries: Sequence[Entry]) -> Sequence[Entry]:
        return [entries[0].replace(f"{len(entries)} entries")]

    model = ScriptedModel("ok", "ok")
    session = App(Timeline(), model=model, policies=[count, redact]).session()
    await session.send("a")
    await session.send("b")
    assert [texts(context) for context in model.contexts] == [["1 entries"], ["3 entries"]]
