"""A cell that speaks to a server's session, in a real JupyterLab: its view, Stop, a confirmation and the knobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from nbsession import App, Knobs, System, Timeline, component, tool, use_knob
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from tests.client.conftest import TOKEN, serving
from tests.notebook.e2e.test_sessions import output, stop_button

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)


@component
def Desk() -> Any:
    """A desk that sends letters."""
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])

    @tool(confirm=True)
    def send(draft: str) -> str:
        """Send a letter."""
        return f"Sent: {draft}"

    return [System(f"You are a {tone} secretary."), send, Knobs(), Timeline()]


def test_a_connected_cell_is_shown_as_one_of_here_in_both_themes(notebook: MakeNotebook, page: Page) -> None:
    words = "word " * 400
    model = ScriptedModel(["I send it.", call("send", draft="Dear all")], "It is sent.", words, rate=60)
    with serving(App(Desk, model=model, store=MemoryStore())) as server:
        opened = notebook(
            f"%load_ext nbsession\n%session connect {server.url} --id letters --token {TOKEN}",
            "%%session\nSend the letter.",
            "%%session\nTalk at length.",
            "%session knobs",
        )
        opened.run(0)
        expect(output(opened, 0)).to_contain_text("session 'letters' (Desk)")
        opened.start(1)
        asked = output(opened, 1)
        asked.get_by_role("button", name="Allow", exact=True).click()
        expect(asked).to_contain_text("It is sent.")
        expect(asked.locator(".foot")).to_be_visible()
        tick = asked.locator(".tick").last
        tick.get_by_role("button", name="Copy as Python").click()
        written = tick.get_by_role("textbox", name="This tick as Python")
        expect(written).to_have_value(re.compile(r"AsyncClient.*\.fork\(1, before=True\)", re.DOTALL))
        tick.get_by_role("button", name="Fork here").click()
        expect(tick.locator(".desk")).to_contain_text("%session use se_")
        expect(asked.get_by_role("button", name="Edit and re-run")).to_have_count(0)
        opened.start(2)
        expect(output(opened, 2)).to_contain_text("word word")
        stop_button(opened, 2).click()
        expect(output(opened, 2)).to_contain_text("stopped by the user")
        opened.run(3)
        panel = output(opened, 3)
        panel.get_by_role("button", name="terse").click()
        expect(panel).to_contain_text("set by you")
        expect(panel).to_contain_text("broken by system")
        for theme in ("Dark", "Light"):
            opened.theme(f"JupyterLab {theme}")
            opened.screenshot(f"connected-{theme.lower()}", of=asked)
            opened.screenshot(f"connected-knobs-{theme.lower()}", of=panel)
