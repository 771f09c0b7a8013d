from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Knobs,
    Section,
    Session,
    System,
    Timeline,
    allow,
    component,
    deny,
    tool,
    use_knob,
    use_state,
)
from nbsession.content import Image
from nbsession.errors import ModelError, ToolError
from nbsession.events import MessageDelta
from nbsession.models import AnthropicModel
from nbsession.notebook.view.display import LATE
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.live import Page, Ui
from nbsession.notebook.view.transcript import Transcript
from nbsession.testing import ScriptedModel, call
from nbsession.usage import CacheDiagnosis, Usage
from tests.notebook.kernels import Kernel, running_kernel
from tests.support.fake_messages import FakeMessages, status

if TYPE_CHECKING:
    from collections.abc import Iterator

NASTY = "<script>alert(1)</script> {{7*7}} ![x](http://evil.example/p.png) </pre></details>"


@component
def Notepad() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    none: list[str] = []
    notes, set_notes = use_state(none)

    @tool
    def add_note(note: str) -> str:
        """Keep a note for later."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    @tool
    def fail() -> str:
        """Fail."""
        raise ToolError("it rains")

    @tool
    def draw() -> Image:
        """Draw."""
        return Image("image/png", b"\x89PNG")

    @tool(confirm=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    @tool
    def crash() -> str:
        """Raise."""
        raise KeyError("umbrella")

    return [
        System(f"You are a {tone} assistant with a notepad."),
        [add_note, fail, draw, pay, crash],
        notes and Section("\n".join(f"- {note}" for note in notes), id="notepad", title="Notepad"),
        Knobs(),
        Timeline(),
    ]


def opened(*responses: Any) -> Session:
    return App(Notepad, model=ScriptedModel(*responses)).session()


async def shown(session: Session, message: str, **options: Any) -> dict[str, str]:
    view = ExecutionView(session.send(message), **options)
    await view.follow()
    return view.static()


def words(html: str) -> str:
    """What a reader without any style sheet sees."""
    html = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def test_every_tick_stands_with_its_context_its_tools_and_its_answer() -> None:
    session = opened(["Let me note that.", call("add_note", note="milk")], "I **noted** it.")
    html = (await shown(session, "Note: milk."))["text/html"]
    seen = words(html)
    for text in (
        "Tick 0",
        "You are a friendly assistant",
        "Let me note that.",
        "add_note(note=&#34;milk&#34;)",
        "Noted.",
        "Tick 1",
        "added",
        "simulated",
    ):
        assert text in seen
    assert "I <strong>noted</strong> it." in html


async def test_the_difference_from_the_tick_before_is_marked_across_cells() -> None:
    session = opened("Hello.", "Bye.")
    await shown(session, "Hi.")
    session.knobs["tone"] = "terse"
    html = (await shown(session, "And now?"))["text/html"]
    assert "~2 changed" in html  # the system prompt, and the knobs as the model sees them
    assert "<del>− You are a <b>friendly</b> assistant" in html
    assert "<ins>+ You are a <b>terse</b> assistant" in html


async def test_markdown_and_plain_text_hold_the_answer_and_a_line_a_tick() -> None:
    bundle = await shown(opened([call("add_note", note="x")], "Done **well**."), "Go.")
    assert bundle["text/plain"].splitlines()[0].startswith("[tick 0 · ≈")
    assert "called add_note" in bundle["text/plain"]
    assert "Done **well**." in bundle["text/plain"]
    assert "Done **well**." in bundle["text/markdown"]
    assert "You are a friendly" not in bundle["text/markdown"] + bundle["text/plain"]


async def test_nothing_untrusted_becomes_html_anywhere() -> None:
    session = opened(["x " + NASTY, call("add_note", note=NASTY)], NASTY)
    html = (await shown(session, NASTY))["text/html"]
    assert "<script" not in html
    assert "<img" not in html
    assert "{{7*7}}" in html
    assert html.count("<details") == html.count("</details>")
    assert html.count("<pre") == html.count("</pre>")


async def test_a_failed_tool_says_so_and_the_traceback_is_for_the_user() -> None:
    bundle = await shown(opened([call("fail"), call("crash")], "Sorry."), "Go.")
    seen = words(bundle["text/html"])
    assert "fail() error → it rains" in seen
    assert "Traceback, for you only" in seen


async def test_what_a_rule_decided_stands_beside_the_call_in_every_form() -> None:
    model = ScriptedModel([call("add_note", note="a"), call("pay", amount=3), call("fail")], "Done.")
    rules = [allow("pay"), deny("fail")]
    session = App(Notepad, model=model, permissions=rules).session()
    static = await shown(session, "Go.")
    assert re.findall(r"<div class=note>([^<]*)</div>", static["text/html"]) == [
        "allowed by allow(&#34;pay&#34;)",
        "denied by deny(&#34;fail&#34;)",
    ]
    assert (
        'called add_note, pay (allowed by allow("pay")), fail (denied by deny("fail"))'
        in static["text/plain"]
    )
    assert "denied by deny" in static["text/markdown"]
    again = Transcript.of(session.ticks)
    assert [c.decision for c in again.ticks[0].calls] == [
        "",
        'allowed by allow("pay")',
        'denied by deny("fail")',
    ]


async def test_the_error_of_a_tool_is_unfolded_and_in_full() -> None:
    html = (await shown(opened([call("crash")], "Sorry."), "Go."))["text/html"]
    assert '<details class="call error" open>' in html
    assert "KeyError" in words(html)
    assert "umbrella" in words(html)


@component
def Clerk() -> Any:
    @tool
    def stock() -> dict[str, Any]:
        """Look at the shelves."""
        return {"tea": 3, "cake": [1, 2]}

    @tool
    def log() -> str:
        """Read all of the log."""
        return "line of the log\n" * 200_000

    return [System("You keep shop."), stock, log, Timeline()]


async def test_what_the_model_got_stands_beside_what_is_shown_of_it_where_they_differ() -> None:
    session = App(Clerk, model=ScriptedModel([call("stock")], "Some.")).session()
    html = (await shown(session, "What is there?"))["text/html"]
    raw = session.ticks[0].tool_calls[0].result
    assert raw is not None
    assert "&#34;cake&#34;: [\n" in html
    folded = html.partition("As the model got it</summary><pre tabindex=0>")[2].partition("</pre>")[0]
    assert folded.replace("&#34;", '"') == raw.text
    plain = (await shown(opened([call("add_note", note="x")], "Done."), "Go."))["text/html"]
    assert "As the model got it" not in plain


async def test_a_result_of_megabytes_is_bounded_and_says_how_much_more_there_is() -> None:
    session = App(Clerk, model=ScriptedModel([call("log")], "Long.")).session()
    bundle = await shown(session, "Read it.")
    assert re.search(r"… [\d,]+ more characters", bundle["text/html"])
    assert sum(map(len, bundle.values())) < 100_000


async def test_arguments_are_seen_while_they_stream() -> None:
    session = App(
        Notepad, model=ScriptedModel([call("add_note", note="milk and bread " * 20)], "Done.")
    ).session()
    run = Transcript()
    page = Page(run, Ui(live=True))
    streamed = ""
    async for event in session.send("Note it."):
        touched = run.apply(event)
        if touched is not None:
            page.touch(touched)
        for op, slot, text in page.flush():
            streamed += text if op == "txt" and slot.endswith("a") else ""
        if event.type == "content_block_stop" and streamed:
            break
    assert streamed.startswith('{"note": "milk and bread')
    assert streamed.count("milk") == 20


async def test_what_was_sent_comes_to_the_page_once_and_its_heading_follows_the_answer() -> None:
    session = opened("Hello.")
    run = Transcript()
    page = Page(run, Ui(live=True))
    puts: list[tuple[str, str]] = []
    async for event in session.send("A question of its own"):
        touched = run.apply(event)
        if touched is not None:
            page.touch(touched)
        puts += [(slot, html) for op, slot, html in page.flush() if op == "put"]
    assert [slot for slot, html in puts if "A question of its own" in html] == ["t0h"]
    headings = [html for slot, html in puts if slot == "t0l"]
    assert "scripted" in headings[0]
    assert "answer" not in headings[0]
    assert "answer ≈" in headings[-1]
    assert headings[-1] in page.html()


async def test_a_picture_that_a_tool_made_is_shown() -> None:
    html = (await shown(opened([call("draw")], "There."), "Draw."))["text/html"]
    assert 'src="data:image/png;base64,' in html


async def test_a_failed_model_call_stands_in_place_in_one_sentence() -> None:
    session = opened(ModelError("the model is overloaded", retryable=True, kind="overloaded"), "Here again.")
    view = ExecutionView(session.send("Hello."))
    await view.follow()
    bundle = view.static()
    assert "Error: the model is overloaded. Sending the same again may succeed." in words(bundle["text/html"])
    assert "Error: the model is overloaded" in bundle["text/plain"]
    assert "Here again." in (await shown(session, "Still there?"))["text/plain"]


async def test_while_a_busy_model_is_waited_for_the_page_says_so_and_how_long() -> None:
    with FakeMessages() as server:
        server.will(status(529, "overloaded_error", "Busy", retry_after="50"))
        model = AnthropicModel("claude-test-1", base_url=server.url)
        run = Transcript()
        execution = App(Notepad, model=model).session().send("Hello.")
        async for event in execution:
            run.apply(event)
            if event.type == "model_waiting":
                page = words(Page(run, Ui(live=True)).html())
                assert "is overloaded (529): Busy; trying again in 50 s" in page
                execution.abort()
        await model.aclose()
    assert "trying again" not in words(Page(run, Ui(live=True)).html())


async def test_a_tick_without_an_answer_claims_no_source_for_it() -> None:
    session = opened(ModelError("the line is dead"))
    bundle = await shown(session, "Hi.")
    assert "simulated" not in words(bundle["text/html"])
    assert "no answer" in bundle["text/plain"]


async def test_a_stopped_answer_keeps_what_came_and_is_marked() -> None:
    session = App(Notepad, model=ScriptedModel("word " * 500, rate=100)).session()
    execution = session.send("Talk.")
    view = ExecutionView(execution)
    following = asyncio.create_task(view.follow())
    async for event in execution:
        if event.type == "text_delta":
            break
    execution.abort()
    await following
    seen = words(view.static()["text/html"])
    assert "word" in seen
    assert "■ stopped here" in seen
    assert "stopped by the user" in seen


async def test_the_simulated_model_shows_the_rule_it_applied_and_claims_no_thinking() -> None:
    session = App(Notepad, model="simulated").session()
    seen = words((await shown(session, "Hello!"))["text/html"])
    assert "Rule ·" in seen
    assert "Thinking" not in seen
    assert "simulated: rules, no language model" in seen
    scripted = words((await shown(opened("Hello."), "Hello!"))["text/html"])
    assert "simulated: no language model scripted" in scripted


async def test_quiet_shows_the_answer_and_the_footer_only() -> None:
    html = (await shown(opened([call("add_note", note="x")], "Done."), "Go.", quiet=True))["text/html"]
    seen = words(html)
    assert seen.startswith("Done.")
    assert "Tick" not in seen
    assert "add_note" not in seen
    assert "simulated" in seen


async def test_the_footer_says_what_the_provider_could_not_read_from_its_cache_and_why() -> None:
    missed = CacheDiagnosis("the tools changed", "tools_changed", 1_200)
    delta = MessageDelta("end_turn", Usage(1_500, 5), cache_diagnosis=missed)
    session = opened(["One.", delta], "Two.")
    assert "≈1,200 tokens not cached: the tools changed" in words((await shown(session, "Go."))["text/html"])
    assert "not cached" not in words((await shown(session, "On."))["text/html"])


async def test_raw_shows_the_answer_as_the_model_wrote_it() -> None:
    html = (await shown(opened("Done **well**."), "Go.", raw=True))["text/html"]
    assert "<pre class=raw tabindex=0>Done **well**.</pre>" in html


async def test_an_execution_shown_after_its_end_reads_the_same() -> None:
    session = opened([call("add_note", note="x")], "Done.")
    execution = session.send("Go.")
    await execution
    view = ExecutionView(execution)
    await view.follow()
    assert "Done." in words(view.static()["text/html"])


CELL = """
import asyncio
from tests.notebook.test_view import Notepad
from nbsession import App
from nbsession.notebook.view.execution import ExecutionView
from nbsession.testing import ScriptedModel, call

