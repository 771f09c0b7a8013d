from __future__ import annotations

import asyncio
import re
from inspect import getsourcelines
from typing import Any

import pytest

from nbsession import App, Session
from nbsession.notebook.loop import Engine
from nbsession.notebook.sessions import Sessions
from nbsession.notebook.settings import Nbsession
from nbsession.notebook.view.desk import Desk
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.place import Place
from nbsession.notebook.view.python import as_python
from nbsession.testing import ScriptedModel, call
from tests.notebook.test_tree import Guide, Plan
from tests.notebook.test_view import Notepad, words


class Front:
    """A desk, and what it sent to the page."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sessions = Sessions(Engine(), {}, Nbsession())
        self.desk = Desk(self.sessions)
        self.desk.knows(session)
        self.replies: list[str] = []
        self.puts: list[Any] = []
        self.came = asyncio.Event()
        self.desk.widget.send = self._take  # no page is there to get it

    @property
    def forks(self) -> list[Session]:
        return [session for _, session in self.sessions]

    def ask(self, kind: str, tick: int = 0, **fields: Any) -> str:
        return self.desk.answer({"k": kind, "n": 1, "of": self.session.id, "tick": tick, **fields})

    def _take(self, content: Any, _buffers: object = None) -> None:
        if content["k"] == "put":
            self.puts.append(content)
        else:
            self.replies.append(content["html"])
        self.came.set()


async def said(*responses: Any, component: Any = Notepad) -> Front:
    session = App(component, model=ScriptedModel(*responses)).session()
    await session.send("Hello.")
    return Front(session)


def field(html: str, text: str) -> str:
    """The name of the field that holds a text."""
    found = re.search(rf'data-f="([^"]+)"[^>]*>\s*{re.escape(text)}', html)
    assert found is not None
    return found[1]


async def test_a_component_leads_to_the_file_and_line_on_which_it_is_written_and_to_its_lines() -> None:
    session = App(Guide, model=ScriptedModel("Hi.")).session()
    view = ExecutionView(session.send("Hello."))
    await view.follow()
    page = view.static()["text/html"]
    line = getsourcelines(Plan.function)[1]
    assert f"tests/notebook/test_tree.py, line {line}" in page
    assert f'title="tests/notebook/test_tree.py, line {line}">Guide/Plan.1</code>' in page
    shown = Front(session).ask("source", path="Guide/Plan.1")
    assert "def Plan() -&gt; Any:" in shown
    assert f"{line}  @component" in shown
    assert "def Guide" not in shown


async def test_fork_here_makes_a_fork_after_that_tick_and_says_how_to_go_on() -> None:
    front = await said([call("add_note", note="x")], "Done.")
    told = words(front.ask("fork", 0))
    (fork,) = front.forks
    assert f"%session use {fork.id}" in told
    assert (fork.parent, fork.forked) == (front.session.id, (0, False))
    assert len(fork.ticks) == 1


async def test_a_tick_as_python_asks_the_very_same_again() -> None:
    front = await said("One.", "Two.")
    namespace: dict[str, Any] = {"talk": front.session}
    code = as_python(front.session, 0, namespace)
    exec(f"async def again():\n    {code.replace(chr(10), chr(10) + '    ')}\n    return result", namespace)
    result = await namespace["again"]()
    assert result.text == "Two."
    assert result.ticks[0].context.hash == front.session.ticks[0].context.hash
    assert f"%session use {front.session.id} --as session" in as_python(front.session, 0, {})
    assert "app.session(" in as_python(front.session, 0, {"app": front.session.app})


async def test_an_edit_is_shown_as_a_difference_before_anything_is_sent() -> None:
    front = await said("Hi.")
    name = field(front.ask("edit"), "You are a friendly assistant")
    shown = front.ask("compare", fields={name: "You are a pirate."})
    assert "<i class=ed>edited</i>" in shown
    assert "tokens" in words(shown)
    assert "pirate" in words(shown)
    assert front.forks == []


async def test_an_edit_and_a_knob_are_sent_in_a_fork_and_both_answers_stand_side_by_side() -> None:
    front = await said("Hello there.", "Arr.")
    name = field(front.ask("edit"), "Hello.")
    told = front.ask("send", fields={name: "Ahoy.", "knob:tone": "1"})
    assert "waiting for the answer" in told
    while "Go on with the edited one" not in "".join(front.replies):
        front.came.clear()
        await asyncio.wait_for(front.came.wait(), 10)
    seen = words(front.replies[-1])
    assert seen.index("As it was") < seen.index("Hello there.") < seen.index("Edited") < seen.index("Arr.")
    (fork,) = front.forks
    sent = fork.ticks[-1].context
    assert fork.knobs["tone"] == "terse"
    assert [str(part) for part in sent.parts if part.edited] == ["Ahoy."]


class Shown:
    """An output in a page, as its last update was."""

    def __init__(self) -> None:
        self.bundle: dict[str, str] = {}

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.bundle = dict(bundle)


async def test_both_answers_stream_side_by_side_and_stand_below_the_output_afterwards() -> None:
    front = await said("Hello there.", "Arr, " * 200)
    shown = Shown()
    place = Place(shown)  # type: ignore[arg-type]  # what a page has of a handle
    assert f" data-o={place.key}" in front.desk.knows(front.session, place)
    place.update({"text/html": "<div>the output</div>", "text/plain": "the output"})
    front.session.model.rate = 2_000
    name = field(front.ask("edit"), "Hello.")
    front.ask("send", fields={name: "Ahoy."}, o=place.key)
    while "sent again" not in shown.bundle["text/html"]:
        front.came.clear()
        await asyncio.wait_for(front.came.wait(), 10)
    coming = [words(html).count("Arr") for html in front.replies]
    assert sorted(coming) == coming
    assert len(set(coming)) > 2
    html, text = shown.bundle["text/html"], shown.bundle["text/plain"]
    assert html.startswith("<div>the output</div>")
    assert html.index("Hello there.") < html.index("Arr")
    assert "<button" not in html
    assert "[edited and sent again from tick 0" in text
    assert text.count("Arr") == 200
    assert shown.bundle == front.puts[-1]["data"]
    place.update({"text/html": "<div>the output</div> is stale", "text/plain": "the output"})
    assert "is stale" in shown.bundle["text/html"]
    assert "Arr" in shown.bundle["text/html"]
    place.begin({"text/html": "anew"})
    assert shown.bundle == {"text/html": "anew"}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [({}, "nothing was changed"), ({"knob:tone": "0", "part:nowhere#": "x"}, "no part")],
)
async def test_an_edit_that_cannot_be_made_says_why_and_makes_no_fork(
    fields: dict[str, str], complaint: str
) -> None:
    front = await said("Hi.")
    assert complaint in words(front.ask("send", fields=fields))
    assert front.forks == []


async def test_a_session_that_is_gone_is_said_to_be_with_how_to_open_it() -> None:
    front = await said("Hi.")
    assert "%session resume other" in front.desk.answer({"k": "fork", "of": "other"})


async def test_a_desk_keeps_no_session_alive() -> None:
    import gc

    front = await said("Hi.")
    id_ = front.session.id
    desk, front.session = front.desk, None  # type: ignore[assignment]  # let go
    del front
    gc.collect()
    assert "is not open" in desk.answer({"k": "fork", "of": id_})


async def test_the_view_chosen_in_a_finished_output_is_that_of_the_next_one() -> None:
    front = await said("Hi.", "Ho.")
    front.ask("view", view="tree")
    view = ExecutionView(front.session.send("And now?"))
    await view.follow()
    assert re.search(r"<details name=\w+ open><summary>As a tree", view.static()["text/html"])
