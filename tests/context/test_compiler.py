from __future__ import annotations

from typing import Any

import pytest

from nbsession import (
    App,
    Assistant,
    CompiledContext,
    CompileError,
    ErrorBoundary,
    Knobs,
    Section,
    System,
    Timeline,
    User,
    component,
    tool,
    use_effect,
    use_knob,
    use_state,
)
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, render


@tool
def look() -> str:
    """Look."""
    return "seen"


def turns(context: CompiledContext) -> list[tuple[str, list[str]]]:
    return [(message.role, [str(block) for block in message.content]) for message in context.messages]


def test_tree_order_is_context_order() -> None:
    @component
    def Inner() -> Any:
        return [System("two"), Section("three", id="x")]

    context = render(
        [System("one"), Inner(), [["four"]], User("q"), Section("between"), Assistant("a")]
    ).context

    assert [part.text for part in context.system] == ["one", "two", "three", "four"]
    assert turns(context) == [("user", ["q", "between"]), ("assistant", ["a"])]
    assert [part.text for part in context.parts] == ["one", "two", "three", "four", "q", "between", "a"]


def test_tools_stand_in_tree_order_whatever_is_around_them() -> None:
    @tool
    def taste() -> str:
        """Taste."""
        return "sweet"

    context = render([taste, System("s", look), User("q")]).context
    assert [spec.name for spec in context.tools] == ["taste", "look"]


def test_user_only_tools_are_withheld_and_can_be_called() -> None:
    @tool(audience="user")
    def reset() -> str:
        """Reset."""
        return "reset"

    mounted = render([System("s"), reset])
    assert not mounted.context.tools
    assert [(item.reason, item.text) for item in mounted.context.withheld] == [("user audience", "reset")]
    assert mounted.tools["reset"]() == "reset"


def test_two_tools_of_one_name_name_both_places() -> None:
    @component
    def One() -> Any:
        return look

    @component
    def Two() -> Any:
        return look

    with pytest.raises(CompileError, match=r"two tools are named 'look': one at .*One\.0, one at .*Two\.1"):
        _ = render([One(), Two()]).context


def qualified(name: str, longer: str) -> Any:
    made = tool(name=name)(lambda: longer)
    made.qualified = made.replace(name=longer)
    return made


def test_a_tool_with_a_longer_name_has_it_where_another_has_its_own() -> None:
    names = [
        spec.name
        for spec in render([look, qualified("look", "far_look"), qualified("see", "far_see")]).context.tools
    ]
    assert names == ["look", "far_look", "see"]


def test_of_two_tools_with_longer_names_both_have_them() -> None:
    mounted = render([qualified("look", "a_look"), qualified("look", "b_look")])
    assert [spec.name for spec in mounted.context.tools] == ["a_look", "b_look"]
    assert mounted.tools["b_look"]() == "b_look"


def test_an_alias_is_a_name_that_another_tool_has() -> None:
    @tool(aliases=["see"])
    def watch() -> str:
        """Watch."""
        return "own"

    mounted = render([watch, qualified("see", "far_see")])
    assert mounted.tools["see"] is watch
    assert mounted.tools["far_see"]() == "far_see"


async def test_a_tool_that_is_given_keeps_its_name_beside_one_with_a_longer_one() -> None:
    @component
    def Tree() -> Any:
        return [System("s"), qualified("look", "far_look"), Timeline()]

    session = App(Tree, model=ScriptedModel("done"), tools=[look]).session()
    assert [spec.name for spec in session.compile().tools] == ["far_look", "look"]


async def test_the_nearest_tool_wins() -> None:
    def named(says: str) -> Any:
        @tool(name="look")
        def looking() -> str:
            return says

        return looking

    @component
    def Bare() -> Any:
        return [System("s"), Timeline()]

    @component
    def Tree() -> Any:
        return [System("s"), named("tree"), Timeline()]

    async def said(root: Any, *, send: bool, session: bool) -> str:
        model = ScriptedModel([call("look")], "done")
        app = App(root, model=model, tools=[named("app")])
        live = app.session(tools=[named("session")] if session else [])
        result = await live.send("go", tools=[named("send")] if send else [])
        assert result.tool_calls[0].result is not None
        return result.tool_calls[0].result.text

    assert await said(Tree, send=True, session=True) == "tree"
    assert await said(Bare, send=True, session=True) == "send"
    assert await said(Bare, send=False, session=True) == "session"
    assert await said(Bare, send=False, session=False) == "app"


