"""The mounted tree as it is shown: what the author wrote, and what it holds."""

from __future__ import annotations

from typing import Any

from nbsession import (
    App,
    Collapsed,
    ErrorBoundary,
    Knobs,
    Section,
    System,
    Timeline,
    component,
    create_context,
    tool,
    use_context,
    use_data,
    use_effect,
    use_gate,
    use_knob,
    use_memo,
    use_on_tick_end,
    use_reducer,
    use_ref,
    use_state,
)
from nbsession.testing import ScriptedModel


@tool
def look(where: str) -> str:
    """Look around."""
    return where


def outline(root: Any) -> list[str]:
    return str(App(root, model=ScriptedModel("ok")).session().outline()).split("\n")


@component
def Note(text: str) -> Any:
    count, _ = use_state(0)
    return f"- {text} ({count})"


def test_components_show_their_keys_knobs_state_tools_and_the_beginning_of_their_text() -> None:
    @component
    def Agent() -> Any:
        tone, _ = use_knob("tone", "kind", options=["kind", "curt"])
        notes, _ = use_state(["milk"])
        use_reducer(lambda old, by: old + by, 1)
        return [
            System(f"You are {tone}.\n", "x" * 100),
            look,
            Section([Note(text=note, key=note) for note in notes], id="notes", title="Notes"),
            Timeline(),
        ]

    long = "You are kind. " + "x" * 45 + "…"
    assert outline(Agent) == [
        "Agent  knob tone = 'kind' · state notes = ['milk'] · reducer #2 = 1 · tool look",
        f"├─ System  “{long}”",
        "├─ Section[notes]",
        "│  └─ Note[milk]  state count = 0 · “- milk (0)”",
        "└─ Timeline  entries 0",
    ]


def test_a_gate_is_shown_with_how_it_stands_and_why() -> None:
    @component
    def Agent() -> Any:
        use_gate("tests", "Have they passed?")
        return Timeline()

    session = App(Agent, model=ScriptedModel()).session()
    (gate,) = session.gates
    for change, stands in ((gate.open_, "open"), (lambda: gate.close("passed"), "closed: passed")):
        change()
        assert f"gate tests = {stands}" in str(session.outline())


def test_what_our_own_components_are_made_of_is_left_out_and_what_was_given_to_them_stays() -> None:
    @component
    def Agent() -> Any:
        use_knob("tone", "kind")
        return [
            Collapsed("The rules", [Section(Note(text="inside"), id="rules")], name="rules"),
            ErrorBoundary(Note(text="tried"), fallback="failed"),
            Knobs(),
            Timeline(lambda entries: [Section("none so far", id="talk"), *entries]),
        ]

    assert outline(Agent) == [
        "Agent  knob tone = 'kind'",
        "├─ Collapsed",
        "│  └─ Section[rules]",
        "│     └─ Note  state count = 0 · “- inside (0)”",
        "├─ ErrorBoundary",
        "│  └─ Note  state count = 0 · “- tried (0)”",
        "├─ Knobs  tool set_knob",
        "└─ Timeline  entries 0",
        "   └─ Section[talk]  “none so far”",
    ]


async def test_data_is_shown_before_and_after_it_came() -> None:
    async def fetch() -> int:
        return 21

    @component
    def Weather() -> Any:
        return [System(str(use_data("degrees", fetch))), Timeline()]

    session = App(Weather, model=ScriptedModel("ok")).session()
    assert str(session.outline().places[0]) == "Weather  data degrees = not there yet"
    await session.send("Hi")
    assert str(session.outline().places[0]) == "Weather  data degrees = 21"
    assert session.outline().places[-1].facts[0].value == "2"


def test_an_outline_knows_properties_and_the_hooks_that_keep_no_state() -> None:
    shade = create_context("light", name="shade")

    @component
    def Panel(size: int, *children: Any) -> Any:
        area = use_memo(lambda: size * size, [size])
        seen = use_ref(0)
        use_effect(lambda: None, [])
        use_on_tick_end(lambda: None)
        return f"{area} {seen.current} {use_context(shade)}"

    @component
    def Agent() -> Any:
        return [System("Hi."), Panel(size=3)]

    agent, system, panel = App(Agent).session().outline().places
    assert [str(fact) for fact in panel.properties] == ["property size = 3"]
    assert [str(fact) for fact in panel.hooks] == [
        "memo area = 9",
        "ref seen = 0",
        "effect",
        "on_tick_end",
        "context 'light'",
    ]
    assert (agent.properties, agent.hooks) == ((), ())
    assert (system.properties, system.hooks) == ((), ())


def test_an_outline_says_which_components_are_the_authors() -> None:
    @component
    def Agent() -> Any:
        return [System("Hi."), Note(text="x")]

    read = App(Agent).session().outline()
    assert [(place.name, place.own) for place in read.places] == [
        ("Agent", True),
        ("System", False),
        ("Note", True),
    ]
    assert repr(read) == "<Outline: 3 components>"
