"""Sessions as OpenTelemetry spans."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from nbsession import (
    App,
    Model,
    ModelError,
    Pause,
    Section,
    System,
    Timeline,
    ToolError,
    component,
    tool,
    use_session,
)
from nbsession.errors import RenderError, SessionError
from nbsession.events import MessageDelta
from nbsession.testing import ScriptedModel, call, pause
from nbsession.traces import instrument
from nbsession.traces.instrument import CAPTURE
from nbsession.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "the-secret-text"


class Collected:
    """A tracer provider, and the spans that ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def parent(self, name: str) -> str | None:
        above = self.named(name).parent
        if above is None:
            return None
        (found,) = [
            span.name for span in self.spans if span.context and span.context.span_id == above.span_id
        ]
        return found


@pytest.fixture
def collected() -> Collected:
    return Collected()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@tool
def look_up(city: str) -> str:
    """Look a city up."""
    trace.get_tracer("mine").start_span("inside the tool").end()
    return f"{SECRET} of {city}"


@component
def Guide(tools: Any = (look_up,)) -> Any:
    return [System(f"You are {SECRET}."), Model(temperature=0.5, max_tokens=100), *tools, Timeline()]


def guide(*responses: Any, **options: Any) -> App:
    return App(Guide, model=ScriptedModel(*responses), **options)


async def test_an_execution_its_model_calls_and_its_tools_are_spans_of_the_conventions_names(
    collected: Collected,
) -> None:
    usage = Usage(
        input_tokens=100, output_tokens=7, cache_read_tokens=40, cache_write_tokens=5, thinking_tokens=3
    )
    app = guide([call("look_up", city="Bern"), MessageDelta("tool_use", usage)], "It rains.")
    instrument(app, tracer_provider=collected.provider)
    session = app.session("trip")
    await session.send("Weather?")

    names = [span.name for span in collected.spans]
    assert names == ["chat scripted", "execute_tool look_up", "chat scripted", "invoke_agent Guide"]
    chat, ran, last, agent = collected.spans
    assert attributes(agent) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "Guide",
        "gen_ai.conversation.id": "trip",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": session.usage.input_tokens,
        "gen_ai.usage.output_tokens": session.usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_write.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "nbsession.usage.estimated": True,  # the second answer's are
        "nbsession.stop_reason": "end_turn",
    }
    said = attributes(chat)
    assert said.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": "Guide",
        "gen_ai.conversation.id": "trip",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_write.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "nbsession.source": "simulated",
        "nbsession.tick": 0,
        "nbsession.context.hash": session.ticks[0].context.hash,
    }
    assert attributes(ran) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.agent.name": "Guide",
        "gen_ai.conversation.id": "trip",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": session.ticks[0].tool_calls[0].id,
        "gen_ai.tool.description": "Look a city up.",
    }
    assert attributes(last)["gen_ai.response.finish_reasons"] == ("stop",)
    assert chat.kind is SpanKind.INTERNAL  # no service was asked
    assert {span.parent.span_id for span in (chat, ran, last) if span.parent} == {
        agent.context and agent.context.span_id
    }


async def test_a_span_lasts_as_long_as_what_it_is_of(collected: Collected) -> None:
    stop = pause()
    app = guide(["It", stop, " rains."])
    instrument(app, tracer_provider=collected.provider)
    execution = app.session().send("Weather?")
    await stop.reached
    assert not collected.spans
    stop.release()
    await execution
    times = [(span.start_time or 0, span.end_time or 0) for span in collected.spans]
    (chat_began, chat_ended), (agent_began, agent_ended) = times
    assert 0 < agent_began <= chat_began < chat_ended <= agent_ended


@pytest.mark.parametrize(
    ("variable", "asked", "told"),
    [
        ("", None, False),
        ("true", None, True),
        ("SPAN_ONLY", None, True),
        ("SPAN_AND_EVENT", None, True),
        ("EVENT_ONLY", None, False),
        ("false", None, False),
        ("true", False, False),
        ("", True, True),
    ],
)
async def test_content_is_in_spans_only_where_it_is_asked_for(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, variable: str, asked: bool | None, told: bool
) -> None:
    monkeypatch.setenv(CAPTURE, variable)

    @tool
    def fail(why: str) -> str:
        """Fail."""
        raise ValueError(SECRET)

    app = App(Guide(tools=[fail]), model=ScriptedModel(call("fail", why=SECRET), SECRET, ModelError(SECRET)))
    instrument(app, tracer_provider=collected.provider, content=asked)
    session = app.session()
    await session.send(SECRET)
    with pytest.raises(ModelError):
        await session.send(SECRET)
    assert (SECRET in "".join(span.to_json() for span in collected.spans)) is told