async def show(*responses, rate=0, **options):
    execution = App(Notepad, model=ScriptedModel(*responses, rate=rate)).session().send("Hello.")
    view = ExecutionView(execution, **options)
    view.display()
    await view.follow()
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as started:
        assert started.run(CELL).error is None
        yield started


def messages(kernel: Kernel, comm: str) -> list[dict[str, Any]]:
    """What was sent to the page over one comm."""
    found = (m["content"] for m in kernel.messages if m["msg_type"] == "comm_msg")
    return [
        c["data"]["content"] for c in found if c["comm_id"] == comm and c["data"].get("method") == "custom"
    ]


def widget(kernel: Kernel, cell: str) -> str:
    """The comm of the live view that a cell opened."""

    def is_ours(message: dict[str, Any]) -> bool:
        if message["msg_type"] != "comm_open" or message["parent_header"].get("msg_id") != cell:
            return False
        return bool(message["content"]["data"]["state"].get("_model_module") == "anywidget")

    return str(kernel.until(is_ours)["content"]["comm_id"])


def say(kernel: Kernel, comm: str, **content: Any) -> None:
    kernel.comm(comm, {"method": "custom", "content": content})


@pytest.mark.timeout(90)
def test_one_output_is_live_first_and_static_ever_after(kernel: Kernel) -> None:
    ran = kernel.run("await show('I **see**.')")
    assert ran.error is None
    (live,) = ran.of("display_data")
    (static,) = ran.of("update_display_data")
    assert live["transient"]["display_id"] == static["transient"]["display_id"]
    assert "application/vnd.jupyter.widget-view+json" in live["data"]
    assert set(static["data"]) == {"text/html", "text/markdown", "text/plain"}