def test_tokens_are_the_sum_of_the_parts() -> None:
    context = render([System("s" * 40), look, User("q" * 80), Section("t" * 8, audience="user")]).context

    assert context.tokens == sum(part.tokens for part in context.parts)
    assert [part.tokens for part in context.system] == [10]


# Trailing context


@component
def Noting() -> Any:
    tone, _ = use_knob("tone", "warm")
    notes: list[str] = []
    notes, set_notes = use_state(notes)

    @tool
    def note(text: str) -> str:
        """Note."""
        set_notes(lambda kept: [*kept, text])
        return "noted"

    return [
        System("s"),
        note,
        look,
        Timeline(),
        Section(f"Tone {tone}", id="tone"),
        notes and Section(", ".join(notes), id="notes"),
    ]


async def test_what_stands_after_the_conversation_trails_the_user_turn_and_is_never_stored() -> None:
    session = App(Noting, model=ScriptedModel("a", "b")).session()
    result = await session.send("hi")

    assert turns(result.ticks[0].context) == [("user", ["hi", "Tone warm"])]
    assert [str(entry) for entry in session.timeline] == ["hi", "a"]


async def test_within_an_execution_what_was_sent_stays_and_only_what_changed_is_sent_again() -> None:
    model = ScriptedModel([call("note", text="x")], [call("look")], [call("note", text="y")], "done", "bye")
    session = App(Noting, model=model).session()
    result = await session.send("hi")
    first, second, third, fourth = (turns(tick.context) for tick in result.ticks)

    assert first == [("user", ["hi", "Tone warm"])]
    assert second == [*first, ("assistant", ["note(text='x')"]), ("user", ["noted", "x"])]
    assert third == [*second, ("assistant", ["look()"]), ("user", ["seen"])]
    assert fourth == [*third, ("assistant", ["note(text='y')"]), ("user", ["noted", "x, y"])]
    for before, after in zip(result.ticks, result.ticks[1:], strict=False):
        assert after.context.diff(before.context).prefix_tokens_kept == before.context.tokens

    last = (await session.send("again")).ticks[0].context
    assert turns(last)[0] == ("user", ["hi"])
    assert turns(last)[-1] == ("user", ["again", "Tone warm", "x, y"])
    assert str(last).count("Tone warm") == 1


async def test_a_knob_moved_in_the_middle_sends_its_part_again() -> None:
    @tool
    def turn() -> str:
        """Turn."""
        session.knobs["tone"] = "cool"
        return "turned"

    session = App(Noting, model=ScriptedModel([call("turn")], "ok"), tools=[turn]).session()
    result = await session.send("hi")

    assert turns(result.ticks[1].context) == [
        ("user", ["hi", "Tone warm"]),
        ("assistant", ["turn()"]),
        ("user", ["turned", "Tone cool"]),
    ]


async def test_a_fork_before_any_tick_has_the_trailing_context_of_that_moment() -> None:
    store = MemoryStore()
    model = ScriptedModel([call("note", text="x")], [call("note", text="y")], "done", "bye")
    session = App(Noting, model=model, store=store).session("x")
    await session.send("hi")
    await session.send("again")
    hashes = [tick.context.hash for tick in session.ticks]
    assert [session.fork(at=n, before=True).compile().hash for n in range(4)] == hashes
    await session.aclose()

    restored = App(Noting, store=store).session("x")
    assert [restored.fork(at=n, before=True).compile().hash for n in range(4)] == hashes
    assert not restored.verify()


