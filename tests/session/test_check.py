"""What is doubtful about a context is said before anything is sent."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from nbsession import (
    App,
    Collapsed,
    Fit,
    Image,
    Priority,
    Section,
    Session,
    System,
    Timeline,
    User,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.context import Capabilities
from nbsession.testing import ScriptedModel

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe\xa75\x81\x84\x00\x00\x00\x00IEND\xaeB`\x82"
)


def session_of(*nodes: Any, model: Any = None) -> Session:
    @component
    def Agent() -> Any:
        return list(nodes)

    return App(Agent, model=model or ScriptedModel("Yes.")).session("s")


def whats(session: Session) -> list[tuple[str, str, str]]:
    return [(found.severity, found.what, found.path) for found in session.check()]


class TextOnly(ScriptedModel):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(tools=False, images=False)


@tool
def search(query: str) -> str:
    """Search the library.

    Args:
        query: What to look for.
    """
    return query


def test_nothing_is_doubtful_about_a_sound_tree() -> None:
    shown = Section("Only for you.", id="hint", audience="user")
    session = session_of(
        System("You are kind."), shown, search, Collapsed("More", "of it", name="more"), Timeline()
    )
    assert session.check() == []
    assert str(session.check()) == "nothing doubtful was found"


async def test_a_check_changes_nothing_and_calls_no_model() -> None:
    model = ScriptedModel("Yes.")
    session = session_of(System("You are kind."), Timeline(), model=model)
    session.check()
    assert model.contexts == []
    assert session.timeline.all() == ()
    await session.send("Hi")
    before = session.compile().hash
    assert session.check() == []
    assert session.compile().hash == before


def test_a_tree_without_a_timeline_is_an_error() -> None:
    assert whats(session_of(System("You are kind."))) == [("error", "no-timeline", "")]


def test_a_tree_that_does_not_render_or_compile_is_an_error_with_its_path() -> None:
    @component
    def Broken() -> Any:
        raise ValueError("no data")

    assert whats(session_of(Broken(), Timeline())) == [("error", "fails", "Agent/Broken.0")]
    twice = session_of(Section("a", id="x"), [Section("b", id="x")], Timeline())
    assert [found.what for found in twice.check()] == ["fails"]


def test_a_tool_that_does_not_say_what_it_does_is_named_with_its_parameters() -> None:
    @tool
    def look(where: str, how: int) -> str:
        return where

    found = session_of(look, Timeline()).check()
    assert [(each.severity, each.what, each.path) for each in found] == [
        ("warning", "undescribed-tool", "Agent"),
        ("note", "undescribed-parameter", "Agent"),
    ]
    assert "where, how are" in found[1].message


def test_a_parameter_without_a_type_is_named() -> None:
    @tool
    def look(where, how: int = 1):  # type: ignore[no-untyped-def]
        """Look.

        Args:
            where: The place.
            how: How often.
        """
        return where

    found = session_of(look, Timeline()).check()
    assert [str(each) for each in found] == [
        "note: the tool look takes anything as where; say its type, as in where: str"
    ]


def test_a_tool_that_only_the_user_calls_needs_no_description() -> None:
    @tool(audience="user")
    def look(where: str) -> str:
        return where

    assert session_of(look, Timeline()).check() == []


def test_a_knob_or_state_that_was_not_unpacked_is_named() -> None:
    @component
    def Agent() -> Any:
        tone = use_knob("tone", "friendly", options=["friendly", "terse"])
        notes = use_state(["tea"])
        return [System(f"Be {tone}."), Section(str(notes), id="notes"), Timeline()]

    found = App(Agent, model=ScriptedModel("Yes.")).session().check()
    assert [(each.what, each.path) for each in found] == [
        ("not-unpacked", "Agent/System.0"),
        ("not-unpacked", "Agent/Section[notes]"),
    ]
    assert "value, set_value = use_…(…)" in str(found)


def test_a_text_that_is_said_twice_names_both_places() -> None:
    rules = "Be brief, be kind, and never tell anybody what the time is."
    found = session_of(System(rules), Section(rules, title="Rules"), Timeline()).check()
    assert [(each.what, each.path) for each in found] == [("sent-twice", "Agent/Section.1")]
    assert "Agent/System.0" in found[0].message
    assert session_of(System("Hello."), Section("Hello."), Timeline()).check() == []


def test_an_empty_section_and_a_component_that_does_nothing_are_noted() -> None:
    @component
    def Idle() -> Any:
        return None

    @component
    def Waiting() -> Any:
        ready, _ = use_state(False)
        return ready and Section("Ready.")

    session = session_of(Section("", id="a"), Idle(), Waiting(), Timeline())
    assert whats(session) == [("note", "empty", "Agent/Section[a]"), ("note", "empty", "Agent/Idle.1")]


@component
def Clock() -> Any:
    return Section(f"It is {next(ticking)}.", id="now")


ticking = itertools.count()


def test_a_clock_before_the_conversation_is_named_with_what_it_costs() -> None:
    found = session_of(Clock(), System("x" * 400), Timeline()).check()
    assert [(each.severity, each.what, each.path) for each in found] == [
        ("warning", "restless-prefix", "Agent/Clock.0/Section[now]")
    ]
    assert "each time Clock renders" in found[0].message
    assert "≈102 tokens are read anew" in found[0].message or "≈103 tokens" in found[0].message


def test_a_clock_behind_the_conversation_is_a_note() -> None:
    session = session_of(System("You are kind."), User("Hello."), Timeline(), Clock())
    assert whats(session) == [("note", "restless", "Agent/Clock.3/Section[now]")]


def test_a_clock_that_is_kept_is_sound() -> None:
    @component
    def Kept() -> Any:
        began, _ = use_state(lambda: next(ticking))
        return Section(f"Since {began}.")

    assert session_of(Kept(), Timeline()).check() == []


async def test_a_knob_that_no_component_reads_any_more_is_noted() -> None:
    @component
    def Tuned() -> Any:
        use_knob("depth", 3)
        return None

    @component
    def Agent() -> Any:
        deep, _ = use_knob("deep", True)
        return [deep and Tuned(), Timeline()]

    session = App(Agent, model=ScriptedModel("Yes.")).session("s")
    session.knobs["depth"] = 5
    session.knobs["deep"] = False
    assert whats(session) == [("note", "unread-knob", "")]
    assert "'depth' is set to 5" in session.check()[0].message
    session.knobs.reset()
    session.knobs["deep"] = False
    assert session.check() == []


@pytest.mark.parametrize(
    ("window", "found"), [(1000, []), (110, ["near-window"]), (90, ["over-window"]), (None, [])]
)
def test_a_context_near_or_over_the_window_names_what_takes_most(
    window: int | None, found: list[str]
) -> None:
    model = ScriptedModel("Yes.", window=window)
    checked = session_of(System("x" * 400), Timeline(), model=model).check()
    assert [each.what for each in checked] == found
    assert all("Agent/System.0" in each.message for each in checked)


def test_what_the_model_does_not_take_is_an_error() -> None:
    hidden = Collapsed("More", "of it", name="more")
    session = session_of(hidden, search, User(Image(PNG)), Timeline(), model=TextOnly("Yes."))
    assert [(severity, what) for severity, what, _ in whats(session)] == [
        ("error", "no-tools"),
        ("error", "no-images"),
        ("warning", "never-expanded"),
    ]


def test_what_there_is_no_room_for_is_named() -> None:
    small = Fit(Priority(1, Section("x" * 400)), Section("y" * 400), max_tokens=150)
    found = session_of(small, Timeline()).check()
    assert [each.what for each in found] == ["no-room"]
