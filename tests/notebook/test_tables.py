from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Knobs, ModelError, Section, System, Timeline, component, use_knob
from nbsession.events import MessageDelta
from nbsession.notebook.panels import tables
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call, pause
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from pathlib import Path


@component
def Agent() -> Any:
    use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System("<b>You</b> are here."), Section("<i>", id="s"), Knobs(), Timeline()]


def app(*responses: Any, store: Any = None) -> App:
    return App(Agent, model=ScriptedModel(*responses), store=store)


async def test_ticks_say_what_asked_for_them_and_what_can_be_done_about_a_past_one() -> None:
    session = app(call("set_knob", name="tone", value="terse"), "Done.", "Yes.").session("s")
    await session.send("Be   brief,\nplease. " + "x" * 100)
    await session.send("Sure?")
    shown = tables.ticks(session)
    messages = [str(row.cells[2]) for row in shown.rows]
    assert messages[0].startswith("Be brief, please. xxx")
    assert len(messages[0]) == tables.LONGEST
    assert messages[1:] == ["", "Sure?"]
    assert [row.cells[5] for row in shown.rows] == ["set_knob", "–", "–"]
    assert [word.name for word in shown.words] == ["view", "fork", "replay", "re-run"]
    assert shown.words[0].how == "%session context 2 --diff 1"


async def test_a_tick_that_failed_or_was_stopped_says_so() -> None:
    held = pause()
    session = app(ModelError("the line is dead"), ["so f", held, "ar"]).session("s")
    with pytest.raises(ModelError):
        await session.send("Hi")
    execution = session.send("Again")
    await held.reached
    assert [row.cells[6] for row in tables.ticks(session).rows] == ["failed: ModelError", "running"]
    execution.abort()
    await execution
    assert str(tables.ticks(session).rows[1].cells[6]).endswith("interrupted")


async def test_a_tick_that_was_left_by_rewinding_says_so_and_can_be_forked_from() -> None:
    session = app("one", "two", "three").session("s")
    await session.send("first")
    await session.send("second")
    session.rewind(session.timeline[1].id)
    await session.send("other")
    shown = tables.ticks(session)
    assert [str(row.cells[6]).endswith("rewound") for row in shown.rows] == [False, True, False]
    assert shown.words[-1][:2] == ("rewound", "%session fork 1")
    assert session.fork(1).timeline[-1].text == "two"


async def test_ticks_say_why_the_provider_did_not_read_more_from_its_cache() -> None:
    class Live(ScriptedModel):
        @property
        def source(self) -> Any:
            return "live"

    read = MessageDelta("end_turn", Usage(1_500, 5, cache_read_tokens=200))
    changed = CacheDiagnosis("the tools changed", "tools_changed", 1_200)
    missed = replace(read, cache_diagnosis=changed)
    session = App(Agent, model=Live("One.", ["Two.", missed], ["Three.", read])).session("s")
    for message in ("One?", "Two?", "Three?"):
        await session.send(message)
    assert [row.cells[4] for row in tables.ticks(session).rows] == [
        "unknown",
        "200: the tools changed",
        "200",
    ]


async def test_ticks_of_several_days_have_their_dates() -> None:
    session = app("one", "two").session("s")
    await session.send("first")
    await session.send("second")
    assert all(len(row.cells[1]) == len("10:00:00") for row in tables.ticks(session).rows)
    session.ticks[0].started -= 3 * 24 * 3600
    assert all(len(row.cells[1]) == len("2026-11-21 10:00:00") for row in tables.ticks(session).rows)


async def test_what_users_and_models_wrote_is_escaped() -> None:
    session = app("ok").session("<script>")
    await session.send("<script>alert(1)</script>")
    fork = session.fork(0, id="<img>")
    for shown in (
        tables.ticks(session),
        tables.history(fork.history(), {"<img>": "<u>"}),
        tables.sessions([("<script>", "<target>", session)], "<script>"),
        tables.outline(session.outline(), "<title>"),
    ):
        html = tables.bundle(shown)["text/html"]
        assert "&lt;" in html
        for tag in ("<script", "<img", "<u>", "<target", "<title"):
            assert tag not in html


async def test_a_list_keeps_to_the_stored_sessions_that_were_used_last() -> None:
    store = MemoryStore()
    opened = app(*["ok"] * 20, store=store)
    for number in range(tables.MOST_STORED + 3):
        session = opened.session(f"s{number}")
        await session.send("Hi")
        await session.aclose()
    shown = tables.sessions([], None, store.sessions())
    assert len(shown.rows) == tables.MOST_STORED
    assert shown.rows[0].cells[0] == "s14"
    assert "15 more stored" in shown.facts


def test_a_store_is_named_by_its_file_and_none_is_memory(tmp_path: Path) -> None:
    assert tables.place_of(None) == tables.place_of(MemoryStore()) == "memory"
    store = SqlStore(f"sqlite:///{tmp_path / 's.db'}")
    assert tables.place_of(store).endswith("s.db")
    store.close()


async def test_a_table_in_plain_text_is_aligned_and_marks_the_current_row() -> None:
    session = app("ok").session("one")
    other = app("ok").session("another")
    lines = str(tables.sessions([("one", "Agent", session), ("another", "Agent", other)], "another")).split(
        "\n"
    )
    assert lines[0] == "Sessions · 2 sessions open · kept in memory"
    assert lines[1].split() == ["name", "of", "status", "ticks", "fork", "of", "last", "used", "model"]
    assert lines[2].startswith("   one      Agent")
    assert lines[3].startswith("*  another  Agent")
