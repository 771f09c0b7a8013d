"""Session cells in a real JupyterLab: seen, stopped, steered by sliders, saved and read again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
FIRST = NOTEBOOKS / "01-see-what-the-model-saw.ipynb"
TRAVEL = NOTEBOOKS / "more" / "time-travel.ipynb"
AGENT = '''
%load_ext nbsession
from nbsession import App, Knobs, Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.testing import ScriptedModel, call

@component
def Notepad():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    verbosity, _ = use_knob("verbosity", 3, min=1, max=5)
    notes, set_notes = use_state([])

    @tool
    def add_note(note: str) -> str:
        """Keep a note for later."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    return [
        System(f"You are a {tone} assistant with a notepad. Verbosity: {verbosity} of 5."),
        add_note,
        notes and Section("\\n".join(f"- {note}" for note in notes), id="notepad", title="Notepad"),
        Knobs(),
        Timeline(),
    ]
'''
SLOW = """
import asyncio, threading
never = threading.Event()

@component
def Slow():
    @tool
    def in_a_thread() -> str:
        "Take for ever."
        never.wait(60)

    @tool
    async def on_the_loop() -> str:
        "Take for ever."
        await asyncio.Event().wait()

    @tool
    async def blocking_the_loop() -> str:
        "Take for ever, and keep all else from running."
        print("blocked", flush=True)
        never.wait(60)

    @tool(confirm=True)
    def asking() -> str:
        "Ask."

    return [System("You are slow."), in_a_thread, on_the_loop, blocking_the_loop, asking, Timeline()]
"""
# Seconds from the press to the end of the cell. Measured: 0.05 to 0.13, and 0.53 to 0.6 where the button
# waits half a second for the kernel before it interrupts; the limits leave room for a busy machine.
PROMPT = 0.5
FALLBACK = 1.0
BUTTON = "document.querySelector('.jp-OutputArea button[data-do=stop]').click()"
INTERRUPT = "window.jupyterapp.commands.execute('notebook:interrupt-kernel')"
LONG = "one two three four five six seven eight nine ten "


def scripted(*responses: str, rate: int = 0, id: str = "") -> str:
    """A cell that opens a session of the agent with the responses given."""
    opened = f" --id {id}" if id else ""
    return f"app = App(Notepad, model=ScriptedModel({', '.join(responses)}, rate={rate}))\n%session new app{opened}"


def output(notebook: Notebook, index: int) -> Locator:
    """What stands under the code cell of that index."""
    return notebook.cells().nth(index).locator(".jp-Cell-outputArea")


def stop_button(notebook: Notebook, index: int) -> Locator:
    return output(notebook, index).get_by_role("button", name=re.compile("Stop"))


def plain(notebook: Notebook, index: int) -> str:
    """The plain text of a code cell's outputs, as it would be saved."""
    return "\n".join(
        str(out["data"].get("text/plain", "")) for out in notebook.outputs()[index] if "data" in out
    )


def errors(notebook: Notebook) -> list[str]:
    return [
        f"{out['ename']}: {out['evalue']}"
        for outputs in notebook.outputs()
        for out in outputs
        if out["output_type"] == "error"
    ]


def test_the_first_notebook_runs_twice_and_shows_every_tick(notebook: MakeNotebook, page: Page) -> None:
    first = notebook(copy=FIRST)
    sources = first.sources()
    sessions = [n for n, source in enumerate(sources) if source.startswith("%%session")]
    assert len(sessions) >= 4
    for _ in range(2):
        first.run_all()
        assert errors(first) == []
        for index in sessions:
            expect(output(first, index)).to_contain_text("simulated")
            expect(output(first, index)).to_contain_text("Tick ")
            expect(stop_button(first, index)).to_have_count(0)
    knobs = next(n for n, source in enumerate(sources) if source.startswith("%session knobs"))
    expect(output(first, knobs).locator(".widget-slider").first).to_be_visible()
    assert first.errors == []
    for theme in ("Light", "Dark"):
        first.theme(f"JupyterLab {theme}")
        for index in (sessions[1], knobs):
            first.screenshot(f"first-session-{index}-{theme.lower()}", of=output(first, index))


def test_the_notebook_on_time_travel_runs_twice_and_its_tables_and_trees_are_legible(
    notebook: MakeNotebook, page: Page
) -> None:
    travel = notebook(copy=TRAVEL)
    sources = travel.sources()
    ticks, history, listed = (sources.index(f"%session {word}") for word in ("ticks", "history", "list"))
    replayed = next(n for n, source in enumerate(sources) if source.startswith("playing ="))
    for _ in range(2):
        travel.run_all()
        assert errors(travel) == []
        expect(output(travel, ticks).locator("tbody").first.locator("tr")).to_have_count(5)
        for word in ("view", "fork", "replay", "re-run"):
            expect(output(travel, ticks).get_by_role("rowheader", name=word, exact=True)).to_be_visible()
        expect(output(travel, history).locator(".twigs > .here")).to_contain_text("trip-terse")
        expect(output(travel, listed)).to_contain_text("sessions.db")
        expect(output(travel, replayed).locator(".b.rec")).to_contain_text("recorded")
    assert travel.errors == []
    for theme in ("Light", "Dark"):
        travel.theme(f"JupyterLab {theme}")
        for index in (ticks, history, listed):
            wide = "tables => tables.filter(t => t.scrollWidth > t.clientWidth + 1).length"
            assert output(travel, index).locator(".lists").evaluate_all(wide) == 0
            travel.screenshot(f"time-travel-{index}-{theme.lower()}", of=output(travel, index))


def test_a_response_is_seen_while_it_streams(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(AGENT, scripted(f"{LONG!r} * 12", rate=60), "%%session\nCount, please.")
    opened.run(0)
    opened.run(1)
    opened.start(2)
    expect(stop_button(opened, 2)).to_be_visible()
    expect(output(opened, 2)).to_contain_text("three four")
    seen = len(output(opened, 2).inner_text())
    page.wait_for_function(
        "([cell, seen]) => cell.innerText.length > seen", arg=[output(opened, 2).element_handle(), seen]
    )
    expect(stop_button(opened, 2)).to_be_visible()
    opened.screenshot("streaming", of=stop_button(opened, 2))
    opened.finish()
    expect(stop_button(opened, 2)).to_have_count(0)
    assert plain(opened, 2).count("nine ten") == 12
    assert errors(opened) == []
    assert opened.errors == []


@pytest.mark.parametrize("way", ["button", "interrupt"])
def test_stopping_in_the_middle_keeps_what_came_and_the_session(
    way: str, notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        scripted(f"{LONG!r} * 200", "'Here I am again.'", rate=30),
        "%%session\nCount.",
        "%%session\nStill there?",
    )
    opened.run(0)
    opened.run(1)
    opened.start(2)
    expect(output(opened, 2)).to_contain_text("three four")
    if way == "button":
        stop_button(opened, 2).click()
    else:
        opened.interrupt()
    opened.finish()
    expect(output(opened, 2)).to_contain_text("stopped")
    expect(output(opened, 2)).to_contain_text("one two three")
    expect(stop_button(opened, 2)).to_have_count(0)
    assert plain(opened, 2).count("nine ten") < 100
    opened.screenshot(f"stopped-by-{way}", of=output(opened, 2))
    opened.run(3)
    expect(output(opened, 3)).to_contain_text("Here I am again.")
    assert opened.errors == []


@pytest.mark.parametrize(
    ("answer", "around", "seen", "limit"),
    [
        (f"{LONG!r} * 200", "", "three four", PROMPT),
        ("call('in_a_thread')", "", "running", PROMPT),
        ("call('on_the_loop')", "", "running", PROMPT),
        ("call('asking')", "", "Allow", PROMPT),
        # Here the kernel hears no message, so the button has to fall back on the interrupt.
        ("['Here it comes. ' * 6, call('blocking_the_loop')]", "", "blocked", FALLBACK),
        (f"{LONG!r} * 200", "%%time\n", "three four", FALLBACK),
    ],
    ids=["text", "sync-tool", "async-tool", "confirmation", "blocking-tool", "blocking-cell"],
)
def test_stop_and_interrupt_end_the_cell_at_once(
    answer: str, around: str, seen: str, limit: float, notebook: MakeNotebook
) -> None:
    made = f"app = App(Slow, model=ScriptedModel({answer}, {answer}, 'Back.', rate=30))\n%session new app"
    cell = f"{around}%%session\nGo."
    opened = notebook(AGENT, SLOW, made, cell, cell, "%%session\nAnd now?")
    for index in range(3):
        opened.run(index)
    for index, press, within in ((3, BUTTON, limit), (4, INTERRUPT, PROMPT)):
        opened.start(index)
        expect(stop_button(opened, index)).to_be_visible()
        expect(output(opened, index)).to_contain_text(seen)
        assert opened.stop(press) < within
        expect(output(opened, index)).to_contain_text("SessionInterrupted: stopped by the ")
        expect(stop_button(opened, index)).to_have_count(0)
    opened.run(5)
    expect(output(opened, 5)).to_contain_text("Back.")
    assert opened.errors == []


def test_run_all_by_the_toolbar_goes_on_with_the_session_and_stops_at_a_mistake(
    notebook: MakeNotebook,
) -> None:
    opened = notebook(
        AGENT,
        "%session new Notepad --id toolbar --model simulated",
        "%%session\nAdd a note: bring the umbrella.",
        "%%session\nWhat is in my notepad?",
        "%%session --modle x\nHi",
        "print('went on')",
    )
    for _ in range(2):
        opened.restart_and_run_all()
        assert errors(opened) == ["SessionError: %%session has no option --modle; did you mean '--model'?"]
        expect(output(opened, 3)).to_contain_text("bring the umbrella")
        assert opened.outputs()[5] == []
    # The cell that was run again took its note back first: there is one, not two.
    assert plain(opened, 3).count("bring the umbrella") == 1
    assert opened.errors == []


def test_a_dragged_slider_shows_what_would_change_and_sends_nothing(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT, scripted("'Hello.'"), "%%session\nHello.", "%session knobs", "app.model.contexts.__len__()"
    )
    for index in range(4):
        opened.run(index)
    panel = output(opened, 3)
    drag(panel.locator(".widget-slider .noUi-handle").first, page, by=400)
    expect(panel).to_contain_text("Verbosity: 5 of 5")
    expect(panel).to_contain_text(re.compile(r"≈?[+−-]?\d+ tokens?"))
    opened.screenshot("slider-moved", of=panel)
    opened.run(4)
    assert plain(opened, 4) == "1"
    assert opened.errors == []


def test_the_model_moves_the_slider_with_its_own_tool(notebook: MakeNotebook, page: Page) -> None:
    responses = ("call('set_knob', name='verbosity', value=5)", "'Done.'")
    opened = notebook(AGENT, scripted(*responses), "%session knobs", "%%session\nAt length, please.")
    for index in range(3):
        opened.run(index)
    readout = output(opened, 2).locator(".widget-readout").first
    expect(readout).to_have_text("3")
    opened.run(3)
    expect(readout).to_have_text("5")
    expect(output(opened, 3)).to_contain_text("set_knob")
    assert opened.errors == []


def test_outputs_survive_a_reload_and_read_the_same_without_a_kernel(
    notebook: MakeNotebook, page: Page
) -> None:
    responses = ("call('add_note', note='milk')", "'I **noted** it.'")
    opened = notebook(
        AGENT, scripted(*responses), "%%session\nNote: milk.", "%session knobs", "%session context"
    )
    opened.run_all()
    assert errors(opened) == []
    opened.save()
    opened.open()
    for seen in ("Tick 1", "add_note", "I noted it.", "simulated"):
        expect(output(opened, 2)).to_contain_text(seen)
    opened.screenshot("reloaded", of=output(opened, 3))
    opened.reopen_without_kernel()
    for seen in ("Tick 1", "add_note", "Noted.", "I noted it.", "simulated"):
        expect(output(opened, 2)).to_contain_text(seen)
    expect(output(opened, 3)).to_contain_text("verbosity")
    expect(output(opened, 4)).to_contain_text("milk")
    expect(page.get_by_text("Error displaying widget")).to_have_count(0)
    opened.screenshot("without-a-kernel", of=output(opened, 4))
    assert opened.errors == []


def test_a_page_reloaded_in_the_middle_gets_the_rest(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(
        AGENT, scripted(f"{LONG!r} * 40", rate=40), "%%session --background\nCount, please.", "%session list"
    )
    for index in range(3):
        opened.run(index)
    expect(output(opened, 2)).to_contain_text("three four")
    opened.save()
    opened.reload()
    expect(output(opened, 2)).to_contain_text("one two three")
    expect(stop_button(opened, 2)).to_be_visible()
    stop_button(opened, 2).click()
    expect(output(opened, 2)).to_contain_text("stopped")


@pytest.mark.parametrize("back", ["in mid-run", "after the end"])
def test_a_page_that_was_reloaded_in_mid_run_has_the_end_in_the_saved_notebook(
    back: str, notebook: MakeNotebook, page: Page
) -> None:
    answer = f"{LONG!r} * 12 + 'and that is **all**.'"
    opened = notebook(AGENT, scripted(answer, rate=40), "%%session\nCount, please.")
    opened.run(0)
    opened.run(1)
    opened.start(2)
    expect(output(opened, 2)).to_contain_text("three four")
    opened.save()
    if back == "after the end":
        page.goto("about:blank")
        opened.lab.until_idle()
    opened.reload()
    expect(output(opened, 2)).to_contain_text("and that is all.")
    expect(stop_button(opened, 2)).to_have_count(0)
    expect(output(opened, 2).locator(".foot")).to_contain_text("simulated")
    (saved,) = opened.save().cells[2].outputs
    assert set(saved["data"]) == {"text/html", "text/markdown", "text/plain"}
    opened.screenshot(f"reloaded-{back.replace(' ', '-')}", of=output(opened, 2))
    opened.reopen_without_kernel()
    expect(output(opened, 2)).to_contain_text("and that is all.")
    assert opened.errors == []


def test_a_session_goes_on_after_a_restart_of_the_kernel(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(
        AGENT,
        "%session new Notepad --id restarted --model simulated",
        "%%session\nAdd a note: bring the umbrella.",
        "%session context",
    )
    opened.run_all()
    assert errors(opened) == []
    opened.restart()
    opened.run(0)
    opened.run(1)
    opened.run(3)
    assert errors(opened) == []
    expect(output(opened, 3)).to_contain_text("bring the umbrella")


def test_a_sweep_fills_in_is_stopped_and_is_legible_wide_and_narrow(
    notebook: MakeNotebook, page: Page
) -> None:
    short, long = "'A short answer.'", "'## A long answer\\n\\n' + 'It goes **on** and on. ' * 30"
    opened = notebook(
        AGENT,
        scripted(
            short, long, "ValueError('the line is dead')", "call('add_note', note='milk')", *[short] * 3
        ),
        '%session sweep tone=friendly,terse verbosity=1,3,5 --message "Who are you?"',
        scripted(short, *[f"{LONG!r} * 200"] * 3, rate=30),
        '%session sweep tone=friendly,terse --repeat 2 --message "Count."',
        "%session sweep verbosity=1,5 --message Hi --context-only",
    )
    for index in range(4):
        opened.run(index)
    table = output(opened, 2).locator("table.grid")
    expect(table.locator("tbody tr")).to_have_count(6)
    expect(table).to_contain_text("the line is dead")
    expect(output(opened, 2)).to_contain_text("What differs in the context, against row 0")
    table.locator("details summary").first.click()
    expect(table.locator("details h2").first).to_be_visible()
    output(opened, 2).get_by_label("with row").select_option("3: tone = terse, verbosity = 1")
    expect(output(opened, 2).locator(".nbs-pair")).to_contain_text("+ You are a terse assistant")
    expect(output(opened, 2).locator(".nbs-pair")).to_contain_text(
        re.compile("Answer: (differs|the same in both)")
    )
    opened.screenshot("sweep-pair", of=output(opened, 2).locator(".nbs-pair"))
    opened.start(4)
    expect(output(opened, 4)).to_contain_text("under way")
    expect(output(opened, 4).locator("tbody tr").first).to_contain_text("A short answer.")
    opened.screenshot("sweep-running", of=stop_button(opened, 4))
    stop_button(opened, 4).click()
    opened.finish()
    expect(output(opened, 4)).to_contain_text("SessionInterrupted: stopped by the user")
    expect(output(opened, 4).locator("tbody tr").first).to_contain_text("A short answer.")
    expect(stop_button(opened, 4)).to_have_count(0)
    opened.run(5)
    expect(output(opened, 5)).to_contain_text("nothing was sent")
    assert opened.errors == []
    for theme in ("Light", "Dark"):
        opened.theme(f"JupyterLab {theme}")
        for width in (1200, 700):
            page.set_viewport_size({"width": width, "height": 900})
            for index in (2, 4, 5):
                opened.screenshot(f"sweep-{index}-{theme.lower()}-{width}", of=output(opened, index))


def test_untrusted_text_is_never_live(notebook: MakeNotebook, page: Page) -> None:
    nasty = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>[click](javascript:hacked)"
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    opened = notebook(
        AGENT,
        f"nasty = {nasty!r} + ' ![](http://192.0.2.1/leak.png) done'",
        scripted("call('add_note', note=nasty)", "nasty"),
        f"%%session\n{nasty}",
        "%session context",
    )
    opened.run_all()
    assert errors(opened) == []
    expect(output(opened, 3)).to_contain_text("done")
    assert page.evaluate("() => window.hacked") is None
    assert page.locator(".jp-OutputArea a[href^='javascript']").count() == 0
    assert not [url for url in requests if "192.0.2.1" in url]


def drag(handle: Locator, page: Page, *, by: int) -> None:
    """Drag a slider's handle by so many pixels, as a hand does."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=8)
    page.mouse.up()