@pytest.mark.timeout(90)
def test_without_widgets_the_static_form_comes_alone(kernel: Kernel) -> None:
    ran = kernel.run("await show('I **see**.', live=False)")
    assert ran.of("comm_open") == []
    assert "I **see**." in ran.shown[-1]


@pytest.mark.timeout(90)
def test_a_view_that_says_hello_gets_everything_and_then_each_change_once(kernel: Kernel) -> None:
    id_ = kernel.start("await show('one two three four five ' * 40, rate=100)")
    comm = widget(kernel, id_)
    say(kernel, comm, k="hello", me="me")
    everything = kernel.until(lambda m: m["content"].get("data", {}).get("content", {}).get("for") == "me")
    everything = everything["content"]["data"]["content"]
    assert everything["k"] == "all"
    assert "data-s=ticks" in everything["html"]
    kernel.finish(id_)
    numbers = [message["n"] for message in messages(kernel, comm) if message["k"] == "ops"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert everything["n"] in (0, *numbers)


@pytest.mark.timeout(90)
def test_a_page_that_cannot_be_heard_is_sent_everything_unasked(kernel: Kernel) -> None:
    id_ = kernel.start("await show('word ' * 5000, rate=50)")
    comm = widget(kernel, id_)
    unasked = kernel.until(lambda m: m["content"].get("data", {}).get("content", {}).get("for") == "*")
    assert "data-do=stop" in unasked["content"]["data"]["content"]["html"]
    say(kernel, comm, k="stop")
    kernel.finish(id_)


@pytest.mark.timeout(90)
def test_stop_on_the_page_stops_the_execution_and_is_acknowledged(kernel: Kernel) -> None:
    id_ = kernel.start("await show('word ' * 5000, rate=50)")
    comm = widget(kernel, id_)
    kernel.until(lambda m: m["content"].get("comm_id") == comm and "word" in str(m["content"]))
    say(kernel, comm, k="stop")
    ran = kernel.finish(id_)
    assert any(message["k"] == "ack" for message in messages(kernel, comm))
    assert "stopped by the user" in ran.shown[-1]


@pytest.mark.timeout(90)
def test_what_the_reader_unfolded_stays_so_in_the_static_form(kernel: Kernel) -> None:
    id_ = kernel.start("await show('word ' * 60, rate=50)")
    comm = widget(kernel, id_)
    say(kernel, comm, k="open", d="t0", open=True)
    (static,) = kernel.finish(id_).of("update_display_data")
    assert "<details class=ctx open>" in static["data"]["text/html"]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("ok", "seen"), [(True, "paid 5"), (False, "denied")])
