from __future__ import annotations

import asyncio
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import pytest
from ipywidgets import Widget

from nbsession import App, Knobs, Section, Session, System, Timeline, component, use_knob
from nbsession.knobs import KnobSpec
from nbsession.notebook.panels.controls import control
from nbsession.notebook.panels.knobs import Panel, context_bundle
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _closed_widgets() -> Iterator[None]:
    yield
    Widget.close_all()


@component
def Agent() -> Any:
    tone, _ = use_knob(
        "tone", "friendly", options=["friendly", "terse"], description="how it speaks", group="Voice"
    )
    depth, _ = use_knob("depth", 3, min=0, max=10)
    cite, _ = use_knob("cite", True)
    name, _ = use_knob("name", "Ada", max_length=8)
    return [
        System(f"You are {name}, a {tone} assistant. Depth: {depth}."),
        cite and Section("Name your sources.", id="cite", title="Citations"),
        Knobs(),
        Timeline(),
    ]


def opened(*responses: Any, rate: int = 0) -> Session:
    return App(Agent, model=ScriptedModel(*(responses or ("Hello.",)), rate=rate)).session()


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (KnobSpec.of("k", 3, min=0, max=10), widgets.IntSlider),
        (KnobSpec.of("k", 0.5, min=0.0, max=1.0), widgets.FloatSlider),
        (KnobSpec.of("k", 3), widgets.IntText),
        (KnobSpec.of("k", 0.5, min=0.0), widgets.FloatText),
        (KnobSpec.of("k", True), widgets.Checkbox),
        (KnobSpec.of("k", "a", options=["a", "b"]), widgets.ToggleButtons),
        (KnobSpec.of("k", 1, options={f"number {n}": n for n in range(9)}), widgets.Dropdown),
        (KnobSpec.of("k", "text"), widgets.Text),
    ],
)
def test_the_control_follows_from_the_spec(spec: KnobSpec, kind: type[Widget]) -> None:
    made = control(spec, spec.default)
    assert type(made) is kind
    assert made.value == spec.default


@pytest.mark.parametrize("many", [False, True])
async def test_a_choice_of_one_and_true_moves_between_the_two_by_hand_and_by_program(many: bool) -> None:
    options: dict[str, Any] = {"one": 1, "yes": True, "zero": 0, "no": False}
    if many:
        options["a word"] = "so that it is a list"

    @component
    def Mixed() -> Any:
        value, _ = use_knob("value", True, options=options)
        return [System(f"It is {value!r}."), Timeline()]

    session = App(Mixed, model=ScriptedModel("Hello.")).session()
    panel = Panel(session)
    assert panel.controls["value"].label == "yes"
    for place, value in ((0, 1), (1, True), (3, False), (2, 0)):
        panel.controls["value"].index = place
        assert repr(session.knobs["value"]) == repr(value)
    session.knobs["value"] = False
    panel._catch_up()
    assert panel.controls["value"].label == "no"


async def test_moving_a_control_sets_the_knob_and_shows_what_that_changes() -> None:
    session = opened()
    panel = Panel(session)
    panel.controls["tone"].value = "terse"
    assert session.knobs["tone"] == "terse"
    seen = words(panel.preview)
    assert "tone : friendly → terse" in seen
    assert "tokens" in seen
    assert "2 parts changed" in seen
    assert re.search(r"prefix kept: ≈\d+ of ≈\d+ tokens", seen)
    assert "No model call was made." in seen
    assert "<b>terse</b>" in panel.preview
    assert not session.ticks
    assert session.app.model.contexts == []


async def test_unticking_a_section_shows_it_as_removed() -> None:
    panel = Panel(opened())
    panel.controls["cite"].value = False
    assert "removed" in words(panel.preview)
    assert "Name your sources." in words(panel.preview)


async def test_a_refused_value_is_explained_in_one_line_and_not_set() -> None:
    session = opened()
    panel = Panel(session)
    panel.controls["name"].value = "A name too long"
    assert session.knobs["name"] == "Ada"
    assert words(panel.preview).startswith("Refused: knob 'name' must be")


async def test_reset_brings_back_the_values_last_sent() -> None:
    session = opened()
    session.knobs["depth"] = 5
    await session.send("Hello.")
    panel = Panel(session)
    panel.controls["depth"].value = 9
    panel.controls["tone"].value = "terse"
    panel.reset.click()
    assert (session.knobs["depth"], session.knobs["tone"]) == (5, "friendly")
    assert (panel.controls["depth"].value, panel.controls["tone"].value) == (5, "friendly")
    assert "Nothing would change" in words(panel.preview)


async def test_values_set_elsewhere_move_the_control() -> None:
    session = opened(call("set_knob", name="depth", value=7), "Done.")
    panel = Panel(session)
    panel.follow()
    await session.send("Deeper.")
    await _until(lambda: panel.controls["depth"].value == 7, panel.controls["depth"])
    session.knobs["tone"] = "terse"
    await _until(lambda: panel.controls["tone"].value == "terse", panel.controls["tone"])
    assert [setting.by for setting in session.knobs.history] == ["model", "program"]
    panel.close()


async def test_while_an_execution_runs_a_change_waits_for_the_next_tick() -> None:
    session = opened("word " * 500, rate=100)
    panel = Panel(session)
    execution = session.send("Talk.")
    async for event in execution:
        if event.type == "text_delta":
            break
    panel.controls["tone"].value = "terse"
    assert "Takes effect at the next tick." in words(panel.preview)
    assert session.knobs["tone"] == "terse"
    panel.follow()
    execution.abort()
    await execution
    await _until(lambda: "Takes effect" not in panel.preview, panel._preview)
    assert "tone : friendly → terse" in words(panel.preview)
    panel.close()


