"""What has to hold for any tree with a budget: never over it, more with more, and the same for the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import (
    App,
    CompileError,
    Cut,
    First,
    Fit,
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
from nbsession.content import Entry, Text, ToolCall, ToolResult
from nbsession.hooks import Environment, StateLog
from nbsession.knobs import Knobs as Registry
from nbsession.session import Mount
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from nbsession.timeline import Record

if TYPE_CHECKING:
    from nbsession import CompiledContext

Plan: TypeAlias = tuple[str, Any]
"""A kind of node, and what it is made of."""

LINES = st.integers(1, 30)
LEAVES = st.one_of(st.tuples(st.just("section"), LINES), st.tuples(st.just("text"), LINES))
WHOLES = st.recursive(
    LEAVES, lambda inner: st.tuples(st.just("whole"), st.lists(inner, max_size=3)), max_leaves=6
)
CUTS = st.tuples(st.just("cut"), st.tuples(st.sampled_from(["head", "tail", "both"]), LINES))
FIRSTS = st.tuples(st.just("first"), st.lists(WHOLES, min_size=1, max_size=3))
RIGID = st.recursive(
    WHOLES,
    lambda inner: st.one_of(
        st.tuples(st.just("priority"), st.tuples(st.integers(-3, 3), st.lists(inner, max_size=4))),
        st.tuples(st.just("fit"), st.tuples(st.integers(50, 900), st.lists(inner, max_size=3))),
    ),
    max_leaves=14,
)
PLANS = st.recursive(
    st.one_of(RIGID, CUTS, FIRSTS),
    lambda inner: st.one_of(
        st.tuples(st.just("priority"), st.tuples(st.integers(-3, 3), st.lists(inner, max_size=4))),
        st.tuples(st.just("fit"), st.tuples(st.integers(50, 900), st.lists(inner, max_size=3))),
    ),
    max_leaves=14,
)
TALKS = st.lists(st.tuples(LINES, st.integers(0, 3)), max_size=6)
"""Of each exchange the length of its messages, and how many tools were called."""


def text(lines: int, at: str) -> str:
    return "".join(f"{at} {number:02d} {'.' * 20}\n" for number in range(lines))


def node(plan: Plan, at: str = "t") -> Any:
    """Build a tree; the texts say where they stand."""
    kind, made = plan
    if kind == "text":
        return text(made, at)
    if kind == "section":
        return Section(text(made, at), title=at, id=at)
    if kind == "cut":
        return Cut(Section(text(made[1], at), title=at, id=at), keep=made[0], key=at)
    inner = made[1] if kind in {"priority", "fit"} else made
    children = [node(child, f"{at}{number}") for number, child in enumerate(inner)]
    if kind == "priority":
        return Priority(made[0], *children, key=at)
    if kind == "fit":
        return Fit(*children, max_tokens=made[0], key=at)
    return (First if kind == "first" else Whole)(*children, key=at)


def entries(talk: list[tuple[int, int]]) -> list[Entry]:
    made: list[Entry] = []

    def say(role: Any, *content: Any) -> None:
        made.append(Entry(f"e{len(made)}", made[-1].id if made else None, role, content))

    for number, (lines, calls) in enumerate(talk):
        say("user", Text(text(lines, f"question {number}")))
        for at in range(calls):
            say("assistant", ToolCall(f"c{number}.{at}", "search", {"at": at}))
            say("tool", ToolResult(f"c{number}.{at}", "search", (Text(text(lines, "result")),)))
        say("assistant", Text(text(lines, f"answer {number}")))
    return made


def compiled(plan: Plan, talk: list[tuple[int, int]], budget: int) -> CompiledContext | None:
    """Compile the tree and the conversation within a budget; ``None`` where what has to stay is too much."""
    record = Record()
    for entry in entries(talk):
        record.append(entry)
    mount = Mount(
        Fit(System("Be kind."), node(plan), Timeline(), max_tokens=budget),
        Environment(knobs=Registry(), record=record),
        StateLog(),
    )
    mount.flush()
    try:
        return mount.compile().context
    except CompileError:
        return None


def sent(context: CompiledContext) -> set[tuple[str, str]]:
    return {(part.path, part.key) for part in context.parts}


def check_pairs(context: CompiledContext) -> None:
    waiting: list[str] = []
    for part in context.parts:
        if part.kind == "message":
            assert [block.call_id for block in part.blocks if isinstance(block, ToolResult)] == waiting
            waiting = [block.id for block in part.blocks if isinstance(block, ToolCall)]
    assert not waiting


@given(PLANS, TALKS, st.integers(10, 3000))
@settings(max_examples=150, deadline=None)
def test_a_context_is_never_over_its_budget_and_no_call_is_without_its_result(
    plan: Plan, talk: list[tuple[int, int]], budget: int
) -> None:
    context = compiled(plan, talk, budget)
    if context is None:
        return
    assert context.tokens <= budget
    assert context.tokens == sum(part.tokens for part in context.parts)
    check_pairs(context)
    if talk:
        assert context.messages[-1].content == (Text(text(talk[-1][0], f"answer {len(talk) - 1}")),)


@given(RIGID, TALKS, st.integers(10, 3000), st.integers(0, 500))
@settings(max_examples=150, deadline=None)
def test_a_larger_budget_never_drops_what_a_smaller_one_kept(
    plan: Plan, talk: list[tuple[int, int]], budget: int, more: int
) -> None:
    smaller, larger = compiled(plan, talk, budget), compiled(plan, talk, budget + more)
    if smaller is not None:
        assert larger is not None
        assert sent(smaller) <= sent(larger)


@given(PLANS, TALKS, st.integers(10, 3000))
@settings(max_examples=60, deadline=None)
def test_equal_trees_make_equal_contexts(plan: Plan, talk: list[tuple[int, int]], budget: int) -> None:
    one, other = compiled(plan, talk, budget), compiled(plan, talk, budget)
    assert one == other
    assert one is None or (other is not None and one.withheld == other.withheld)


@given(PLANS, TALKS)
@settings(max_examples=60, deadline=None)
def test_where_there_is_room_for_all_the_budget_changes_nothing(
    plan: Plan, talk: list[tuple[int, int]]
) -> None:
    def without(at: Plan) -> Plan:
        kind, made = at
        if kind in {"text", "section", "cut"}:
            return at
        inner = [without(child) for child in (made[1] if kind in {"priority", "fit"} else made)]
        return (kind, inner) if kind in {"first", "whole"} else ("priority", (0, inner))

    plain = without(plan)
    context = compiled(plain, talk, 1_000_000)
    assert context is not None
    assert not context.withheld
    assert len([part for part in context.parts if part.kind == "message"]) == len(entries(talk))


@tool
def look(lines: int) -> str:
    """Look."""
    return text(lines, "found")


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "noise", "budget", "extra"]), st.integers(0, 30)),
    min_size=1,
    max_size=12,
)


@given(PLANS, STEPS)
@settings(max_examples=40, deadline=None)
def test_every_tick_compiles_to_its_hash_again_and_so_does_a_session_that_is_opened_again(
    plan: Plan, steps: list[tuple[str, int]]
) -> None:
    @component
    def Root() -> Any:
        budget, _ = use_knob("budget", 600, min=1)
        extra, _ = use_knob("extra", 0)
        noise, _ = use_knob("noise", 0)
        return [
            Fit(System(f"Be kind. {noise:02d}"), look, node(plan), Timeline(), max_tokens=budget),
            extra and Section(text(extra, "extra"), id="extra"),
        ]

    async def live() -> None:
        answers: list[Any] = []
        for number, (_, size) in enumerate(steps):
            answers += [[call("look", lines=size)], text(size, f"answer {number}")]
        store = MemoryStore()
        model = ScriptedModel(*answers, window=2000)
        app = App(Root, model=model, store=store)
        session = app.session("a")
        for step, size in steps:
            if step == "noise":
                session.knobs["noise"] = size
            elif step == "extra":
                session.knobs["extra"] = size
            elif step == "budget":
                session.knobs["budget"] = 300 + 20 * size
            else:
                try:
                    await session.send(text(size + 1, "question"))
                except CompileError:
                    return
        for tick in session.ticks:
            check_pairs(tick.context)
            again = session.fork(at=tick.number, before=True).compile()
            assert again.hash == tick.context.hash
        try:
            now = session.compile()
        except CompileError:
            return
        session.close()
        opened = App(Root, model=model, store=store).session("a")
        assert opened.compile().hash == now.hash
        for tick in opened.ticks:
            assert opened.fork(at=tick.number, before=True).compile().hash == tick.context.hash

    asyncio.run(live())


def limits(plan: Plan, at: str = "t") -> dict[str, int]:
    """Return the budgets of the fits in a tree, by the names of their places."""
    kind, made = plan
    if kind in {"text", "section", "cut"}:
        return {}
    found = {f"Fit[{at}]": made[0]} if kind == "fit" else {}
    for number, child in enumerate(made[1] if kind in {"priority", "fit"} else made):
        found |= limits(child, f"{at}{number}")
    return found


def check_budgets(context: CompiledContext, budgets: dict[str, int], around_timeline: str) -> None:
    """No fit is over its budget, and nothing that is sent is said to be left out."""
    for place, budget in budgets.items():
        inside = [part for part in context.parts if place in part.path.split("/")]
        if place == around_timeline:
            inside += [part for part in context.parts if part.path == "timeline"]
        assert sum(part.tokens for part in inside) <= budget
    shown = [part.text for part in context.parts]
    for item in context.withheld:
        assert item.reason in {"budget", "outdated"}
        assert item.text not in shown


@given(PLANS, st.lists(st.tuples(LINES, st.booleans()), min_size=1, max_size=7), st.integers(100, 1500))
@settings(max_examples=60, deadline=None)
def test_whatever_stands_behind_the_timeline_no_tick_is_over_a_budget(
    plan: Plan, steps: list[tuple[int, bool]], budget: int
) -> None:
    @component
    def Root() -> Any:
        seen, set_seen = use_state(0)

        @tool
        def read(lines: int, new: bool) -> str:
            """Read."""
            if new:
                set_seen(lines)
            return text(lines, "read")

        return Fit(
            System("Be kind."),
            read,
            Fit(Timeline(), Section(text(seen, "seen"), id="seen"), max_tokens=budget, key="inner"),
            node(plan),
            max_tokens=budget + 300,
            key="outer",
        )

    async def live() -> None:
        calls = [[call("read", lines=lines, new=new)] for lines, new in steps]
        session = App(Root, model=ScriptedModel(*calls, "Done.", "More.")).session()
        for message in ("Read.", "And?"):
            try:
                await session.send(message)
            except CompileError:
                break
        for tick in session.ticks:
            assert tick.context.tokens <= budget + 300
            check_budgets(tick.context, {**limits(plan), "Fit[inner]": budget}, "Fit[inner]")
            check_pairs(tick.context)
            assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash

    asyncio.run(live())


@given(RIGID, TALKS, st.integers(200, 1500))
@settings(max_examples=60, deadline=None)
def test_a_change_that_takes_no_more_room_moves_nothing(
    plan: Plan, talk: list[tuple[int, int]], budget: int
) -> None:
    record = Record()
    for entry in entries(talk):
        record.append(entry)
    mount = Mount(
        Fit(System("One way."), node(plan), Timeline(), max_tokens=budget),
        Environment(knobs=Registry(), record=record),
        StateLog(),
    )
    mount.flush()
    try:
        before = mount.compile().context
    except CompileError:
        return
    mount.root.update(Fit(System("Another."), node(plan), Timeline(), max_tokens=budget))
    mount.flush()
    after = mount.compile().context
    assert [part.text for part in after.parts[1:]] == [part.text for part in before.parts[1:]]


def test_boxes_may_stand_in_one_another_deeper_than_the_stack_of_python() -> None:
    tree: Any = Section("deep", id="deep")
    for _ in range(3000):
        tree = Priority(1, Fit(tree))
    mount = Mount(Fit(tree, max_tokens=10), Environment(knobs=Registry(), record=Record()), StateLog())
    mount.flush()
    assert mount.compile().context.system.text == "deep"
    assert not mount.compile().context.withheld