def test_a_tool_that_asks_waits_for_the_button(kernel: Kernel, ok: bool, seen: str) -> None:
    id_ = kernel.start("await show([call('pay', amount=5)], 'Done.')")
    comm = widget(kernel, id_)
    asked = kernel.until(lambda m: m["content"].get("comm_id") == comm and "data-do=" in str(m["content"]))
    button = re.search(r"yes:(p\d+)", str(asked["content"]))
    assert button is not None
    say(kernel, comm, k="answer", call=button[1], ok=ok)
    assert seen in kernel.finish(id_).of("update_display_data")[0]["data"]["text/html"]


@pytest.mark.timeout(90)
def test_a_reader_may_edit_the_arguments_and_is_told_what_is_wrong_at_the_field(kernel: Kernel) -> None:
    id_ = kernel.start("await show([call('pay', amount=5)], 'Done.')")
    comm = widget(kernel, id_)
    asked = kernel.until(lambda m: m["content"].get("comm_id") == comm and "edit:p" in str(m["content"]))
    button = re.search(r"edit:(p\d+)", str(asked["content"]))
    assert button is not None
    say(kernel, comm, k="answer", call=button[1], ok=True, fields={"amount": "1.5"})
    kernel.until(lambda m: m["content"].get("comm_id") == comm and "got 1.5" in str(m["content"]))
    say(kernel, comm, k="answer", call=button[1], ok=True, fields={"amount": "7"})
    assert "paid 7" in kernel.finish(id_).of("update_display_data")[0]["data"]["text/html"]


