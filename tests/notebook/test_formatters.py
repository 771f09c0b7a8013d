from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from nbsession import App, Knobs, System, Timeline, component, use_knob
from nbsession.exercise import check
from nbsession.notebook import formatters
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are {tone}. <script>alert(1)</script>"), Knobs(), Timeline()]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    made = InteractiveShell.instance(ipython_dir=str(tmp_path))
    yield made
    InteractiveShell.clear_instance()


def html(shell: InteractiveShell, value: object) -> str:
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(value)  # type: ignore[no-untyped-call]  # IPython does not type it
    return str(data.get("text/html", ""))


def test_every_type_is_where_it_is_looked_for() -> None:
    for module, name in formatters._FORMATTERS:
        assert isinstance(getattr(importlib.import_module(f"nbsession.{module}"), name), type)


async def test_sessions_ticks_and_all_they_hold_show_themselves(shell: InteractiveShell) -> None:
    formatters.register(shell)
    session = App(Agent, model=ScriptedModel("I **see**.")).session("shown")
    execution = session.send("Hello.")
    result = await execution
    context = session.ticks[0].context
    assert context is not None
    preview = session.preview(tone="terse")
    expected = {
        "Session shown": session,
        "I <strong>see</strong>.": result,
        "Tick 0": session.ticks[0],
        "≈": execution,
        "Compiled context": context,
        "<b>terse</b>": preview.diff,
        "No model call was made.": preview,
        "You are friendly.": context.parts[0],
        "Forks around session shown": session.history(),
        "<code>tone</code> = &#39;friendly&#39;": session.outline(),
    }
    for text, value in expected.items():
        shown = html(shell, value)
        assert text in shown, type(value)
        assert "<script" not in shown


def test_an_exercises_claims_are_listed_with_a_hint_where_one_does_not_hold(shell: InteractiveShell) -> None:
    formatters.register(shell)
    page = html(shell, check({"one is one": True, "one is <two>": False}, hint="count again"))
    assert re.findall("<li[^>]*>([^<]*)", page) == ["✓ one is one", "○ one is &lt;two&gt;"]
    assert "<em>Hint:</em> count again" in page
    assert "mathjax_ignore" in page
    assert "Hint" not in html(shell, check({"one is one": 1}, hint="none"))


def test_unloading_leaves_no_formatter_behind(shell: InteractiveShell) -> None:
    assert shell.display_formatter is not None
    kept = shell.display_formatter.formatters["text/html"]
    before = dict(kept.deferred_printers)
    formatters.register(shell)
    assert len(kept.deferred_printers) > len(before)
    formatters.unregister(shell)
    assert kept.deferred_printers == before


async def test_recordings_of_one_day_are_labelled_once(shell: InteractiveShell) -> None:
    formatters.register(shell)
    session = App(Agent, model=ScriptedModel(call("set_knob", name="tone", value="terse"), "Done.")).session()
    result = await session.send("Hello.")
    moments = ("2026-11-21T09:45:59+00:00", "2026-11-21T09:46:01+00:00")
    for tick, at in zip(result.ticks, moments, strict=True):
        tick.source, tick.recorded = "recorded", at
    assert html(shell, result).count("recorded 2026-11-21 09:45 UTC</b>") == 1
    result.ticks[1].recorded = "2026-11-22T10:00:00+00:00"
    assert html(shell, result).count("UTC</b>") == 2


def test_a_figure_is_shown_as_a_picture_where_pyplot_is_not_imported(shell: InteractiveShell) -> None:
    formatters.register(shell)
    figure = App(Agent).session("drawn").sweep("Hi", tone=["friendly", "terse"], context_only=True).plot()
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(figure)  # type: ignore[no-untyped-call]  # IPython does not type it
    assert data["image/png"].startswith(b"\x89PNG")
    formatters.unregister(shell)
    data, _ = shell.display_formatter.format(figure)  # type: ignore[no-untyped-call]  # as above
    assert "image/png" not in data
