"""Hooks in live sessions: state, knobs, what surrounds the tree, and misuse."""

from __future__ import annotations

import copy
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    HookError,
    KnobError,
    Knobs,
    RenderError,
    Section,
    System,
    Tick,
    Timeline,
    component,
    tool,
    use_callback,
    use_data,
    use_effect,
    use_knob,
    use_memo,
    use_on_mount,
    use_reducer,
    use_ref,
    use_session,
    use_state,
    use_timeline,
    use_usage,
)
from nbsession.context import Capabilities
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call, pause, render

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession import CompiledContext, Session


class Note(BaseModel):
    text: str
    stars: int = 0


def live(root: Any, *responses: Any, **options: Any) -> Session:
    """Return a session whose model answers with ``responses``, then with "ok"."""
    left = list(responses)

    def answer(context: CompiledContext) -> Any:
        return left.pop(0) if left else "ok"

    return App(root, model=ScriptedModel(*[answer] * 50), **options).session()


def system(tick: Tick) -> str:
    return str(tick.context.system)


async def test_state_is_kept_over_a_restart_but_for_what_opts_out(tmp_path: Path) -> None:
    @component
    def Agent() -> Any:
        kept, set_kept = use_state(0)
        lost, set_lost = use_state(0, persist=False)

        @tool
        def count() -> str:
            """Count."""
            set_kept(kept + 1)
            set_lost(lost + 1)
            return "done"

        return [System(f"kept {kept}, lost {lost}"), count, Timeline()]

    store = SqlStore(f"sqlite:///{tmp_path / 'a.db'}")
    first = App(Agent, model=ScriptedModel([call("count")], "ok"), store=store).session("x")
    result = await first.send("count")
    assert system(result.ticks[-1]) == "kept 1, lost 1"
    assert first.state == {"Agent#0": 1}
    await first.aclose()

    again = App(Agent, model=ScriptedModel(), store=store).session("x")
    assert again.state == {"Agent#0": 1}
    assert str(again.compile().system) == "kept 1, lost 0"


async def test_pydantic_models_come_back_as_models() -> None:
    store = MemoryStore()

    @component
    def Agent() -> Any:
        note, set_note = use_state(Note(text="empty"))

        @tool
        def write(text: str) -> str:
            """Write."""
            set_note(Note(text=text, stars=3))
            return "done"

        return [System(f"{note.text} {note.stars * '*'}"), write, Timeline()]

    session = App(Agent, model=ScriptedModel([call("write", text="tea")], "ok"), store=store).session("x")
    await session.send("write")
    await session.aclose()

    again = App(Agent, model=ScriptedModel(), store=store).session("x")
    assert str(again.compile().system) == "tea ***"


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), {1: "a"}, [b"bytes"]])
async def test_state_that_cannot_be_kept_names_its_component_and_the_remedy(value: Any) -> None:
    @component
    def Holder() -> Any:
        kept, set_kept = use_state(0)

        @tool
        def put() -> str:
            """Put."""
            set_kept(value)
            return "done"

        return [System(f"{kept!r:.10}"), put]

    @component
    def Agent() -> Any:
        return [Holder(), Timeline()]

    model = ScriptedModel([call("put")], "sorry")
    session = App(Agent, model=model).session()

    refused = (await session.send("go")).tool_calls[0].result
    assert refused is not None
    assert refused.is_error
    assert re.search(r"state 0 of Agent/Holder\.0 holds .*persist=False", refused.text)
    assert str(model.contexts[1].system) == "0"


async def test_state_that_opts_out_may_be_anything() -> None:
    @component
    def Agent() -> Any:
        lock, _ = use_state(threading.Lock, persist=False)
        return [System(type(lock).__name__), Timeline()]

    assert (await live(Agent).send("hi")).text == "ok"


def counted(cart: dict[str, int], item: str) -> dict[str, int]:
    return {**cart, item: cart.get(item, 0) + 1}


async def test_a_reducer_takes_actions_from_anywhere() -> None:
    @component
    def Agent() -> Any:
        empty: dict[str, int] = {}
        cart, dispatch = use_reducer(counted, empty)

        @tool
        def add(item: str) -> str:
            """Add."""
            dispatch(item)
            dispatch(item)
            return "added"

        return [System(str(cart)), add, Timeline()]

    session = live(Agent, [call("add", item="tea")])
    result = await session.send("tea please")
    assert system(result.ticks[-1]) == "{'tea': 2}"
    assert session.state == {"Agent#0": {"tea": 2}}