async def test_only_the_latest_of_many_values_is_taken_up() -> None:
    session = opened()
    await session.send("Hello.")  # from now on there is a home loop, and it is this one
    panel = Panel(session)

    def drag() -> None:
        for value in (4, 5, 6, 7, 8):
            panel.controls["depth"].value = value

    await asyncio.to_thread(drag)
    await _until(lambda: "depth : 3 → 8" in words(panel.preview), panel._preview)
    assert session.knobs["depth"] == 8
    assert len(session.knobs.history) <= 5


async def test_a_control_moved_there_and_back_leaves_the_knob_where_it_stands() -> None:
    session = opened()
    await session.send("Hello.")
    panel = Panel(session)

    def drag() -> None:
        for value in (8, 3, 9, 3):
            panel.controls["depth"].value = value

    await asyncio.to_thread(drag)
    await asyncio.to_thread(session.knobs.values)  # after all that was posted to the loop before
    assert session.knobs["depth"] == panel.controls["depth"].value == 3


async def test_beside_each_knob_stands_who_set_it_last() -> None:
    session = opened(call("set_knob", name="depth", value=7), "Done.")
    panel = Panel(session)
    panel.follow()
    assert panel.setter("depth") == ""
    await session.send("Deeper.")
    await _until(lambda: panel.setter("depth") == "set by the model", panel._setters["depth"])
    session.knobs["depth"] = 2
    await _until(lambda: panel.setter("depth") == "set by the program", panel._setters["depth"])
    panel.controls["depth"].value = 4
    await _until(lambda: panel.setter("depth") == "set by you", panel._setters["depth"])
    _, static = panel.bundles()
    assert "depth = 4  (set by you)" in static["text/plain"]
    assert "depth 4 set by you" in words(static["text/html"])
    panel.close()


async def test_the_preview_tells_tokens_before_and_after_and_what_breaks_the_prefix() -> None:
    session = opened()
    panel = Panel(session)
    before = session.compile().tokens
    panel.controls["name"].value = "Ada B."
    after = session.compile().tokens
    seen = words(panel.preview)
    assert f"≈{before:,} → ≈{after:,} tokens ( +{after - before} )" in seen
    assert re.search(r"prefix kept: ≈\d+ of ≈\d+ tokens, broken by system · Agent/System", seen)


async def test_send_with_this_asks_what_stands_in_the_field() -> None:
    session = opened("Hello.", "Hi.")
    await session.send("Hello.")
    panel = Panel(session)
    panel.follow()
    panel.controls["tone"].value = "terse"
    panel.asking.field.value = "And now?"
    panel.asking.button.click()
    await _until(lambda: "Nothing would change" in words(panel.preview), panel._preview)
    assert [entry.text for entry in session.timeline] == ["Hello.", "Hello.", "And now?", "Hi."]
    assert "terse" in str(session.ticks[-1].context)
    assert panel.asking.field.value == ""
    panel.close()


async def test_send_with_this_asks_the_last_message_again_in_its_place() -> None:
    session = opened("At length.", "In short.")
    await session.send("Tell me.", metadata={"cell": "c1"})
    panel = Panel(session)
    panel.follow()
    panel.controls["tone"].value = "terse"
    panel.asking.button.click()
    await _until(lambda: "Nothing would change" in words(panel.preview), panel._preview)
    assert [entry.text for entry in session.timeline] == ["Tell me.", "In short."]
    assert session.timeline[0].metadata["cell"] == "c1"
    assert ["".join(map(str, tick.response)) for tick in session.ticks] == ["At length.", "In short."]
    panel.close()


async def test_send_with_this_says_where_there_is_nothing_to_ask_again() -> None:
    session = opened()
    panel = Panel(session)
    panel.asking.button.click()
    await _until(lambda: "Refused" in panel.preview, panel._preview)
    assert "has no message to ask again yet; write one" in words(panel.preview)
    assert not session.ticks


async def test_a_static_table_stands_for_the_controls_where_there_is_no_kernel() -> None:
    panel = Panel(opened())
    live, static = panel.bundles()
    assert "application/vnd.jupyter.widget-view+json" in live
    seen = words(static["text/html"])
    for text in ("tone friendly how it speaks (Voice)", "depth 3", "cite True"):
        assert text in seen
    assert "tone = 'friendly'" in static["text/plain"]


async def test_a_session_without_knobs_says_so() -> None:
    session = App(System("Hello."), model=ScriptedModel("x")).session()
    _, static = Panel(session).bundles()
    assert "no knobs" in words(static["text/html"])


async def test_a_context_is_shown_whole_with_its_difference() -> None:
    session = opened()
    older = session.compile()
    session.knobs["tone"] = "terse"
    bundle = context_bundle(session.compile(), older)
    seen = words(bundle["text/html"])
    assert "Compiled context" in seen
    assert "~2 changed" in seen
    assert "Name your sources." in seen
    assert "You are Ada, a terse assistant" in bundle["text/plain"]
    assert "What changed:" in bundle["text/plain"]
    assert "-You are Ada, a friendly assistant" in bundle["text/plain"]


async def _until(met: Callable[[], bool], watched: Widget) -> None:
    """Wait for changes of a widget's value until something holds."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    watched.observe(lambda _: loop.call_soon_threadsafe(changed.set), "value")
    while True:
        changed.clear()
        if met():
            return
        await changed.wait()