async def test_trailing_context_behind_a_message_of_the_tree_stays_behind_it() -> None:
    @component
    def Agent() -> Any:
        return [System("s"), look, User("First."), Timeline(), User("Be brief."), Section("now", id="now")]

    session = App(Agent, model=ScriptedModel([call("look")], "done")).session()
    result = await session.send("hi")

    assert turns(result.ticks[0].context) == [("user", ["First.", "hi", "Be brief.", "now"])]
    assert turns(result.ticks[1].context) == [
        ("user", ["First.", "hi"]),
        ("assistant", ["look()"]),
        ("user", ["seen", "Be brief.", "now"]),
    ]


async def test_results_come_first_in_their_turn() -> None:
    @component
    def Agent() -> Any:
        return [System("s"), look, Timeline(), User("Be brief.")]

    session = App(Agent, model=ScriptedModel([call("look")], "done")).session()
    session.steer("and hurry")
    result = await session.send("hi")
    assert turns(result.ticks[1].context)[-1] == ("user", ["seen", "Be brief."])


# Faithfulness


async def test_withheld_lists_what_was_left_out_and_why() -> None:
    @component
    def Agent() -> Any:
        return [Section("for you", id="u", audience="user"), Timeline(limit=1)]

    session = App(Agent, model=ScriptedModel("a", "b")).session()
    await session.send("one")
    result = await session.send("two")

    assert [(item.path.partition(".")[0], item.reason) for item in result.ticks[0].context.withheld] == [
        ("Agent/Section[u]", "user audience"),
        ("Agent/Timeline", "compacted"),
    ]


def test_a_boundary_drops_nothing_but_what_failed() -> None:
    @component
    def Broken() -> Any:
        raise ValueError("no")

    context = render(
        [System("s"), ErrorBoundary([System("lost"), Broken()], fallback="sorry"), User("q")]
    ).context
    assert [part.text for part in context.parts] == ["s", "sorry", "q"]


def test_state_moves_with_its_part_and_the_diff_says_moved() -> None:
    setters: dict[str, Any] = {}

    @component
    def Item(name: str) -> Any:
        count, setters[name] = use_state(0)
        return Section(f"{name} {count}", id=name)

    @component
    def Agent() -> Any:
        names, setters[""] = use_state(["a", "b", "c"])
        return [Item(name=name, key=name) for name in names]

    mounted = render(Agent())
    setters["c"](5)
    before = mounted.context
    setters[""](["c", "a", "b"])
    after = mounted.context

    assert [part.text for part in after.system] == ["c 5", "a 0", "b 0"]
    diff = after.diff(before)
    assert [part.text for part in diff.moved] == ["c 5"]
    assert (diff.added, diff.removed, diff.changed) == ((), (), ())


async def test_a_preview_shows_knobs_that_come_and_go() -> None:
    @component
    def Advanced() -> Any:
        depth, _ = use_knob("depth", 3)
        return System(f"depth {depth}")

    @component
    def Agent() -> Any:
        mode, _ = use_knob("mode", "easy", options=["easy", "advanced"])
        return [System(mode), Knobs(), mode == "advanced" and Advanced(), Timeline()]

    session = App(Agent, model=ScriptedModel("ok")).session()
    for mode in ("advanced", "easy"):
        present = session.compile().hash
        preview = session.preview(mode=mode)
        assert session.compile().hash == present
        session.knobs["mode"] = mode
        assert str(session.compile()) == str(preview.context)
        assert session.compile().hash == preview.context.hash


async def test_a_preview_sets_no_state_and_runs_no_effect() -> None:
    ran: list[str] = []

    @component
    def Agent() -> Any:
        tone, _ = use_knob("tone", "warm")
        count, set_count = use_state(0)
        set_count(count + 1 if tone == "cool" else 0)
        use_effect(lambda: ran.append(tone), [tone])
        return [System(f"{tone} {count}"), Timeline()]

    session = App(Agent, model=ScriptedModel("ok")).session()
    await session.send("hi")
    state, version = session.state, session._core.state.version
    preview = session.preview(tone="cool")

    assert "cool 0" in str(preview.context.system)
    assert preview.diff.changed
    assert (session.state, session._core.state.version, ran) == (state, version, ["warm"])
    assert session.knobs["tone"] == "warm"
