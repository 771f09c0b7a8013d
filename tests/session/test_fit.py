"""A budget of tokens in the tree of a session: what a conversation gives up, and what stays decided."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    CompileError,
    Cut,
    First,
    Fit,
    ModelError,
    Priority,
    Section,
    System,
    Timeline,
    Whole,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.content import ToolCall, ToolResult
from nbsession.session import room
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from nbsession.usage import Calibration

if TYPE_CHECKING:
    from nbsession import CompiledContext, Session
    from nbsession.context import Part

ANSWER = "answer " + "x" * 189  # 49 tokens, and 4 for the frame
QUESTION = "question " + "x" * 187


@tool
def look_up(name: str) -> str:
    """Look something up."""
    return name * 40


@component
def Chat() -> Any:
    return Fit(System("Be kind."), look_up, Timeline())


@component
def Budgeted() -> Any:
    budget, _ = use_knob("budget", 700, min=1)
    return Fit(System("Be kind."), Timeline(), max_tokens=budget)


async def talk(session: Session, turns: int) -> list[CompiledContext]:
    contexts = []
    for number in range(turns):
        result = await session.send(f"{number} {QUESTION}")
        contexts += [tick.context for tick in result.ticks]
    return contexts


def messages(context: CompiledContext) -> list[Part]:
    return [part for part in context.parts if part.kind == "message"]


def check_pairs(context: CompiledContext) -> None:
    """Every call has its result right behind it, and no result stands alone."""
    open_calls: list[str] = []
    for part in messages(context):
        results = [block.call_id for block in part.blocks if isinstance(block, ToolResult)]
        assert results == open_calls
        open_calls = [block.id for block in part.blocks if isinstance(block, ToolCall)]
    assert not open_calls


async def test_a_conversation_gives_up_its_oldest_exchanges() -> None:
    session = App(Chat, model=ScriptedModel(*[ANSWER] * 20, window=700)).session()
    contexts = await talk(session, 20)
    for number, context in enumerate(contexts):
        assert context.tokens <= 700
        shown = messages(context)
        assert shown[0].role == "user"
        assert shown[-1].text.startswith(f"{number} question")
        assert len(shown) % 2  # whole exchanges, and the message that is being answered
    assert len(messages(contexts[-1])) < len(session.timeline) - 1
    (note,) = contexts[-1].withheld
    assert (note.path, note.reason, note.priority) == ("timeline", "budget", 0)
    assert note.text.startswith("28 entries, en_")
    assert note.tokens == 14 * (53 + 54)


async def test_head_room_lets_the_prefix_stand_for_some_ticks() -> None:
    session = App(Chat, model=ScriptedModel(*[ANSWER] * 60, window=2000)).session()
    contexts = await talk(session, 60)
    first = [messages(context)[0].key for context in contexts]
    breaks = sum(one != other for one, other in itertools.pairwise(first))
    assert 0 < breaks < 60 // 2
    for older, newer in itertools.pairwise(contexts):
        if messages(older)[0].key == messages(newer)[0].key:
            assert newer.diff(older).prefix_broken_by is None


async def test_a_call_goes_with_its_result_and_the_question_under_way_stays() -> None:
    calls = [[call("look_up", name=f"n{number}")] for number in range(9)]
    session = App(Chat, model=ScriptedModel("Hello.", *calls, "Done.", window=360)).session()
    await session.send("Before")
    result = await session.send("Look all of them up")
    for tick in result.ticks:
        check_pairs(tick.context)
        assert tick.context.tokens <= 360
    last = messages(result.ticks[-1].context)
    assert last[0].text == "Look all of them up"
    assert last[-1].role == "tool"
    assert "n8" in str(last[-1])
    assert len(last) < 19
    assert not any(part.text == "Before" for part in last)


async def test_what_went_of_an_exchange_stays_away_when_the_next_one_begins() -> None:
    calls = [[call("look_up", name=f"n{number}")] for number in range(9)]
    session = App(Chat, model=ScriptedModel(*calls, "Done.", "More.", window=360)).session()
    first = (await session.send("Look all of them up")).ticks[-1].context
    second = (await session.send("And?")).ticks[0].context
    check_pairs(second)
    assert second.tokens <= 360
    kept = [part.key for part in messages(first)]
    assert [part.key for part in messages(second)][: len(kept)] == kept


async def test_documents_give_way_before_the_conversation_does_if_they_are_less_important() -> None:
    @component
    def Reader() -> Any:
        documents = [Priority(-1, Section(f"{n}" + "x" * 399, id=f"d{n}"), key=n) for n in range(5)]
        return Fit(documents, Timeline())

    session = App(Reader, model=ScriptedModel(*[ANSWER] * 10, window=900)).session()
    contexts = await talk(session, 10)
    for context in contexts:
        shown = [part.key for part in context.system]
        assert shown == [f"d{n}" for n in range(5)][5 - len(shown) :]
        assert len(messages(context)) == contexts.index(context) * 2 + 1 or not shown


async def test_what_was_left_out_stays_out_until_there_is_room_for_it() -> None:
    @component
    def Notes() -> Any:
        extra, _ = use_knob("extra", 0, min=0)
        return Fit(
            [Priority(-1, Section(name + "x" * 39, id=name), key=name) for name in "abcdefgh"],
            Priority(2, extra and Section("x" * 4 * extra, id="-"), key="extra"),
            Timeline(),
            max_tokens=200,
        )

    def shown(context: CompiledContext) -> str:
        return "".join(part.key for part in context.system if part.key != "-")

    session = App(Notes, model=ScriptedModel(*["Yes."] * 6)).session()
    seen = []
    for extra in (0, 120, 110, 100, 80):
        session.knobs["extra"] = extra
        session.rewind(None)
        seen.append(shown((await session.send("?")).ticks[0].context))
    assert seen == ["abcdefgh", "defgh", "defgh", "defgh", "abcdefgh"]


async def test_among_equals_what_is_new_goes_before_what_the_provider_has_cached() -> None:
    names = ["a", "b", "c"]

    @component
    def Notes() -> Any:
        _ = use_knob("again", 0)
        notes = [Priority(-1, Section(name + "x" * 399, id=name), key=name) for name in names]
        return Fit(notes, Timeline(), max_tokens=360)

    session = App(Notes, model=ScriptedModel("Yes.", "Yes.")).session()
    first = (await session.send("?")).ticks[0].context
    names.append("d")
    session.knobs["again"] = 1
    second = (await session.send("?")).ticks[0].context
    assert [part.key for part in first.system] == ["a", "b", "c"]
    assert [part.key for part in second.system] == ["a", "b", "c"]
    assert second.diff(first).prefix_broken_by is None
    assert [note.path for note in second.withheld] == ["Notes/Fit.0/0/Priority[d]/Section[d]"]


@tool
def look() -> str:
    """Look."""
    return "r" * 200


@pytest.mark.parametrize(
    "behind",
    [
        lambda: Priority(-1, Section("s" * 400, id="s")),
        lambda: Whole(Section("s" * 200, id="s"), Section("t" * 200, id="t")),
        lambda: Cut(Section(("s" * 39 + "\n") * 10, id="s")),
        lambda: First([Section("s" * 400, id="s")], Section("s" * 300, id="s")),
        lambda: Fit(Priority(0, Section("s" * 400, id="s")), max_tokens=110),
    ],
)
async def test_what_was_sent_behind_the_timeline_goes_from_where_it_stood_when_the_budget_leaves_it_out(
    behind: Any,
) -> None:
    @component
    def Looking() -> Any:
        return Fit(look, Timeline(), behind(), max_tokens=250)

    session = App(Looking, model=ScriptedModel(*[[call("look")]] * 3, "Done.")).session()
    contexts = [tick.context for tick in (await session.send("?")).ticks]
    for context in contexts:
        assert context.tokens <= 250
        shown = [part.text for part in context.parts]
        assert not [item for item in context.withheld if item.text in shown]
        assert len([part for part in context.parts if part.key == "s"]) <= 1
    assert not contexts[0].withheld
    assert [item for item in contexts[-1].withheld if item.path != "timeline"]
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_what_a_part_said_earlier_stays_where_it_stood_until_its_own_fit_has_no_room_and_that_is_said() -> (
    None
):
    @component
    def Counting() -> Any:
        count, set_count = use_state(0)

        @tool
        def look() -> str:
            """Look."""
            set_count(count + 1)
            return "r" * 20

        inner = Fit(Timeline(), Section(f"{count} " + "s" * 200, id="s"), max_tokens=200, key="inner")
        return Fit(look, inner, max_tokens=1000)

    session = App(Counting, model=ScriptedModel(*[[call("look")]] * 7, "Done.")).session()
    contexts = [tick.context for tick in (await session.send("?")).ticks]
    standing = [[part.text[0] for part in context.parts if part.key == "s"] for context in contexts]
    assert standing[:5] == [["0"], ["0", "1"], ["0", "1", "2"], ["3"], ["3", "4"]]
    outdated = [(item.text[0], item.tokens) for item in contexts[3].withheld if item.reason == "outdated"]
    assert outdated == [("0", 51), ("1", 51), ("2", 51)]
    assert not any(context.withheld for context in contexts[:3])
    for context in contexts:
        inside = [part for part in context.parts if part.kind == "message" or part.key == "s"]
        assert sum(part.tokens for part in inside) <= 200


async def test_every_tick_compiles_again_to_its_hash_before_it() -> None:
    calls: list[Any] = [[call("look_up", name=f"n{number}")] for number in range(3)]
    session = App(Chat, model=ScriptedModel(*[*calls, ANSWER] * 6, window=500)).session()
    await talk(session, 6)
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_a_session_opened_again_goes_on_with_what_it_left_out() -> None:
    store = MemoryStore()
    session = App(Chat, model=ScriptedModel(*[ANSWER] * 14, window=700), store=store).session("a")
    await talk(session, 14)
    expected = session.compile("and now").messages
    session.close()
    again = App(Chat, model=ScriptedModel("Yes.", window=700), store=store).session("a")
    assert again.compile("and now").messages == expected
    for tick in again.ticks:
        assert again.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_looking_decides_nothing() -> None:
    session = App(Budgeted, model=ScriptedModel(*[ANSWER] * 12)).session()
    await talk(session, 8)
    before = session._core.state.version
    for budget in (150, 2000, 300):
        assert session.preview(budget=budget).context.tokens <= budget
    session.compile("what " * 100)
    assert session._core.state.version == before


async def test_a_larger_budget_brings_exchanges_back() -> None:
    session = App(Budgeted, model=ScriptedModel(*[ANSWER] * 12)).session()
    await talk(session, 10)
    few = len(messages(session.compile()))
    session.knobs["budget"] = 5000
    assert len(messages(session.compile())) == 20 > few


async def test_a_slightly_larger_budget_takes_nothing_away() -> None:
    session = App(Budgeted, model=ScriptedModel(*[ANSWER] * 12)).session()
    await talk(session, 10)
    kept = len(messages(session.compile()))
    for budget in range(700, 800, 10):
        assert len(messages(session.preview(budget=budget).context)) >= kept


async def test_a_budget_that_changes_is_filled_by_priority_again_though_what_came_since_has_to_go() -> None:
    @component
    def Notes() -> Any:
        budget, _ = use_knob("budget", 223, min=1)
        extra, _ = use_knob("extra", 180, min=1)
        return Fit(
            Priority(3, Section("s" * 480, id="s")),
            Section("x" * 4 * extra, id="x"),
            Timeline(),
            max_tokens=budget,
        )

    session = App(Notes, model=ScriptedModel(*["a" * 184] * 2)).session()
    await session.send("First")
    session.knobs["extra"] = 100
    await session.send("Second")
    kept = session.preview(budget=223).context
    larger = session.preview(budget=283).context
    assert [part.key for part in kept.system] == ["x"]
    assert [part.text[:6] for part in messages(kept)] == ["First", "aaaaaa", "Second", "aaaaaa"]
    assert [part.key for part in larger.system] == ["s", "x"]
    assert [part.text[:6] for part in messages(larger)] == ["Second", "aaaaaa"]
    assert larger.tokens <= 283


async def test_no_model_is_called_where_what_has_to_stay_does_not_fit() -> None:
    model = ScriptedModel("Yes.", window=100)
    session = App(Chat, model=model).session()
    with pytest.raises(
        CompileError, match=r"the model's window has room for ≈100 tokens.*user · timeline \(≈"
    ):
        await session.send("x" * 4000)
    assert not model.contexts
    assert session.status == "idle"


async def test_the_window_counts_what_stands_outside_the_fit_and_the_reserve() -> None:
    @component
    def Outside() -> Any:
        return [System("x" * 400), Fit(Timeline(), reserve=100), Section("y" * 400)]

    session = App(Outside, model=ScriptedModel(*[ANSWER] * 10, window=700)).session()
    for context in await talk(session, 10):
        assert context.tokens <= 600


async def test_a_summary_takes_the_place_of_a_text_as_the_conversation_grows() -> None:
    @component
    def Reader() -> Any:
        return Fit(Priority(-1, First("long " * 300, "short")), Timeline())

    session = App(Reader, model=ScriptedModel(*[ANSWER] * 10, window=900)).session()
    starts = [context.system.text[:5] for context in await talk(session, 10)]
    assert starts[0] == "long "
    assert starts[-1] in {"short", ""}
    order = ["long ", "short", ""]
    assert [order.index(start) for start in starts] == sorted(order.index(start) for start in starts)


def too_long(counted: int | None, room: int | None) -> ModelError:
    return ModelError("the context is too large", kind="request", too_long=True, counted=counted, room=room)


async def test_a_request_refused_for_its_length_is_sent_once_more_with_the_room_that_was_reported() -> None:
    model = ScriptedModel(*[ANSWER] * 8, too_long(2000, 1500), "At last.")
    session = App(Chat, model=model).session()
    await talk(session, 8)
    result = await session.send("And?")
    assert result.text == "At last."
    refused, sent = result.ticks
    assert isinstance(refused.error, ModelError)
    assert refused.cost == 0
    factor = 2000 / refused.context.tokens
    assert sent.context.tokens * factor <= 1500
    assert messages(sent.context)[-1].text == "And?"
    (note,) = session.notes
    assert note.startswith("scripted refused a request of 2,000 tokens (estimated: ")
    assert "it takes 1,500" in note
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
    assert session.compile("More?").tokens * factor <= 1500


async def test_a_request_that_is_refused_again_fails() -> None:
    model = ScriptedModel(*[ANSWER] * 8, too_long(2000, 1500), too_long(1600, 1500), "Never.")
    session = App(Chat, model=model).session()
    await talk(session, 8)
    with pytest.raises(ModelError):
        await session.send("And?")
    assert len(model.contexts) == 10


async def test_where_no_less_can_be_sent_the_error_is_the_providers_and_nothing_says_that_it_was_sent_again() -> (
    None
):
    model = ScriptedModel("Hello.", too_long(2000, 10), "Never.", window=4000)
    session = App(Chat, model=model).session()
    await session.send("Hi")
    with pytest.raises(ModelError, match="too large") as caught:
        await session.send("x" * 400)
    assert isinstance(caught.value.__cause__, CompileError)
    assert "has to stay there takes" in str(caught.value.__cause__)
    assert len(model.contexts) == 2
    (note,) = session.notes
    assert note.startswith("scripted refused a request of 2,000 tokens")
    assert "sent once more" not in note
    assert session.status == "idle"
    assert session.timeline[-1].role == "user"


async def test_where_the_provider_did_not_count_less_is_sent_than_it_takes() -> None:
    model = ScriptedModel(*[ANSWER] * 8, too_long(None, 500), "At last.")
    session = App(Chat, model=model).session()
    await talk(session, 8)
    refused, sent = (await session.send("And?")).ticks
    assert sent.context.tokens < refused.context.tokens


@pytest.mark.parametrize("error", [too_long(2000, None), ModelError("busy", kind="request")])
async def test_what_was_refused_without_a_word_on_the_room_fails_at_once(error: ModelError) -> None:
    model = ScriptedModel(*[ANSWER] * 8, error, "Never.")
    session = App(Chat, model=model).session()
    await talk(session, 8)
    with pytest.raises(ModelError):
        await session.send("And?")
    assert not session.notes


async def test_without_a_fit_nothing_is_sent_again() -> None:
    @component
    def Plain() -> Any:
        return Timeline()

    model = ScriptedModel(too_long(2000, 1500), "Never.")
    with pytest.raises(ModelError):
        await App(Plain, model=model).session().send("And?")
    assert len(model.contexts) == 1


async def test_a_calibrated_model_is_measured_by_its_own_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Calibration(2.0, 0.02, 5)
    monkeypatch.setattr(room, "calibrated", lambda _: known)
    session = App(Chat, model=ScriptedModel(*[ANSWER] * 30, window=1400)).session()
    contexts = await talk(session, 20)
    assert all(context.tokens * 2 <= 1400 for context in contexts)
    known = Calibration(2.1, 0.02, 6)  # a little off is no reason to break the prefix
    await talk(session, 1)
    assert session._core.room.factor("scripted") == 2.0
    known = Calibration(4.0, 0.02, 7)
    (context,) = await talk(session, 1)
    assert context.tokens * 4 <= 1400
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