async def test_content_is_written_as_the_conventions_have_it(collected: Collected) -> None:
    app = guide(["Let me look.", call("look_up", city="Bern")], "It rains.")
    instrument(app, tracer_provider=collected.provider, content=True)
    session = app.session()
    await session.send("Weather?")
    first, ran, second, _ = map(attributes, collected.spans)
    (call_id,) = [run.id for run in session.ticks[0].tool_calls]
    assert json.loads(first["gen_ai.system_instructions"]) == [
        {"type": "text", "content": f"You are {SECRET}."}
    ]
    assert json.loads(first["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}
    ]
    asked = {"type": "tool_call", "id": call_id, "name": "look_up", "arguments": {"city": "Bern"}}
    parts = [{"type": "text", "content": "Let me look."}, asked]
    assert json.loads(first["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": parts, "finish_reason": "tool_call"}
    ]
    (definition,) = json.loads(first["gen_ai.tool.definitions"])
    assert (definition["type"], definition["name"], definition["description"]) == (
        "function",
        "look_up",
        "Look a city up.",
    )
    assert definition["parameters"]["properties"]["city"]["type"] == "string"
    assert json.loads(ran["gen_ai.tool.call.arguments"]) == {"city": "Bern"}
    assert ran["gen_ai.tool.call.result"] == f"{SECRET} of Bern"
    given = {"type": "tool_call_response", "id": call_id, "response": f"{SECRET} of Bern"}
    assert json.loads(second["gen_ai.input.messages"])[-1] == {"role": "user", "parts": [given]}


async def test_the_senders_span_is_above_the_execution_also_of_one_that_was_queued(
    collected: Collected,
) -> None:
    stop = pause()
    app = guide([stop, "One."], "Two.")
    instrument(app, tracer_provider=collected.provider)
    session = app.session()
    with collected.tracer.start_as_current_span("first caller") as first:
        one = session.send("1")
    with collected.tracer.start_as_current_span("second caller") as second:
        two = session.send("2")
    assert trace.get_current_span() is trace.INVALID_SPAN
    await stop.reached
    stop.release()
    await one
    await two
    agents = [span for span in collected.spans if span.name == "invoke_agent Guide"]
    assert [span.parent for span in agents] == [first.get_span_context(), second.get_span_context()]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_senders_span_is_above_a_blocking_run_from_any_thread(collected: Collected) -> None:
    app = guide(*["Fine."] * 4)
    instrument(app, tracer_provider=collected.provider)
    above: dict[str, Any] = {}

    def run(id: str) -> None:
        with collected.tracer.start_as_current_span(id) as span:
            above[id] = span.get_span_context()
            app.session(id).run("Hello")

    threads = [threading.Thread(target=run, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    agents = [span for span in collected.spans if span.name == "invoke_agent Guide"]
    assert {attributes(span)["gen_ai.conversation.id"]: span.parent for span in agents} == above


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "unthreaded", "parallel"])
async def test_spans_of_a_tools_own_stand_below_it_wherever_it_runs(collected: Collected, kind: str) -> None:
    def record(place: str) -> str:
        collected.tracer.start_span(f"in {place}").end()
        return place

    @tool
    def sync(place: str) -> str:
        """Run in a thread."""
        return record(place)

    @tool(name="async")
    async def asynchronous(place: str) -> str:
        """Run on the loop."""
        await asyncio.sleep(0)
        return record(place)

    @tool
    def generator(place: str) -> Any:
        """Run step by step."""
        yield "on it"
        return record(place)

    @tool(thread=False)
    def unthreaded(place: str) -> str:
        """Run here."""
        return record(place)

    met = threading.Barrier(2, timeout=10)

    @tool(parallel=True)
    def parallel(place: str) -> str:
        """Run beside another."""
        met.wait()
        return record(place)

    asked = [call(kind, place="a"), call(kind, place="b")]
    tools = [sync, asynchronous, generator, unthreaded, parallel]
    app = App(Guide(tools=tools), model=ScriptedModel(asked, "Done."))
    instrument(app, tracer_provider=collected.provider, content=True)
    await app.session().send("Go")
    ran = [span for span in collected.spans if span.name == f"execute_tool {kind}"]
    places = {attributes(span)["gen_ai.tool.call.result"]: span.get_span_context() for span in ran}
    assert {place: collected.named(f"in {place}").parent for place in "ab"} == places


async def test_a_tool_on_its_users_own_loop_has_its_span_there(collected: Collected) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    @tool
    async def record() -> str:
        """Run on the user's loop."""
        collected.tracer.start_span("own").end()
        return "done"

    try:
        app = App(Guide(tools=[record]), model=ScriptedModel(call("record"), "Done."))
        app.home.bind(asyncio.get_running_loop(), user_loop=loop)
        instrument(app, tracer_provider=collected.provider)
        await app.session().send("Go")
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert collected.parent("own") == "execute_tool record"


async def test_what_a_model_adapter_does_stands_below_its_call(collected: Collected) -> None:
    def answer(context: Any) -> str:
        collected.tracer.start_span("request").end()
        return "Fine."

    app = guide(answer)
    instrument(app, tracer_provider=collected.provider)
    await app.session().send("Hello")
    assert collected.parent("request") == "chat scripted"


async def test_a_sub_agent_stands_below_the_tool_that_spawned_it(collected: Collected) -> None:
    @component
    def Helper() -> Any:
        return [Section("Help."), Timeline()]

    @component
    def Lead() -> Any:
        session = use_session()

        @tool
        async def delegate(task: str) -> str:
            """Have it done."""
            return (await session.spawn(Helper, task)).text

        return [delegate, Timeline()]

    app = App(Lead, model=ScriptedModel(call("delegate", task="rest"), "I rested.", "Done."))
    instrument(app, tracer_provider=collected.provider)
    await app.session().send("Go")
    assert collected.parent("invoke_agent Helper") == "execute_tool delegate"
    assert collected.parent("execute_tool delegate") == "invoke_agent Lead"


async def test_a_failed_call_says_of_what_kind_on_its_span_and_the_executions(collected: Collected) -> None:
    app = guide(["It", ModelError("too busy", kind="overloaded")])
    instrument(app, tracer_provider=collected.provider)
    with pytest.raises(ModelError):
        await app.session().send("Hello")
    chat, agent = collected.spans
    assert [span.status.status_code for span in (chat, agent)] == [StatusCode.ERROR] * 2
    assert [attributes(span)["error.type"] for span in (chat, agent)] == ["overloaded"] * 2
    assert attributes(chat)["gen_ai.response.finish_reasons"] == ("error",)
    assert attributes(agent)["nbsession.stop_reason"] == "error"


async def test_an_execution_that_never_asked_a_model_has_its_error(collected: Collected) -> None:
    @component
    def Broken() -> Any:
        raise RuntimeError("no")

    app = App(Broken, model=ScriptedModel())
    instrument(app, tracer_provider=collected.provider)
    with pytest.raises(RenderError):
        await app.session().send("Hello")
    (agent,) = collected.spans
    assert attributes(agent)["error.type"] == "render"


async def test_a_stopped_execution_ends_all_its_spans_and_is_no_error(collected: Collected) -> None:
    stop = pause()
    app = guide(["It", stop, " rains."])
    instrument(app, tracer_provider=collected.provider)
    execution = app.session().send("Weather?")
    await stop.reached
    execution.abort()
    await execution
    chat, agent = collected.spans
    assert [span.status.status_code for span in (chat, agent)] == [StatusCode.UNSET] * 2
    assert attributes(chat)["gen_ai.response.finish_reasons"] == ("error",)
    assert attributes(agent)["nbsession.stop_reason"] == "aborted"


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_tool_that_is_stopped_ends_its_span(
    collected: Collected, parallel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    @tool(parallel=parallel)
    async def wait() -> str:
        """Wait for ever."""
        begun.set()
        await asyncio.Event().wait()
        return ""

    app = App(Guide(tools=[wait]), model=ScriptedModel([call("wait"), call("wait")], "On."))
    instrument(app, tracer_provider=collected.provider)
    session = app.session()
    with caplog.at_level(logging.WARNING):
        execution = session.send("Go")
        await begun.wait()
        execution.abort()
        await execution
        await session.send("And on?")
    ran = [span for span in collected.spans if span.name == "execute_tool wait"]
    assert len(ran) == (2 if parallel else 1)
    assert {attributes(span)["error.type"] for span in ran} == {"interrupted"}
    assert caplog.records == []


async def test_a_tools_failure_has_its_class_and_a_deliberate_one_its_status(collected: Collected) -> None:
    @tool
    def trip() -> str:
        """Fail by accident."""
        raise ZeroDivisionError("by: zero")

    @tool
    def refuse() -> str:
        """Fail on purpose."""
        raise ToolError("not: today")

    app = App(
        Guide(tools=[trip, refuse]), model=ScriptedModel([call("trip"), call("refuse"), call("gone")], "Oh.")
    )
    instrument(app, tracer_provider=collected.provider)
    await app.session().send("Go")
    assert attributes(collected.named("execute_tool trip"))["error.type"] == "ZeroDivisionError"
    assert attributes(collected.named("execute_tool refuse"))["error.type"] == "error"
    assert "execute_tool gone" not in {span.name for span in collected.spans}  # nothing ran


async def test_a_tool_that_asks_ends_its_span_and_its_answer_is_an_execution_of_its_own(
    collected: Collected,
) -> None:
    @tool
    def choose() -> str:
        """Ask somebody."""
        raise Pause("Which?")

    app = App(Guide(tools=[choose]), model=ScriptedModel(call("choose"), "Thanks."))
    instrument(app, tracer_provider=collected.provider)
    session = app.session()
    paused = await session.send("Go")
    assert paused.stop_reason == "paused"
    assert attributes(collected.named("invoke_agent Guide"))["nbsession.stop_reason"] == "paused"
    assert collected.named("execute_tool choose").status.status_code is StatusCode.UNSET
    await session.answer(session.waiting[0].id, "this")
    agents = [span for span in collected.spans if span.name == "invoke_agent Guide"]
    assert [attributes(span)["nbsession.stop_reason"] for span in agents] == ["paused", "end_turn"]


async def test_instrumenting_again_replaces_and_one_session_can_be_instrumented_alone() -> None:
    first, second = Collected(), Collected()
    app = guide("One.", "Two.")
    mine, other = app.session("mine"), app.session("other")
    instrument(mine, tracer_provider=first.provider)
    await other.send("Hello")
    assert first.spans == ()
    instrument(app, tracer_provider=second.provider)
    await mine.send("Hello")
    assert (len(first.spans), len(second.spans)) == (0, 2)


async def test_forks_and_sweeps_of_an_instrumented_app_are_told_too(collected: Collected) -> None:
    app = guide(*["Fine."] * 4)
    instrument(app, tracer_provider=collected.provider)
    session = app.session("first")
    await session.send("Hello")
    await session.fork(id="second").send("And?")
    await session.sweep("Again?", repeat=2)
    told = [attributes(span)["gen_ai.conversation.id"] for span in collected.spans if "invoke" in span.name]
    assert told[:2] == ["first", "second"]
    assert len(set(told)) == 4


async def test_text_that_is_no_unicode_reaches_no_exporter(collected: Collected) -> None:
    @tool
    def echo() -> str:
        """Give half a character."""
        return "half \ud83d"

    app = App(Guide(tools=[echo]), model=ScriptedModel(call("echo"), "Odd \ud83d."))
    instrument(app, tracer_provider=collected.provider, content=True)
    await app.session("half \ud83d").send("Go \ud83d")
    for span in collected.spans:
        span.to_json().encode()
        assert all(value.encode() for value in attributes(span).values() if isinstance(value, str))


def test_anything_but_an_app_or_a_session_is_refused() -> None:
    with pytest.raises(SessionError, match=r"takes an App or a Session, got Component: <component Guide>"):
        instrument(Guide)  # type: ignore[arg-type]


def test_opentelemetry_is_loaded_only_where_spans_are_asked_for() -> None:
    code = (
        "import sys, nbsession.traces; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(SessionError, match=r'pip install "nbsession\[otel\]"'):
        instrument(guide())
