"""What has to hold for any tree and any edits: contexts are those of a fresh mount, diffs add up, the past compiles."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import (
    XML,
    App,
    Assistant,
    Bold,
    BulletList,
    Collapsed,
    Knobs,
    Section,
    System,
    TaskList,
    Timeline,
    User,
    component,
    tool,
    use_data,
    use_effect,
    use_knob,
    use_session,
    use_state,
    use_usage,
)
from nbsession.hooks import Environment, StateLog
from nbsession.knobs import Knobs as Registry
from nbsession.session import Mount
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from nbsession.timeline import Record

if TYPE_CHECKING:
    from nbsession import CompiledContext
    from nbsession.context import ContextDiff, Part

Kind = Literal[
    "system", "section", "user", "assistant", "counter", "knob", "tool", "folded", "private", "list", "text",
    "none", "group", "xml",
]  # fmt: skip
KINDS: tuple[Kind, ...] = (
    "system", "section", "user", "assistant", "counter", "knob", "tool", "folded", "private", "list", "text",
    "none", "group", "xml",
)  # fmt: skip


class World:
    """A tree to be edited: the children of each group, and what was set in the components."""

    def __init__(self) -> None:
        self.children: dict[int, list[tuple[Kind, int]]] = {0: []}
        self.texts: dict[int, str] = {}
        self.counts: dict[int, int] = {}
        self.setters: dict[int, Any] = {}
        self.renderers: dict[int, Any] = {}
        self.last = 0

    def add(self, group: int, position: int, kind: Kind) -> None:
        self.last += 1
        self.texts[self.last] = f"text {self.last}"
        self.children[group].insert(position, (kind, self.last))
        if kind in {"group", "xml"}:
            self.children[self.last] = []
        if kind == "counter":
            self.counts[self.last] = 0
        self.render(group)

    def drop(self, group: int, position: int) -> None:
        gone = [self.children[group].pop(position)]
        while gone:
            _, number = gone.pop()
            self.counts.pop(number, None)
            gone += self.children.pop(number, [])
        self.render(group)

    def render(self, group: int) -> None:
        """Let a group render again, if it is mounted already."""
        if group in self.renderers:
            self.renderers[group]()

    def numbers(self, *kinds: Kind) -> list[int]:
        return [number for below in self.children.values() for kind, number in below if kind in kinds]


@component
def Counter(world: Any, number: int) -> Any:
    count, world.setters[number] = use_state(0)
    seen, set_seen = use_state(0)
    use_effect(lambda: set_seen(count), [count])
    return Section(f"{number} counted {count}, saw {seen}", id=f"counter{number}")


@component
def Tuned(number: int) -> Any:
    value, _ = use_knob(f"knob{number}", 0, min=0, max=9)
    return [System(f"knob {value}"), value > 5 and Tuned(number=number + 1000) if number < 1000 else None]


@component
def Acting(number: int) -> Any:
    @tool(name=f"tool{number}")
    def act() -> str:
        """Act."""
        return "done"

    return act


def built(world: World, kind: Kind, number: int) -> Any:
    """Return the node that stands for a child."""
    text, key = world.texts[number], f"k{number}"
    nodes: dict[Kind, Any] = {
        "system": System(text, key=key),
        "section": Section(text, Bold("b"), id=key, title=text),
        "user": User(text, key=key),
        "assistant": Assistant(text, key=key),
        "counter": Counter(world=world, number=number, key=key),
        "knob": Tuned(number=number, key=key),
        "tool": Acting(number=number, key=key),
        "folded": Collapsed(f"about {text}", Section(f"behind {number}"), name=key, key=key),
        "private": Section(text, id=key, audience="user"),
        "list": System(BulletList(text, [None, Bold(text)]), TaskList((text, True)), key=key),
        "text": text,
        "none": None,
        "group": Group(world=world, number=number, key=key),
        "xml": XML(Group(world=world, number=number), key=key),
    }
    return nodes[kind]


@component
def Group(world: Any, number: int) -> Any:
    _, render = use_state(0, persist=False)
    world.renderers[number] = lambda: render(lambda count: count + 1)
    return [built(world, kind, below) for kind, below in world.children[number]]


@component
def Whole(world: Any) -> Any:
    return [Group(world=world, number=0), Knobs()]


class Mounted:
    """A mount of a world, alone or with the state of another."""

    mount: Mount
    knobs: Registry
    environment: Environment

    def __init__(self, world: World, like: Mounted | None = None) -> None:
        state = StateLog()
        values: dict[str, Any] = {}
        if like is not None:
            state = like.mount.state.prefix(like.mount.state.version)
            values = like.knobs.values()
        self.knobs = Registry(on_set=lambda _: self.environment.knob_watchers.mark(), values=values)
        self.environment = Environment(knobs=self.knobs, record=Record())
        self.mount = Mount(Whole(world=world), self.environment, state)
        self.mount.flush()

    @property
    def context(self) -> CompiledContext:
        self.mount.flush()
        changes = self.mount.drain()
        assert not self.mount.refused
        self.mount.state.record(changes)
        return self.mount.compile().context


def seen(context: CompiledContext) -> Any:
    """Return all of a context that anybody can see."""
    parts = [(part.kind, part.path, part.key, part.text, part.tokens) for part in context.parts]
    return (
        context.hash, parts, context.tokens, set(context.withheld), [spec.name for spec in context.tools],
        [str(message) for message in context.messages],
    )  # fmt: skip


def edit(data: st.DataObject, world: World, mounted: Mounted) -> None:
    """Change something, somewhere, in some way."""
    groups = sorted(world.children)
    group = data.draw(st.sampled_from(groups), label="group")
    below = world.children[group]
    ways = ["add", "add", "add"] + (["drop", "shuffle", "shuffle", "text"] if below else [])
    counters = [number for number in world.numbers("counter") if number in world.setters]
    knobs, folded = list(mounted.knobs), world.numbers("folded")
    ways += ["count"] * bool(counters) + ["knob"] * bool(knobs) + ["expand"] * bool(folded)
    way = data.draw(st.sampled_from(ways), label="way")
    if way == "add":
        position = data.draw(st.integers(0, len(below)))
        world.add(group, position, data.draw(st.sampled_from(KINDS)))
    elif way == "drop":
        world.drop(group, data.draw(st.integers(0, len(below) - 1)))
    elif way == "shuffle":
        world.children[group] = data.draw(st.permutations(below))
        world.render(group)
    elif way == "text":
        _, number = data.draw(st.sampled_from(below))
        world.texts[number] = data.draw(st.sampled_from(["", "other", "a\nb", "ünï"]))
        world.render(group)
    elif way == "count":
        number = data.draw(st.sampled_from(counters))
        world.counts[number] += 1
        world.setters[number](lambda count: count + 1)
    elif way == "knob":
        mounted.knobs.set(data.draw(st.sampled_from(knobs)), data.draw(st.integers(0, 9)))
    else:
        name = f"k{data.draw(st.sampled_from(folded))}"
        for known, set_open in list(mounted.environment.collapsed.values()):
            if known == name:
                set_open(data.draw(st.booleans()))


def grown(data: st.DataObject, most: int) -> tuple[World, Mounted]:
    world = World()
    mounted = Mounted(world)
    for _ in range(data.draw(st.integers(0, most), label="edits")):
        edit(data, world, mounted)
        if data.draw(st.booleans()):
            mounted.mount.flush()
    mounted.mount.flush()
    return world, mounted


@settings(max_examples=60)
@given(st.data())
def test_after_any_edits_the_context_is_that_of_a_fresh_mount_with_the_same_state(
    data: st.DataObject,
) -> None:
    world, mounted = grown(data, 25)
    context = mounted.context

    assert seen(context) == seen(Mounted(world, like=mounted).context)
    text = str(context)
    for number, count in world.counts.items():
        assert f"{number} counted {count}, saw {count}" in text


@settings(max_examples=60)
@given(st.data())
def test_a_diff_is_empty_where_contexts_are_equal_and_adds_up_where_they_are_not(
    data: st.DataObject,
) -> None:
    world, mounted = grown(data, 12)
    older = mounted.context
    for _ in range(data.draw(st.integers(0, 5))):
        edit(data, world, mounted)
    newer = mounted.context
    diff = newer.diff(older)

    assert bool(diff) == (newer.hash != older.hash)
    assert diff.tokens == newer.tokens - older.tokens
    assert diff.prefix_tokens_kept <= min(older.tokens, newer.tokens)
    assert bool(str(diff)) == bool(diff)
    if diff:
        assert applied(older.parts, diff) == {part.identity: part.digest for part in newer.parts}
        still = [part.identity for part in newer.parts if part.identity in {p.identity for p in older.parts}]
        moved = {part.identity for part in diff.moved}
        before = [part.identity for part in older.parts if part.identity in set(still) - moved]
        assert before == [identity for identity in still if identity not in moved]


def applied(parts: tuple[Part, ...], diff: ContextDiff) -> dict[Any, str]:
    """Return what a diff makes of the parts before."""
    result = {part.identity: part.digest for part in parts}
    for part in diff.removed:
        del result[part.identity]
    for old, new in diff.changed:
        assert result[old.identity] == old.digest
        result[new.identity] = new.digest
    for part in diff.added:
        assert part.identity not in result
        result[part.identity] = part.digest
    return result


@settings(max_examples=60)
@given(st.data())
def test_a_preview_is_what_setting_the_knobs_gives_and_changes_nothing(data: st.DataObject) -> None:
    world, mounted = grown(data, 12)
    for _ in range(2):
        world.add(0, 0, "knob")
    before = seen(mounted.context)
    names = data.draw(st.lists(st.sampled_from(list(mounted.knobs)), unique=True, min_size=1))
    values = {name: data.draw(st.integers(0, 9)) for name in names}
    state, known = dict(mounted.mount.state.current), mounted.knobs.values()

    preview = mounted.mount.preview(values).context

    assert seen(mounted.context) == before
    assert (mounted.mount.state.current, mounted.knobs.values()) == (state, known)
    mounted.knobs.set_many(values)
    mounted.mount.render()
    assert seen(preview) == seen(mounted.mount.compile().context)


# Sessions


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "warm", options=["warm", "cool"])
    deep, _ = use_knob("deep", default=False, momentary=True)
    empty: list[str] = []
    notes, set_notes = use_state(empty)
    usage = use_usage()
    place = use_data("place", lambda: f"data for {len(notes)}", [len(notes)])

    @tool
    def add_note(note: str) -> str:
        """Note."""
        set_notes(lambda kept: [*kept, note])
        return "noted"

    return [
        System(f"{tone} {deep} {place} {usage.total_tokens} {bool(use_session().id)}"),
        add_note,
        Section(*[Collapsed(f"note {n}", note, name=f"n{n}") for n, note in enumerate(notes)], id="notes"),
        Knobs(),
        Timeline(limit=7),
        Section(f"{len(notes)} notes", id="count"),
        tone == "cool" and Section("be cool", id="cool"),
    ]


TURNS = st.sampled_from(
    [
        "text",
        [call("add_note", note="tea")],
        [call("set_knob", name="tone", value="cool")],
        [call("set_knob", name="deep", value=True), call("add_note", note="x")],
        [call("expand", name="n0")],
    ]
)
STEPS = st.lists(
    st.one_of(
        st.lists(TURNS, max_size=4).map(lambda turns: ("send", turns)),
        st.sampled_from(["warm", "cool"]).map(lambda tone: ("knob", tone)),
        st.just(("restart", None)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30)
@given(STEPS)
def test_a_session_restored_and_one_forked_before_a_tick_compile_to_that_moments_hash(
    steps: list[tuple[str, Any]],
) -> None:
    asyncio.run(live_through(steps))


async def live_through(steps: list[tuple[str, Any]]) -> None:
    store = MemoryStore()
    answers: list[Any] = []
    model = ScriptedModel(*[lambda _: answers.pop(0) if answers else "done"] * 60)
    session = App(Agent, model=model, store=store).session("x")
    hashes: list[str] = []
    for step, given_ in steps:
        if step == "send":
            answers[:] = [*[turn for turn in given_ if turn != "text"], "text"]
            hashes += [tick.context.hash for tick in (await session.send("go")).ticks]
        elif step == "knob":
            session.knobs["tone"] = given_
        else:
            await session.aclose()
            session = App(Agent, model=model, store=store).session("x")
    assert [context.hash for context in model.contexts] == hashes

    now = session.compile()
    await session.aclose()
    restored = App(Agent, store=store).session("x")

    assert restored.compile().hash == now.hash
    assert not restored.verify()
    for number, known in enumerate(hashes):
        fork = restored.fork(at=number, before=True)
        assert fork.compile().hash == known
        assert restored.ticks[number].context.hash == known
    assert restored.compile().hash == now.hash