@pytest.mark.timeout(90)
def test_a_cell_that_is_interrupted_still_shows_what_came(kernel: Kernel) -> None:
    id_ = kernel.start("await asyncio.wait_for(show('word ' * 5000, rate=50), 1)")
    ran = kernel.finish(id_)
    assert ran.error is not None
    assert ran.error["ename"] == "TimeoutError"
    (static,) = ran.of("update_display_data")
    assert "■ stopped here" in static["data"]["text/html"]


@pytest.mark.timeout(90)
def test_a_page_loaded_in_mid_run_is_given_the_end_for_its_output(kernel: Kernel) -> None:
    id_ = kernel.start("await show('one two three ' * 20, rate=50)")
    comm = widget(kernel, id_)
    say(kernel, comm, k="hello", me="before")
    say(kernel, comm, k="hello", me="after")
    (update,) = kernel.finish(id_).of("update_display_data")
    (end,) = (message for message in messages(kernel, comm) if message["k"] == "end")
    assert end == {"k": "end", "for": "*", "id": comm, "data": update["data"]}
    assert "Stop" not in end["data"]["text/html"]
    assert "one two three" in end["data"]["text/html"]


@pytest.mark.timeout(90)
def test_a_page_that_comes_after_the_end_is_given_it_too(kernel: Kernel) -> None:
    id_ = kernel.start("await show('one two three')")
    comm = widget(kernel, id_)
    (update,) = kernel.finish(id_).of("update_display_data")
    say(kernel, comm, k="hello", me="late")
    late = kernel.until(lambda m: m["content"].get("data", {}).get("content", {}).get("for") == "late")
    assert late["content"]["data"]["content"]["data"] == update["data"]


@pytest.mark.timeout(90)
def test_the_widgets_of_old_outputs_are_closed_unless_a_page_shows_them_still(kernel: Kernel) -> None:
    old, standing = (widget(kernel, kernel.run("await show('Hello.')").id) for _ in range(2))
    say(kernel, standing, k="stands")
    for _ in range(LATE):
        kernel.run("await show('Hello.')")
    closed = [m["content"]["comm_id"] for m in kernel.messages if m["msg_type"] == "comm_close"]
    assert old in closed
    assert standing not in closed


async def test_of_many_outputs_only_some_carry_the_style_sheet() -> None:
    session = opened(*["Hello."] * 20)
    carried = [("<style>" in (await shown(session, "Hello."))["text/html"]) for _ in range(20)]
    assert 1 <= sum(carried) <= 10
