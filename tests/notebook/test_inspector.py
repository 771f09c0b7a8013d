from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from nbsession import (
    App,
    ModelError,
    Section,
    Session,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_gate,
    use_knob,
    use_state,
)
from nbsession.notebook.panels.ahead import Ahead
from nbsession.notebook.panels.inspection import RECENT, moment
from nbsession.notebook.panels.inspector import Inspector
from nbsession.testing import ScriptedModel, call
from tests.support.work import until


@component
def Notepad() -> Any:
    notes, set_notes = use_state(list[str]())

    @tool
    def add_note(note: str) -> str:
        """Keep a note for later."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    return [
        System("You keep notes."),
        add_note,
        notes and Section("\n".join(f"- {note}" for note in notes), id="notes", title="Notes"),
        Timeline(),
    ]


async def noted(*messages: str) -> Session:
    """Return a session with two ticks for each message: a note, and an answer."""
    turns = [turn for n, _ in enumerate(messages) for turn in (call("add_note", note=f"n{n}"), f"Kept {n}.")]
    session = App(Notepad, model=ScriptedModel(*turns)).session("pad")
    for message in messages:
        await session.send(message)
    return session


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


async def test_it_opens_at_the_last_tick_with_its_context_components_tools_and_answer() -> None:
    panel = Inspector(await noted("Milk, please."))
    seen = words(panel.html())
    assert "Session pad · 2 ticks" in seen
    assert panel.shown is not None
    assert panel.shown.tick is not None
    assert panel.shown.tick.number == 1
    assert "Milk, please." in seen
    assert "Kept 0." in seen
    assert "Notepad" in seen
    assert 'aria-valuetext="tick 1, ≈' in panel.html()


async def test_a_step_brings_context_components_tools_and_answer_of_that_tick() -> None:
    panel = Inspector(await noted("Milk, please.", "Bread, too."))
    panel.hear({"k": "go", "tick": 0})
    seen = words(panel.html())
    assert panel.shown is not None
    assert panel.shown.tick is not None
    assert panel.shown.tick.number == 0
    assert 'add_note(note="n0") → Noted.' in seen
    assert "Bread" not in seen
    assert "state notes = []" in seen
    panel.hear({"k": "go", "tick": 3})
    seen = words(panel.html())
    assert "Kept 1." in seen
    assert "state notes = ['n0', 'n1']" in seen


async def test_a_step_beyond_the_ends_stays_at_the_end() -> None:
    panel = Inspector(await noted("Milk."))
    for asked, there in ((99, 2), (-5, 0), ("x", 2)):
        panel.hear({"k": "go", "tick": asked})
        assert panel.marks[0] == there


async def test_after_the_last_tick_stands_what_would_be_sent_now_beside_what_was_and_nothing_is_sent() -> (
    None
):
    session = await noted("Milk, please.")
    panel = Inspector(session)
    panel.hear({"k": "go", "tick": 2})
    assert panel.shown is not None
    assert panel.shown.context.hash == session.compile().hash
    assert panel.answer()["name"] == "Now"
    seen = words(panel.html())
    assert "Would be sent ≈" in seen
    assert "since tick 1; the prefix is kept" in seen
    assert "Kept 0." in seen
    assert "state notes = ['n0']" in seen
    assert "what would be sent now" in words(panel.static()["text/html"])
    assert len(session.ticks) == 2


async def test_what_would_be_sent_now_follows_a_gate_that_is_opened_and_closed() -> None:
    @component
    def Agent() -> Any:
        gate = use_gate("tests", "Have they passed?")
        return [System("The tests are due." if gate.open else "Nothing is due."), Timeline()]

    session = App(Agent, model=ScriptedModel("Yes.")).session()
    await session.send("Hi")
    panel = Inspector(session)
    panel.display()
    panel.hear({"k": "go", "tick": 1})

    async def shows(said: str, gate: str) -> None:
        await until(lambda: panel.shown is not None and said in str(panel.shown.context))
        assert gate in words(panel.html())

    await shows("Nothing is due.", "gate tests = closed")
    (gate,) = session.gates
    gate.open_()
    await shows("The tests are due.", "gate tests = open")
    gate.close("passed")
    await shows("Nothing is due.", "gate tests = closed: passed")
    panel.close()


async def test_what_would_be_sent_now_follows_a_knob_and_a_component_that_is_left_out() -> None:
    @component
    def Agent() -> Any:
        tone, _ = use_knob("tone", "kind", options=["kind", "curt"])
        return [System(f"Be {tone}."), Section("Prefer trains.", id="rules"), Timeline()]

    session = App(Agent, model=ScriptedModel("Yes.")).session()
    await session.send("Hi")
    panel = Inspector(session)
    panel.hear({"k": "go", "tick": 1})
    assert "Be kind." in words(panel.html())
    session.knobs["tone"] = "curt"
    panel.take_up()
    assert "Be curt." in words(panel.html())
    (path,) = (
        [share.place.path for share in panel.shown.tree if share.place.name == "Section"]
        if panel.shown
        else [""]
    )
    panel.hear({"k": "leave", "path": path, "out": True})
    assert "1 removed against what would be sent" in words(panel.html())
    assert "Run without it" not in words(panel.html())


async def test_who_looks_at_what_would_be_sent_stays_there_when_a_tick_comes() -> None:
    session = await noted("Milk.")
    panel = Inspector(session)
    panel.hear({"k": "go", "tick": 2})
    session.model = ScriptedModel("More.")
    await session.send("Again")
    panel.take_up()
    assert panel.marks == (3, 2)
    assert panel.answer()["name"] == "Now"


async def test_every_tick_is_a_bar_to_the_scale_of_the_largest() -> None:
    panel = Inspector(await noted("Milk.", "Bread."))
    html = panel.html()
    assert html.count("background:linear-gradient") == 4
    assert 'title="What would be sent now"' in html
    assert "height:100.0%" in html
    assert re.search(r'title="Tick 0: tools ≈\d+, system ≈\d+, messages ≈\d+, answer ≈\d+"', html)


async def test_a_session_without_ticks_says_so_and_shows_the_first_when_it_comes() -> None:
    session = App(Notepad, model=ScriptedModel("Hello.")).session()
    panel = Inspector(session)
    assert "No ticks yet" in words(panel.html())
    await session.send("Hi")
    panel.take_up()
    assert "Hello." in words(panel.html())


async def test_who_looks_at_the_last_tick_sees_the_new_one_and_who_looks_back_stays() -> None:
    session = await noted("Milk.")
    following, looking_back = Inspector(session), Inspector(session)
    looking_back.hear({"k": "go", "tick": 0})
    session.model = ScriptedModel("More.")
    await session.send("Again")
    for panel in (following, looking_back):
        panel.take_up()
    assert (following.marks[0], looking_back.marks[0]) == (2, 0)
    assert len(looking_back.bars) == 3


async def test_early_messages_are_one_row_until_they_are_asked_for() -> None:
    panel = Inspector(await noted(*(f"Message {n}." for n in range(9))))
    shown = words(panel.html())
    assert re.search(r"\d+ earlier messages", shown)
    assert "Message 0." not in shown
    assert "Show all messages" in shown
    panel.hear({"k": "whole"})
    assert "Message 0." in words(panel.html())
    panel.hear({"k": "go", "tick": 16})
    assert "Message 0." not in words(panel.html())
    assert RECENT < 18


async def test_what_was_unfolded_is_unfolded_in_the_next_tick_too() -> None:
    session = await noted("Milk.", "Bread.")
    rows = [
        row.key
        for number in (2, 3)
        for group in moment(session, number).card.groups
        for row in group.rows
        if row.title == "You keep notes." or row.title == "add_note"
    ]
    assert len(rows) == 2
    assert rows[0] == rows[1]
    panel = Inspector(session)
    panel.hear({"k": "open", "d": rows[0], "open": True})
    assert f"data-d={rows[0]} open" in panel.html()


async def test_what_a_session_says_is_text_and_never_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    session = App(Notepad, model=ScriptedModel(call("add_note", note=evil), evil)).session(evil)
    await session.send(evil)
    panel = Inspector(session)
    for number in (0, 1):
        panel.hear({"k": "go", "tick": number})
        for html in (panel.html(), panel.static()["text/html"]):
            assert "<img" not in html


async def test_a_tick_that_failed_shows_its_error() -> None:
    session = App(Notepad, model=ScriptedModel(ModelError("the line is dead"))).session()
    with pytest.raises(ModelError):
        await session.send("Hi")
    assert "Error: ModelError: the line is dead" in words(Inspector(session).html())


async def test_the_static_form_is_the_tick_shown_without_controls() -> None:
    panel = Inspector(await noted("Milk."))
    static = panel.static()
    assert set(static) == {"text/html", "text/plain"}
    assert not re.search(r"<(input|select|button|script)", static["text/html"])
    assert "Kept 0." in words(static["text/html"])
    assert "Session pad" in static["text/plain"]
    assert "Kept 0." in static["text/plain"]
    assert "[tick 1 · ≈2 tokens out · simulated: scripted]" in static["text/plain"]


async def test_the_tick_before_is_what_a_tick_is_compared_with_at_first() -> None:
    session = await noted("Milk.", "Bread.")
    panel = Inspector(session)
    panel.hear({"k": "go", "tick": 2})
    assert panel.marks == (2, 1)
    seen = words(panel.html())
    delta = session.ticks[2].context.tokens - session.ticks[1].context.tokens
    assert f"+{delta} +2 added since tick 1; the prefix is kept" in seen


async def test_any_two_ticks_are_compared_with_signed_tokens_reasons_and_what_breaks_the_prefix() -> None:
    session = await noted("Milk.", "Bread.", "Tea.")
    panel = Inspector(session)
    panel.hear({"k": "go", "tick": 5})
    panel.hear({"k": "compare", "beside": 0})
    assert panel.marks == (5, 0)
    seen = words(panel.html())
    delta = session.ticks[5].context.tokens - session.ticks[0].context.tokens
    assert f"+{delta}" in seen
    assert "since tick 0; the prefix is broken by Notes · Notepad" in seen
    assert "entered: `notes` went from [] to ['n0', 'n1', 'n2'], set by the tool add_note in tick 4" in seen


async def test_a_later_tick_may_be_compared_with_and_then_nothing_was_the_reason() -> None:
    panel = Inspector(await noted("Milk.", "Bread."))
    panel.hear({"k": "go", "tick": 0})
    panel.hear({"k": "compare", "beside": 3})
    seen = words(panel.html())
    assert "−" in seen
    assert "since tick 3" in seen
    assert "left:" not in seen


async def test_nothing_is_compared_where_that_is_asked_for_or_there_is_no_other_tick() -> None:
    panel = Inspector(await noted("Milk."))
    panel.hear({"k": "compare", "beside": "none"})
    assert "since tick" not in words(panel.html())
    panel.hear({"k": "compare", "beside": 1})
    assert panel.marks == (1, -1)
    panel.hear({"k": "compare", "beside": "before"})
    panel.hear({"k": "go", "tick": 0})
    assert panel.marks == (0, -1)


async def test_messages_count_for_the_timeline_that_shows_them() -> None:
    session = await noted("Milk.")
    tree = {share.place.name: share.tokens for share in moment(session, 1).tree}
    context = session.ticks[1].context
    assert tree["Notepad"] == context.tokens
    assert tree["Timeline"] == sum(part.tokens for part in context.parts if part.kind == "message")


async def test_many_messages_that_came_or_went_are_one_row_as_well() -> None:
    panel = Inspector(await noted(*(f"Message {n}." for n in range(12))))
    panel.hear({"k": "compare", "beside": 1})
    assert re.search(r"\+ \d+ earlier messages added", words(panel.html()))
    panel.hear({"k": "go", "tick": 0})
    panel.hear({"k": "compare", "beside": 23})
    assert re.search(r"− \d+ earlier messages removed", words(panel.html()))


async def test_components_show_properties_state_by_name_hooks_knobs_and_tools() -> None:
    @component
    def Rules(pace: str) -> Any:
        use_effect(lambda: None, [])
        return Section(f"Travel at a {pace} pace.", id="rules")

    @component
    def Planner() -> Any:
        use_knob("tone", "friendly")
        return [Rules(pace="slow"), Notepad()]

    session = App(Planner, model=ScriptedModel("Hello.")).session()
    await session.send("Hi")
    seen = words(Inspector(session).html())
    for held in (
        "Rules property pace = 'slow' effect",
        "Planner knob tone = 'friendly'",
        "Notepad state notes = [] tool add_note",
    ):
        assert held in seen


NOTES = "Notepad/Section[notes]"


async def test_a_component_that_is_left_out_is_missing_from_the_context_at_once_and_nothing_is_sent() -> None:
    session = await noted("Milk.")
    panel = Inspector(session)
    panel.hear({"k": "leave", "path": NOTES, "out": True})
    seen = words(panel.html())
    assert "Context without Section" in seen
    gone = next(part.tokens for part in session.ticks[1].context.parts if part.title == "Notes")
    assert f"−{gone}" in seen
    assert "−1 removed against what was sent; the prefix is broken by" in seen
    assert len(session.ticks) == 2
    assert len(session.history().branches) == 1
    panel.hear({"k": "restore"})
    assert "without" not in words(panel.html()).split("Components")[0]


async def test_what_is_left_out_stays_so_from_tick_to_tick_where_it_stands() -> None:
    panel = Inspector(await noted("Milk.", "Bread."))
    panel.hear({"k": "leave", "path": NOTES, "out": True})
    panel.hear({"k": "go", "tick": 2})
    assert "Context without Section" in words(panel.html())
    panel.hear({"k": "go", "tick": 0})  # there are no notes yet
    assert "without" not in words(panel.html()).split("Components")[0]


async def test_a_tick_is_run_again_without_a_component_in_a_fork_and_both_answers_stand_there() -> None:
    session = await noted("Milk.")
    session.model = ScriptedModel("What notes?")
    panel = Inspector(session)
    panel.hear({"k": "leave", "path": NOTES, "out": True})
    panel.hear({"k": "run"})
    assert panel.trial is not None
    await panel.trial.over.wait()
    seen = words(panel.html())
    assert seen.index("What notes?") < seen.index("Kept 0.")
    fork = panel.trial.fork
    assert [session.parent for session in (session, fork)] == [None, "pad"]
    assert "Milk." in str(fork.ticks[1].context)
    assert "n0" not in [part.text for part in fork.ticks[1].context.parts if part.title == "Notes"]
    assert len(session.ticks) == 2


async def test_a_failed_run_shows_its_error_and_the_answer_that_was_there() -> None:
    session = await noted("Milk.")
    session.model = ScriptedModel(ModelError("the line is dead"))
    panel = Inspector(session)
    panel.hear({"k": "leave", "path": NOTES, "out": True})
    panel.hear({"k": "run"})
    assert panel.trial is not None
    await panel.trial.over.wait()
    seen = words(panel.html())
    assert "the line is dead" in seen
    assert "Kept 0." in seen


async def test_a_tool_that_asks_is_denied_while_a_tick_is_run_again() -> None:
    done: list[str] = []

    @tool(confirm=True)
    def book(town: str) -> str:
        """Book a room."""
        done.append(town)
        return "Booked."

    @component
    def Agent() -> Any:
        return [System("You book."), Section("Be quick.", id="rules"), book, Timeline()]

    session = App(Agent, model=ScriptedModel("Where?", call("book", town="Bern"), "No.")).session()
    await session.send("Book.")
    panel = Inspector(session)
    panel.hear({"k": "leave", "path": "Agent/Section[rules]", "out": True})
    panel.hear({"k": "run"})
    assert panel.trial is not None
    await panel.trial.over.wait()
    assert "denied" in words(panel.html())
    assert done == []


async def test_what_cannot_be_left_out_says_why_and_the_context_stays() -> None:
    session = await noted("Milk.")
    panel = Inspector(session)
    timeline = next(share.place.path for share in moment(session, 1).tree if share.place.name == "Timeline")
    panel.hear({"k": "leave", "path": timeline, "out": True})
    assert panel.shown is not None
    assert "Timeline" in panel.shown.refused
    assert panel.shown.refused in words(panel.html())
    assert "Milk." in words(panel.html())
    panel.hear({"k": "run"})
    assert panel.trial is None


async def test_forks_are_a_tree_of_which_one_opens_each() -> None:
    session = await noted("Milk.")
    fork = session.fork(0, id="other")
    fork.model = ScriptedModel("Elsewhere.")
    await fork.send("And bread?")
    panel = Inspector(session)
    html = panel.html()
    assert 'data-do="session:pad" aria-current=true' in html
    assert 'data-do="session:other"' in html
    assert "forked after tick 0" in words(html)
    panel.hear({"k": "session", "id": "other"})
    assert "Elsewhere." in words(panel.html())
    assert 'data-do="session:other" aria-current=true' in panel.html()
    panel.hear({"k": "session", "id": "pad"})
    assert "Kept 0." in words(panel.html())


async def test_a_session_that_is_no_fork_of_this_one_is_not_opened() -> None:
    session = await noted("Milk.")
    panel = Inspector(session)
    panel.hear({"k": "session", "id": "stranger"})
    assert panel.session is session
    assert "no fork 'stranger' around session 'pad'" in words(panel.html())
    assert not session.app.knows("stranger")


async def test_what_stands_in_a_component_that_is_left_out_goes_with_it_and_a_fork_says_without_what() -> (
    None
):
    @component
    def Rules() -> Any:
        return Section("Be quick.", id="rules")

    @component
    def Agent() -> Any:
        return [System("You help."), Rules(), Timeline()]

    session = App(Agent, model=ScriptedModel("Yes.", "No.")).session("s")
    await session.send("Hi")
    panel = Inspector(session)
    rules = next(share.place.path for share in moment(session, 0).tree if share.place.name == "Rules")
    panel.hear({"k": "leave", "path": rules, "out": True})
    html = panel.html()
    assert f'data-do="leave:{rules}" aria-label="Send Rules">' in html
    assert f'data-do="leave:{rules}/Section[rules]" aria-label="Send Section" disabled>' in html
    panel.hear({"k": "run"})
    assert panel.trial is not None
    await panel.trial.over.wait()
    assert "forked before tick 0 · 1 tick" in words(panel.html())
    assert "· without Rules" in words(panel.html())


async def test_the_ticks_of_a_closed_session_can_be_looked_at_and_the_tree_says_why_it_is_not_there() -> None:
    session = await noted("Milk.")
    panel = Inspector(session)
    await session.aclose()
    panel.hear({"k": "go", "tick": 0})
    seen = words(panel.html())
    assert "Milk." in seen
    assert "The tree cannot be rendered as it was: session 'pad' is closed" in seen
    panel.hear({"k": "go", "tick": 2})
    seen = words(panel.html())
    assert "What would be sent now cannot be told." in seen
    assert "session 'pad' is closed" in seen


def test_the_nearest_ticks_are_sent_ahead_once_in_an_edition() -> None:
    ahead = Ahead()
    assert [ahead.take(9, 10) for _ in range(3)] == [8, 7, None]
    assert [ahead.take(8, 10) for _ in range(3)] == [9, 6, None]
    edition = ahead.edition
    ahead.begin_anew()
    assert ahead.edition != edition
    assert ahead.take(8, 10) == 7


def test_what_was_sent_ahead_of_a_tick_far_away_is_sent_again() -> None:
    ahead = Ahead()
    near = [ahead.take(0, 100) for _ in range(3)]
    assert near == [1, 2, None]
    ahead.take(50, 100)
    assert [ahead.take(0, 100) for _ in range(3)] == near
