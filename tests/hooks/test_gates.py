"""``use_gate`` by itself: what it gives, refuses, and shows without a session."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import CompileError, HookError, System, component, tool, use_gate, use_state
from nbsession.hooks import Environment, Gate, Gates, StateLog, holding
from nbsession.knobs import Knobs
from nbsession.session import Mount
from nbsession.testing import render
from nbsession.timeline import Record


def test_a_gate_can_be_opened_and_closed_without_a_session() -> None:
    held: list[Gate] = []

    @component
    def Agent() -> Any:
        gate = use_gate("done", "Is it done?")
        held.append(gate)
        return System(f"{gate.name}: {gate.state}")

    mounted = render(Agent())
    assert mounted.context.system[0].text == "done: closed"
    held[-1].open_()
    mounted.rerender()
    assert mounted.context.system[0].text == "done: open"
    held[-1].close("by hand")
    mounted.rerender()
    assert mounted.context.system[0].text == "done: closed: by hand"
    assert held[-1] is held[0]


def test_a_gate_needs_a_name_and_a_text() -> None:
    @component
    def Agent(name: str, text: str) -> Any:
        use_gate(name, text)

    for name, text in (("", "text"), ("name", " ")):
        with pytest.raises(HookError, match="use_gate takes a name and a text for the model"):
            render(Agent(name, text))


def test_what_was_kept_goes_before_how_a_gate_begins() -> None:
    held: list[Gate] = []

    @component
    def Agent() -> Any:
        held.append(use_gate("done", "Is it done?", open=True))

    mount = Mount(Agent(), Environment(knobs=Knobs(), record=Record()), StateLog())
    mount.flush()
    assert held[0].open
    environment = Environment(
        knobs=Knobs(), record=Record(), gates=Gates({"gate:done": [False, False, "it is"]})
    )
    Mount(Agent(), environment, StateLog()).flush()
    assert (held[1].open, held[1].reason) == (False, "it is")


def test_a_gate_goes_with_its_component() -> None:
    @component
    def Gated() -> Any:
        use_gate("done", "Is it done?", open=True)

    @component
    def Agent() -> Any:
        shown, show = use_state(True)
        setters.append(show)
        return shown and Gated()

    setters: list[Any] = []
    mount = Mount(Agent(), Environment(knobs=Knobs(), record=Record()), StateLog())
    mount.flush()
    assert holding(mount.gates) == ["done"]
    setters[0](False)
    mount.flush()
    assert mount.gates == {}


def test_a_tool_of_the_tree_may_not_have_the_name_of_the_one_that_settles_gates() -> None:
    @tool
    def resolve_gate() -> str:
        """Mine."""
        return ""

    @component
    def Agent() -> Any:
        use_gate("done", "Is it done?", open=True)
        return [resolve_gate, System("Help.")]

    mount = Mount(Agent(), Environment(knobs=Knobs(), record=Record()), StateLog())
    mount.flush()
    mount.environment.gates.show(["done"])
    with pytest.raises(CompileError, match="two tools are named 'resolve_gate'"):
        mount.compile()