async def test_memo_callback_and_ref_stay_the_same_over_renders() -> None:
    seen: list[tuple[Any, Any, Any]] = []
    made: list[int] = []

    @component
    def Agent() -> Any:
        depth, _ = use_knob("depth", 1)
        tone, _ = use_knob("tone", "a")

        def make() -> list[int]:
            made.append(depth)
            return [depth]

        box = use_ref(0)
        box.current += 1
        seen.append((use_memo(make, [depth]), use_callback(make, [depth]), box))
        return System(f"{tone} {box.current}")

    session = live(Agent)
    session.compile()
    session.knobs["tone"] = "b"
    assert str(session.compile().system) == "b 2"
    session.knobs["depth"] = 2
    session.compile()

    assert made == [1, 2]
    (memo, callback, box), same, other = seen
    assert same[0] is memo
    assert same[1] is callback
    assert other[0] is not memo
    assert other[1] is not callback
    assert same[2] is other[2] is box


async def test_state_set_from_an_effect_is_in_the_same_compile() -> None:
    @component
    def Agent() -> Any:
        depth, _ = use_knob("depth", 1)
        doubled, set_doubled = use_state(0)
        use_effect(lambda: set_doubled(depth * 2), [depth])
        return [System(f"{depth} {doubled}"), Timeline()]

    session = live(Agent)
    assert system((await session.send("a")).ticks[0]) == "1 2"
    session.knobs["depth"] = 5
    assert system((await session.send("b")).ticks[0]) == "5 10"


