"""Whatever a text's length, what is shown of it is bounded, in the page and in the notebook's file."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from nbsession import App, Section, System, Timeline, component, tool
from nbsession.notebook.panels.knobs import context_bundle
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import MOST_CHARACTERS, MOST_LINES, bounded
from nbsession.notebook.view.difference import compare
from nbsession.notebook.view.execution import ExecutionView
from nbsession.testing import ScriptedModel, call

MOST_BYTES = 400_000
"""Of one output in a file, whatever a tool returned."""
LONG = {
    "one line": "x" * 10_000_000,
    "many lines": "a line\n" * 100_000,
    "JSON": json.dumps({"a": list(range(10**6))}),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
async def test_what_was_sent_and_returned_stays_bounded_in_view_and_in_file(text: str) -> None:
    @component
    def Reader() -> Any:
        @tool
        def read() -> str:
            """Read."""
            return text

        return [System("You read."), Section(text, id="whole"), read, Timeline()]

    session = App(Reader, model=ScriptedModel([call("read")], "It is long.")).session()
    execution = session.send("Read it.")
    view = ExecutionView(execution)
    following = asyncio.ensure_future(view.follow())
    await execution
    await following
    context = session.ticks[-1].context
    assert context is not None
    assert text in context.parts[1].text  # the model gets it whole
    for bundle in (view.static(), {"live": view.html()}, context_bundle(context)):
        # In a notebook's file each line is a string of its own.
        written = json.dumps(
            {kind: content.splitlines(keepends=True) for kind, content in bundle.items()}, indent=1
        )
        assert len(written) <= MOST_BYTES
    assert "more characters)" in view.static()["text/html"]


def test_what_is_left_out_is_counted() -> None:
    assert bounded("short") == "short"
    assert bounded("x" * (MOST_CHARACTERS + 5)) == "x" * MOST_CHARACTERS + "\n… (5 more characters)"
    assert (
        bounded("a\n" * 5_000)
        == "\n".join("a" * MOST_LINES) + f"\n… ({10_000 - 2 * MOST_LINES + 1:,} more characters)"
    )


def test_a_picture_stays_whole_and_a_text_that_begins_like_one_does_not() -> None:
    picture = "data:image/png;base64," + "A" * 300_000
    assert bounded(picture) == picture
    assert len(bounded(picture + "<")) < 60_000
    assert len(bounded(picture + "A" * 300_000)) < 60_000


def test_a_long_line_shows_where_it_differs() -> None:
    old = "before " * 100_000 + "left" + " after" * 100_000
    lines = compare(old, old.replace("left", "right"))
    assert [line.sign for line in lines] == ["−", "+"]
    assert "left" in lines[0].text
    assert "right" in lines[1].text
    assert max(len(line.text) for line in lines) < 2_000


def test_what_is_to_be_edited_is_never_cut() -> None:
    text = "x" * 100_000 + "<end>"
    assert str(templates.whole(text)) == "x" * 100_000 + "&lt;end&gt;"
