from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    CompiledContext,
    CompileError,
    Element,
    Entry,
    RenderError,
    Section,
    Session,
    System,
    Timeline,
    User,
    component,
    tool,
    use_knob,
    use_timeline,
)
from nbsession.content import ToolCall, ToolResult
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Sequence


@tool
def look(what: str) -> str:
    """Look at something."""
    return f"saw {what}"


TALK = ("one", [call("look", what="tea")], "two", "three")


async def talked(*timelines: Element) -> Session:
    """Return a session of three messages, the second of which took a tool call."""
    recording = App(root(Timeline()), model=ScriptedModel(*TALK)).session()
    for message in ("a", "b", "c"):
        await recording.send(message)
    session = App(root(*timelines), model=ScriptedModel()).session()
    for entry in recording.timeline:
        session._core.append(entry.role, entry.content)
    return session


def root(*timelines: Element) -> Any:
    @component
    def Agent() -> Any:
        return [System("s"), look, *timelines]

    return Agent


async def shown(*timelines: Element) -> CompiledContext:
    return (await talked(*timelines)).compile()


def texts(context: CompiledContext) -> list[str]:
    return [part.text if part.role != "tool" else "tool" for part in context.flow if part.kind == "message"]


def sums(context: CompiledContext) -> list[tuple[str, str]]:
    return [(item.reason, item.text.partition(",")[0]) for item in context.withheld]


ALL = ["a", "one", "b", "look(what='tea')", "tool", "two", "c", "three"]


async def test_it_shows_the_whole_conversation() -> None:
    context = await shown(Timeline())

    assert texts(context) == ALL
    assert not context.withheld


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, ALL[-1:]), (3, ALL[-3:]), (4, ALL[-3:]), (5, ALL[-5:]), (99, ALL)]
)
async def test_a_limit_keeps_the_last_entries_and_no_torn_call(limit: int, kept: list[str]) -> None:
    context = await shown(Timeline(limit=limit))

    assert texts(context) == kept
    out = len(ALL) - len(kept)
    assert sums(context) == ([("compacted", f"{out} entries")] if out else [])


async def test_what_is_withheld_says_where_what_and_what_it_would_cost() -> None:
    session = await talked(Timeline(limit=1))
    first, last = session.timeline[0], session.timeline[-2]

    (withheld,) = session.compile().withheld

    assert withheld.path.startswith("Agent/Timeline")
    assert withheld.text == f"7 entries, {first.id} to {last.id}"
    assert withheld.tokens == (await shown(Timeline())).tokens - session.compile().tokens


async def test_roles_choose_entries_and_results_go_with_their_calls() -> None:
    context = await shown(Timeline(roles=["assistant"]))

    assert texts(context) == ["one", "look(what='tea')", "tool", "two", "three"]
    assert sums(context) == [("filtered", "3 entries")]
    assert texts(await shown(Timeline(roles=["user"]))) == ["a", "b", "c"]


async def test_a_filter_chooses_entries() -> None:
    context = await shown(Timeline(filter=lambda entry: not entry.tool_calls))

    assert texts(context) == ["a", "one", "b", "two", "c", "three"]


async def test_filter_and_limit_are_told_apart() -> None:
    context = await shown(Timeline(roles=["user"], limit=1))

    assert texts(context) == ["c"]
    assert sums(context) == [("filtered", "5 entries"), ("compacted", "2 entries")]


async def test_max_tokens_keep_the_contiguous_tail_that_fits() -> None:
    whole = await shown(Timeline())
    sizes = [part.tokens for part in whole.flow]

    for budget in range(sizes[-1], sum(sizes) + 1):
        context = await shown(Timeline(max_tokens=budget))
        kept = texts(context)
        assert kept == ALL[-len(kept) :]
        assert kept[0] != "tool"
        assert sum(part.tokens for part in context.flow) <= budget
    assert texts(await shown(Timeline(max_tokens=sum(sizes)))) == ALL


async def test_headroom_is_kept_free() -> None:
    whole = await shown(Timeline())
    total = sum(part.tokens for part in whole.flow)

    assert texts(await shown(Timeline(max_tokens=total + 5, headroom=5))) == ALL
    assert texts(await shown(Timeline(max_tokens=total + 5, headroom=6))) == ALL[1:]


async def test_the_latest_entry_stays_whatever_the_budget() -> None:
    assert texts(await shown(Timeline(max_tokens=1))) == ["three"]


async def test_a_strategy_chooses_of_the_entries_within_a_budget() -> None:
    asked: list[Any] = []

    def ends(entries: Sequence[Entry], budget: int) -> list[Entry]:
        asked.append((len(entries), budget))
        return [entries[0], entries[-1]]

    context = await shown(Timeline(max_tokens=100, headroom=10, strategy=ends))

    assert texts(context) == ["a", "three"]
    assert asked == [(8, 90)]
    assert sums(context) == [("compacted", "6 entries")]


async def test_a_strategy_needs_no_budget() -> None:
    assert texts(await shown(Timeline(strategy=lambda entries: entries[:1]))) == ["a"]


async def test_a_strategy_may_not_tear_a_call_from_its_result() -> None:
    with pytest.raises(RenderError, match=r"Timeline.*a tool call without its result"):
        await shown(Timeline(strategy=lambda entries: [e for e in entries if e.role != "tool"]))


async def test_render_takes_the_rendering_over() -> None:
    def rendered(entries: Sequence[Entry]) -> Any:
        return [Section(f"{len(entries)} so far", title="Past"), *entries[-3:]]

    context = await shown(Timeline(rendered))

    assert texts(context) == ALL[-3:]
    assert "## Past\n\n8 so far" in str(context.system)
    assert sums(context) == [("rewritten", "5 entries")]