async def test_state_set_from_another_thread_is_in_the_very_next_compile() -> None:
    setters: list[Any] = []

    @component
    def Agent() -> Any:
        count, set_count = use_state(0)
        setters[:] = [set_count]
        return [System(f"count {count}"), Timeline()]

    session = live(Agent)
    await session.send("a")
    threads = [
        threading.Thread(target=lambda: [setters[0](lambda n: n + 1) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert system((await session.send("b")).ticks[0]) == "count 200"


async def test_state_set_after_unmounting_is_an_error_with_path_and_remedy() -> None:
    setters: list[Any] = []

    @component
    def Below() -> Any:
        _, set_value = use_state(0)
        setters[:] = [set_value]
        return Section("below")

    @component
    def Agent() -> Any:
        shown, _ = use_knob("shown", default=True)
        return [System("s"), shown and Below(), Timeline()]

    session = live(Agent)
    session.compile()
    session.knobs["shown"] = False
    session.compile()
    with pytest.raises(
        HookError, match=r"Agent/Below\.1 was unmounted before its hook 1 .* clean-up of an effect"
    ):
        setters[0](1)


async def test_a_tree_that_never_settles_names_who_keeps_changing() -> None:
    @component
    def Restless() -> Any:
        count, set_count = use_state(0)
        use_effect(lambda: set_count(count + 1))
        return System(f"{count}")

    @component
    def Agent() -> Any:
        return [Restless(), Timeline()]

    model = ScriptedModel("never")
    with pytest.raises(RenderError, match=r"did not settle in 25 rounds: .*Agent/Restless"):
        await App(Agent, model=model).session().send("hi")
    assert not model.contexts


# Knobs


@component
def Tuned() -> Any:
    use_knob("depth", 3, min=1, max=9, step=2)
    use_knob("share", 0.5, min=0, max=1)
    use_knob("tone", "warm", options=["warm", "cool"])
    use_knob("size", 1, options={"small": 1, "large": 10})
    use_knob("loud", default=False)
    use_knob("name", "Ann", max_length=5, pattern="[A-Z][a-z]*")
    use_knob("even", 2, validate=lambda n: n % 2 == 0)
    return [Knobs(), Timeline()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 0),
        ("depth", 11),
        ("depth", 4),
        ("depth", "3"),
        ("share", 1.5),
        ("share", float("nan")),
        ("tone", "hot"),
        ("size", 2),
        ("loud", "yes"),
        ("name", "Annabel"),
        ("name", "ann"),
        ("even", 3),
        ("dept", 3),
    ],
)
async def test_a_value_outside_the_spec_is_refused_whoever_sets_it(name: str, value: Any) -> None:
    session = live(Tuned, [call("set_knob", name=name, value=value)])
    with pytest.raises(KnobError, match=rf"'{name}'"):
        session.knobs[name] = value
    with pytest.raises(KnobError, match=rf"'{name}'"):
        session.knobs.set(name, value, by="user")
    with pytest.raises(KnobError, match=rf"'{name}'"):
        session.preview(**{name: value})
    before = session.knobs.values()

    result = await session.send("set it")

    (run,) = result.tool_calls
    assert run.result is not None
    assert run.result.is_error
    assert session.knobs.values() == before


async def test_several_knobs_are_set_together_or_not_at_all() -> None:
    session = live(Tuned)
    with pytest.raises(KnobError):
        session.knobs.set_many({"depth": 5, "tone": "hot"})
    assert session.knobs["depth"] == 3
    session.knobs.set_many({"depth": 5, "tone": "cool"}, by="user")
    assert (session.knobs["depth"], session.knobs["tone"]) == (5, "cool")
    assert {(one.name, one.by) for one in session.knobs.history} == {("depth", "user"), ("tone", "user")}


async def test_a_component_sets_its_own_knob_and_takes_a_function() -> None:
    @component
    def Agent() -> Any:
        depth, set_depth = use_knob("depth", 3, max=9)

        @tool
        def deeper() -> str:
            """Dig deeper."""
            set_depth(lambda value: value + 1)
            return "ok"

        return [System(f"depth {depth}"), deeper, Timeline()]

    session = live(Agent, [call("deeper")])
    result = await session.send("go")
    assert system(result.ticks[1]) == "depth 4"
    assert session.knobs["depth"] == 4


async def test_a_momentary_knob_goes_back_when_the_execution_ends() -> None:
    @component
    def Agent() -> Any:
        hurry, _ = use_knob("hurry", default=False, momentary=True)
        return [System(f"hurry {hurry}"), Timeline()]

    session = live(Agent)
    session.knobs["hurry"] = True
    assert system((await session.send("a")).ticks[0]) == "hurry True"
    assert session.knobs["hurry"] is False
    assert system((await session.send("b")).ticks[0]) == "hurry False"


async def test_after_a_crash_what_should_have_ended_with_the_execution_is_gone() -> None:
    hold = pause()

    @component
    def Agent() -> Any:
        hurry, _ = use_knob("hurry", default=False, momentary=True)
        return [System(f"hurry {hurry}"), Timeline(), Section("trailing", id="trailing")]

    store = MemoryStore()
    session = App(Agent, model=ScriptedModel([hold, "done"]), store=store).session("x")
    session.knobs["hurry"] = True
    execution = session.send("first")
    await hold.reached
    crashed = MemoryStore()
    crashed._sessions, crashed._texts = copy.deepcopy(store._sessions), dict(store._texts)
    hold.release()
    await execution

    again = App(Agent, model=ScriptedModel("ok"), store=crashed).session("x")
    assert not [address for address in again._core.state.current if address.startswith("sent:")]
    context = (await again.send("second")).ticks[0].context
    assert str(context.system) == "hurry False"
    assert [str(part) for part in context.flow] == ["first", "second", "trailing"]
    await again.aclose()
    assert App(Agent, store=crashed).session("x").knobs["hurry"] is False


async def test_constraints_that_change_between_renders_take_effect() -> None:
    @component
    def Agent() -> Any:
        wide, _ = use_knob("wide", default=False)
        depth, _ = use_knob("depth", 3, max=100 if wide else 5)
        return [System(f"depth {depth}"), Timeline()]

    session = live(Agent)
    with pytest.raises(KnobError, match="5"):
        session.knobs["depth"] = 50
    session.knobs["wide"] = True
    session.knobs["depth"] = 50
    assert str(session.compile().system) == "depth 50"
    session.knobs["wide"] = False
    assert str(session.compile().system) == "depth 3"


async def test_a_knobs_value_survives_unmounting() -> None:
    @component
    def Below() -> Any:
        depth, _ = use_knob("depth", 3)
        return System(f"depth {depth}")

    @component
    def Agent() -> Any:
        shown, _ = use_knob("shown", default=True)
        return [shown and Below(), Timeline()]

    session = live(Agent)
    session.knobs["depth"] = 7
    session.knobs["shown"] = False
    assert "depth" not in session.knobs
    session.knobs["shown"] = True
    assert str(session.compile().system) == "depth 7"


async def test_groups_and_descriptions_are_in_the_specs() -> None:
    @component
    def Agent() -> Any:
        use_knob("depth", 3, description="how deep", group="Search")
        return Timeline()

    spec = live(Agent).knobs.specs()["depth"]
    assert (spec.group, spec.description) == ("Search", "how deep")


# What surrounds the tree


async def test_the_session_is_at_hand() -> None:
    @component
    def Agent() -> Any:
        return [System(use_session().id), Timeline()]

    session = live(Agent)
    assert str(session.compile().system) == session.id


def test_without_a_session_that_is_said() -> None:
    @component
    def Agent() -> Any:
        use_session()

    with pytest.raises(HookError, match=r"Agent called use_session\(\), but this tree was mounted without"):
        render(Agent())


class Small(ScriptedModel):
    """A model of a small window."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(window=10_000)


async def test_usage_is_what_was_used_so_far_and_a_past_tick_compiles_with_what_it_saw() -> None:
    store = MemoryStore()

    @component
    def Agent() -> Any:
        usage = use_usage()
        share = None if usage.share is None else round(usage.share, 6)
        return [
            System(f"{usage.total_tokens} tokens, {usage.cost} USD, window {usage.window}, {share}"),
            Timeline(),
        ]

    model = Small("one", "two", "three")
    session = App(Agent, model=model, store=store).session("x")
    await session.send("a")
    await session.send("b")
    first, second = (system(tick) for tick in session.ticks)
    used = session.ticks[0].usage.total_tokens
    assert first.startswith("0 tokens")
    assert second.startswith(f"{used} tokens")
    assert "window None, None" in first
    assert f"window 10000, {session.ticks[0].context.tokens / 10_000}" in second
    assert session.usage.total_tokens == used + session.ticks[1].usage.total_tokens
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
    now = session.compile().hash
    await session.aclose()

    again = App(Agent, model=ScriptedModel("three"), store=store).session("x")
    assert again.compile().hash == now


# Misuse


def test_a_hook_outside_a_component_is_told() -> None:
    for hook in (
        lambda: use_state(0),
        lambda: use_knob("a", 1),
        use_session,
        use_timeline,
        use_usage,
        lambda: use_data("a", dict),
        lambda: use_on_mount(dict),
    ):
        with pytest.raises(HookError, match=r"(a hook|use_\w+) was called outside a component"):
            hook()


def test_a_hook_behind_an_if_is_told_with_the_path() -> None:
    @component
    def Agent() -> Any:
        deep, set_deep = use_state(False)
        setters[:] = [set_deep]
        if deep:
            use_knob("depth", 1)
        use_timeline()
        return System("s")

    setters: list[Any] = []
    mounted = render([Agent()])
    setters[0](True)
    with pytest.raises(HookError, match=r"Agent.*hook") as raised:
        _ = mounted.context
    assert "Agent" in raised.value.path


def test_siblings_of_one_key_are_told_with_the_key_and_the_path() -> None:
    @component
    def Item() -> Any:
        return System("s")

    @component
    def Agent() -> Any:
        return [Item(key="a"), Item(key="a")]

    with pytest.raises(RenderError, match=r"Agent.*'a'"):
        render(Agent())


@pytest.mark.parametrize("made", [(n for n in "ab"), object(), {"a": 1}, b"bytes", lambda: None])
def test_what_is_no_node_is_told_with_the_path(made: Any) -> None:
    @component
    def Below() -> Any:
        return made

    @component
    def Agent() -> Any:
        return [System("s"), Below()]

    with pytest.raises(RenderError, match=r"Agent/Below\.1"):
        render(Agent())


def test_a_knob_that_was_not_unpacked_says_so_in_the_text() -> None:
    @component
    def Guide() -> Any:
        tone = use_knob("tone", "kind")
        return System(f"You are {tone}.")

    said = str(App(Guide, model=ScriptedModel()).session().compile().system)
    assert said == "You are ('kind', <the setter of knob 'tone': value, set_value = use_knob(…)>)."


def test_an_app_that_is_spoken_to_says_to_open_a_session() -> None:
    app = App(Timeline(), model=ScriptedModel())
    with pytest.raises(AttributeError, match=r"an app has no 'send': .* app\.session\(\)\.send"):
        app.send("hello")  # type: ignore[attr-defined]  # as a newcomer does
    with pytest.raises(AttributeError, match="'App' object has no attribute 'sned'"):
        app.sned  # type: ignore[attr-defined]  # noqa: B018


async def test_a_tool_that_sets_what_append_returned_fails_with_how_to_write_it_and_loses_no_note() -> None:
    @component
    def Notepad() -> Any:
        notes, set_notes = use_state(["milk"])

        @tool
        def add_note(note: str) -> str:
            set_notes(notes.append(note))  # type: ignore[func-returns-value]  # the slip
            return "Noted."

        return [System(str(notes)), add_note, Timeline()]

    model = ScriptedModel(call("add_note", note="eggs"), "Sorry.")
    session = App(Notepad, model=model).session()
    await session.send("Eggs, too.")
    said = str(model.contexts[1].messages)
    assert "Notepad would lose its list" in said
    assert "set_value(lambda kept: [*kept, item])" in said
    assert "None" not in str(session.compile("And now?").system)