async def test_an_entry_may_be_rewritten_as_a_message() -> None:
    context = await shown(Timeline(lambda entries: [User(entries[0].text.upper()), *entries[1:]]))

    assert texts(context) == ["A", *ALL[1:]]


async def test_render_gets_what_roles_and_limit_left() -> None:
    got: list[int] = []

    def rendered(entries: Sequence[Entry]) -> Any:
        got.append(len(entries))
        return list(entries)

    context = await shown(Timeline(rendered, roles=["user"], limit=2))

    assert got == [2]
    assert texts(context) == ["b", "c"]


@pytest.mark.parametrize("kept", [slice(4, None), slice(0, 4)])
async def test_render_may_not_tear_a_call_from_its_result(kept: slice) -> None:
    with pytest.raises(CompileError, match=r"Agent/Timeline.*tore a tool call from its results"):
        await shown(Timeline(lambda entries: list(entries[kept])))


async def test_render_may_not_show_an_entry_twice() -> None:
    with pytest.raises(CompileError, match=r"returned the entry 'en_.*' twice"):
        await shown(Timeline(lambda entries: [entries[0], entries[0]]))


async def test_two_timelines_may_share_the_conversation() -> None:
    context = await shown(
        Timeline(filter=lambda entry: entry.text in {"a", "one"}),
        Section("now", id="now"),
        Timeline(filter=lambda entry: entry.text not in {"a", "one"}),
    )

    assert [str(part) for part in context.flow][:4] == ["a", "one", "now", "b"]


async def test_an_entry_of_two_timelines_names_both() -> None:
    with pytest.raises(
        CompileError, match=r"shown by two timelines, Agent/Timeline\.2.* and Agent/Timeline\.3"
    ):
        await shown(Timeline(), Timeline(limit=1))


async def test_a_message_without_a_timeline_is_an_error_and_reaches_no_model() -> None:
    model = ScriptedModel("never")
    session = App(root(), model=model).session()

    with pytest.raises(CompileError, match=r"renders no Timeline\(\).*add Timeline\(\)"):
        await session.send("hello")

    assert not model.contexts
    assert [entry.text for entry in session.timeline] == ["hello"]


async def test_a_message_that_waits_in_a_fork_needs_a_timeline_too() -> None:
    @component
    def Agent() -> Any:
        shown, _ = use_knob("shown", default=True)
        return [System("You answer."), shown and Timeline()]

    model = ScriptedModel("one", "never")
    session = App(Agent, model=model).session()
    await session.send("hello")
    fork = session.fork(at=0, before=True)
    fork.knobs["shown"] = False
    with pytest.raises(CompileError, match=r"renders no Timeline\(\).*add Timeline\(\)"):
        await fork.render()
    assert len(model.contexts) == 1


async def test_rendering_without_a_message_needs_no_timeline() -> None:
    model = ScriptedModel("done")

    @component
    def Agent() -> Any:
        return [System("s"), User("Go.")]

    result = await App(Agent, model=model).session().render()
    assert result.text == "done"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"limit": 0}, r"limit=\) must be at least 1, got 0"),
        ({"roles": "user"}, r"takes a list of roles, got the string 'user'"),
        ({"roles": ["users"]}, r"got 'users'; did you mean 'user'"),
        ({"max_tokens": 10, "headroom": 10}, r"leaves no room"),
        ({"max_tokens": 10, "strategy": "best"}, r"'sliding-window' or a function, got 'best'"),
        ({"strategy": "best"}, r"'sliding-window' or a function, got 'best'"),
        ({"strategy": lambda _: ["a"]}, r"returns the entries to keep"),
    ],
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RenderError, match=r"Timeline.*" + complaint):
        await shown(Timeline(**options))


async def test_policies_hide_entries_and_that_is_listed() -> None:
    session = App(
        root(Timeline()), model=ScriptedModel("one", "two"), policies=[lambda es: es[-1:]]
    ).session()
    await session.send("a")
    result = await session.send("b")

    context = result.ticks[0].context
    assert texts(context) == ["b"]
    assert sums(context) == [("policy", "2 entries")]


async def test_a_component_that_reads_the_timeline_renders_again_when_it_grows() -> None:
    @component
    def Agent() -> Any:
        entries = use_timeline()
        calls = [block for entry in entries for block in entry.content if isinstance(block, ToolCall)]
        return [System(f"{len(entries)} entries, {len(calls)} calls"), look, Timeline()]

    session = App(Agent, model=ScriptedModel([call("look", what="x")], "done")).session()
    result = await session.send("go")

    assert [str(tick.context.system) for tick in result.ticks] == [
        "1 entries, 0 calls",
        "3 entries, 1 calls",
    ]


async def test_long_conversations_keep_every_pair_in_order() -> None:
    session = App(root(Timeline()), model=ScriptedModel()).session()
    for number in range(300):
        session._core.append("assistant", (ToolCall(f"c{number}", "look", {"what": "x"}),))
        session._core.append("tool", (ToolResult(f"c{number}", "look", ()),))
    parts = session.compile().flow

    assert len(parts) == 600
    assert [part.key for part in parts] == [entry.id for entry in session.timeline]


async def test_a_tree_that_renders_nothing_at_all_is_told_to_look_for_its_return() -> None:
    @component
    def Silent() -> None:
        Timeline()

    with pytest.raises(CompileError, match="renders nothing at all, so look for a missing return, and add"):
        await App(Silent, model=ScriptedModel("never")).session().send("hello")
