"""What other tools recorded, opened as ticks; the files are described in ``files/README.md``."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import zstandard
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nbsession import App, Model, System, Timeline, ToolError, component, tool
from nbsession.content import Document, Image, Text, Thinking, ToolResult
from nbsession.errors import SessionError
from nbsession.testing import ScriptedModel, call
from nbsession.traces import Trace, instrument, load

FILES = Path(__file__).parent / "files"
SCRIPT = "<script>alert(1)</script>"

TALKS = [
    "weather.eval",
    "weather.json",
    "events.otlp.jsonl",
    "chatlas.otlp.jsonl",
    "pydantic_ai.otlp.jsonl",
    "chatlas.json",
    "chatlas.jsonl",
]
"""In each, a model calls the tool ``weather``, reads what it gave, and answers."""


def talk(name: str) -> Trace:
    return load(FILES / name)[0]


def write(path: Path, *documents: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, documents)), "utf-8")
    return path


@pytest.mark.parametrize("name", TALKS)
def test_a_conversation_with_a_tool_is_two_ticks_whatever_tool_wrote_it(name: str) -> None:
    trace = talk(name)
    asks, answers = trace.ticks
    assert [tick.number for tick in trace.ticks] == [0, 1]
    assert asks.context.system.text.startswith("You tell the weather.")
    assert [message.text for message in asks.context.messages] == ["What is the weather in Bern?"]
    (run,) = asks.tool_calls
    assert run.result is not None
    assert (run.name, run.result.text) in [("weather", f"It rains in {city}.") for city in ("Bern", "a")]
    assert answers.context.messages[-1].text == run.result.text
    assert answers.text.startswith("Take an umbrella.")
    assert [entry.role for entry in trace.timeline] == ["user", "assistant", "tool", "assistant"]
    assert len(trace.conversation.turns) == 1


@pytest.mark.parametrize("name", TALKS)
def test_a_tick_says_that_it_is_foreign_and_by_what_it_was_written(name: str) -> None:
    trace = talk(name)
    assert {tick.source for tick in trace.ticks} == {trace.source}
    assert trace.source.startswith("foreign trace from ")


@pytest.mark.parametrize("name", TALKS)
def test_what_stays_the_same_from_tick_to_tick_is_no_difference(name: str) -> None:
    asks, answers = talk(name).ticks
    diff = answers.context.diff(asks.context)
    assert [part.role for part in diff.added] == ["assistant", answers.context.flow[-1].role]
    assert (diff.removed, diff.changed, diff.moved, diff.prefix_broken_by) == ((), (), (), None)


def test_an_inspect_log_has_its_version_tools_settings_usage_times_and_scores() -> None:
    for name in ("weather.eval", "weather.json"):
        trace = talk(name)
        tick = trace.ticks[0]
        assert trace.source == "foreign trace from inspect 0.3.285"
        assert trace.id == "bern"
        assert "scored by includes: C" in trace.notes
        assert [spec.name for spec in tick.context.tools] == ["weather"]
        assert dict(tick.context.settings) == {"max_tokens": 100, "temperature": 0.5}
        usage = tick.usage
        assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (56, 16, 9)
        assert not usage.estimated
        assert tick.asked == tick.model == "mockllm/model"
        assert [tick.stop_reason for tick in trace.ticks] == ["tool_use", "end_turn"]
        assert tick.ended is not None
        assert 1_700_000_000 < tick.started <= tick.ended <= trace.ticks[1].started
        (run,) = tick.tool_calls
        assert run.result is not None
        assert run.result.duration > 0


def test_the_samples_of_a_log_are_conversations_by_their_ids() -> None:
    traces = load(FILES / "weather.eval")
    assert traces.ids == ["bern", "hostile"]
    assert traces["hostile"].ticks[0].text == SCRIPT
    assert [trace.id for trace in traces[:1]] == ["bern"]
    with pytest.raises(SessionError, match=r"has no conversation 'berm'; did you mean 'bern'\?"):
        traces["berm"]


def test_spans_have_their_providers_names_settings_and_usage() -> None:
    trace = talk("events.otlp.jsonl")
    tick = trace.ticks[0]
    assert (tick.asked, tick.model) == ("openai:gpt-test", "openai:gpt-test-1")
    assert dict(tick.context.settings) == {"temperature": 0.5}
    assert (tick.usage.input_tokens, tick.usage.output_tokens) == (60, 9)
    assert any("which tools were sent is unknown" in note for note in trace.notes)
    assert talk("pydantic_ai.otlp.jsonl").source == "foreign trace from pydantic-ai 2.68.0"
    assert talk("pydantic_ai.otlp.jsonl").ticks[0].context.tools[0].name == "weather"


def test_what_a_record_does_not_have_is_unknown_or_estimated_and_said() -> None:
    turns, sample = talk("chatlas.json"), talk("chatlas.jsonl")
    assert {tick.asked for tick in turns.ticks} == {"unknown"}
    assert "which model was asked is unknown" in turns.notes
    assert not turns.ticks[0].usage.estimated
    assert (turns.ticks[0].usage.input_tokens, turns.ticks[0].usage.cache_read_tokens) == (60, 20)
    assert turns.ticks[0].started == 0
    tick = sample.ticks[0]
    assert tick.usage.estimated
    assert tick.usage.input_tokens == tick.context.tokens
    assert tick.cost is None


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("ending", [".html", ".md", ".json"])
def test_a_trace_is_exported_as_a_session_is_and_its_texts_stay_texts(
    tmp_path: Path, name: str, ending: str
) -> None:
    trace = load(FILES / name)[-1]
    path = tmp_path / f"page{ending}"
    trace.export(path)
    written = path.read_text("utf-8")
    assert "foreign trace from" in written
    if ending == ".html":
        assert SCRIPT not in written
        assert written.count("<script") == 2  # its data, and its own script
    with pytest.raises(SessionError, match="is there already"):
        trace.export(path)
    trace.export(path, force=True)


@pytest.mark.parametrize("ending", [".html", ".md", ".json"])
def test_an_exported_trace_says_what_is_to_be_known_of_it(tmp_path: Path, ending: str) -> None:
    trace = talk("chatlas.json")
    path = tmp_path / f"page{ending}"
    trace.export(path)
    for note in trace.notes:
        assert note in path.read_text("utf-8")


def test_what_a_record_calls_its_tool_is_one_line_without_anything_hidden_and_no_markup(
    tmp_path: Path,
) -> None:
    log = a_log()
    log["eval"]["packages"]["inspect_ai"] = f"1\n\x1b[31m{SCRIPT}" + "x" * 500
    trace = load(write(tmp_path / "log.json", log))[0]
    assert trace.source.startswith(f"foreign trace from inspect 1 ⟨U+001B⟩[31m{SCRIPT}xxx")
    assert len(trace.source) == 200
    for ending in (".html", ".md"):
        trace.export(tmp_path / f"page{ending}")
    assert SCRIPT not in (tmp_path / "page.html").read_text("utf-8")
    written = (tmp_path / "page.md").read_text("utf-8")
    assert written.count(SCRIPT) == written.count(f"`{trace.source}`") > 0


def test_a_trace_is_exported_as_what_can_be_written_of_it_only(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"end it with one of \.html, \.md, \.json"):
        talk("chatlas.json").export(tmp_path / "program.py")


# Our own spans


def test_sessions_spans_with_their_content_are_read_back_to_the_same_contexts(tmp_path: Path) -> None:
    @tool
    def look_up(city: str) -> str:
        """Look a city up."""
        if city == "Nowhere":
            raise ToolError("there is no such city")
        return f"{city} is a city"

    @component
    def Guide() -> Any:
        return [System("You know cities."), Model(temperature=0.5, max_tokens=64), look_up, Timeline()]

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    model = ScriptedModel(
        [call("look_up", city="Bern"), call("look_up", city="Nowhere")], "So it is.", "Bye."
    )
    app = App(Guide, model=model)
    instrument(app, tracer_provider=provider, content=True)
    session = app.session("trip")
    session.run("Is Bern a city?")
    session.run("Thanks.")

    spans = [json.loads(span.to_json()) for span in exporter.get_finished_spans()]
    trace = load(write(tmp_path / "spans.json", exported(spans)))["trip"]
    assert [tick.context.hash for tick in trace.ticks] == [tick.context.hash for tick in session.ticks]
    assert [tick.text for tick in trace.ticks] == [tick.text for tick in session.ticks]
    assert [tick.usage for tick in trace.ticks] == [tick.usage for tick in session.ticks]
    assert [entry.text for entry in trace.timeline] == [entry.text for entry in session.timeline]
    assert [turn.text for turn in trace.conversation.turns] == ["Is Bern a city?", "Thanks."]
    assert [run.result and run.result.is_error for run in trace.ticks[0].tool_calls] == [False, True]


def exported(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the spans of OpenTelemetry's own JSON as OTLP has them."""

    def value(given: Any) -> dict[str, Any]:
        if isinstance(given, list):
            return {"arrayValue": {"values": list(map(value, given))}}
        kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
        return {kinds[type(given)]: str(given) if type(given) is int else given}

    def leaf(at: int, span: dict[str, Any]) -> dict[str, Any]:
        return {
            "traceId": span["context"]["trace_id"][2:],
            "spanId": span["context"]["span_id"][2:],
            "name": span["name"],
            "startTimeUnixNano": str(10**18 + at),
            "endTimeUnixNano": str(10**18 + at + 1),
            "attributes": [{"key": key, "value": value(given)} for key, given in span["attributes"].items()],
        }

    scope = {"scope": {"name": "nbsession"}, "spans": [leaf(at, span) for at, span in enumerate(spans)]}
    return {"resourceSpans": [{"scopeSpans": [scope]}]}


def span(of: int = 1, conversation: str = "", **attributes: Any) -> dict[str, Any]:
    """Make a span of a model call."""
    given = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **attributes}
    if conversation:
        given["gen_ai.conversation.id"] = conversation
    context = {"trace_id": f"0x{'a' * 31}{of}", "span_id": f"0x{of:016x}"}
    return {"context": context, "name": "chat m", "attributes": given}


def messages(*said: tuple[str, Any]) -> str:
    parts = [
        {"role": role, "parts": given if isinstance(given, list) else [text(given)]} for role, given in said
    ]
    return json.dumps(parts)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "content": said}


def of_spans(path: Path, *spans: dict[str, Any]) -> Trace:
    return load(write(path / "spans.json", exported(list(spans))))[0]


def test_conversations_of_one_file_are_told_apart(tmp_path: Path) -> None:
    spans = [span(1, "a"), span(2, "b"), span(3, "a"), span(4), span(5)]
    path = write(tmp_path / "spans.jsonl", exported(spans[:2]), exported(spans[2:]))
    traces = load(path)
    assert {trace.id: len(trace.ticks) for trace in traces} == {
        "a": 2, "b": 1, f"{'a' * 31}4": 1, f"{'a' * 31}5": 1,
    }  # fmt: skip


def test_calls_that_were_recorded_without_content_are_ticks_with_their_figures(tmp_path: Path) -> None:
    usage = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3}
    trace = of_spans(tmp_path, span(1, "a", **usage), span(2, "a", **usage))
    assert [(tick.usage.input_tokens, tick.context.tokens) for tick in trace.ticks] == [(7, 0)] * 2
    assert any("only figures are known" in note for note in trace.notes)
    assert len(trace.conversation.ticks) == 2


def test_a_new_message_of_the_users_begins_a_turn_and_a_rewritten_past_does_not_repeat_it(
    tmp_path: Path,
) -> None:
    first = messages(("user", "One?"))
    second = messages(("user", "One?"), ("assistant", "1."), ("user", "Two?"))
    third = messages(("user", "In short: one, two."), ("user", "Three?"))
    trace = of_spans(
        tmp_path,
        *[
            span(
                number,
                "a",
                **{"gen_ai.input.messages": sent, "gen_ai.output.messages": messages(("assistant", said))},
            )
            for number, sent, said in ((1, first, "1."), (2, second, "2."), (3, third, "3."))
        ],
    )
    assert [turn.text for turn in trace.conversation.turns] == [
        "One?",
        "Two?",
        "In short: one, two.\n\nThree?",
    ]
    assert [message.text for message in trace.ticks[2].context.messages] == ["In short: one, two.\n\nThree?"]


def test_a_failed_call_has_what_it_failed_with_and_a_cut_one_is_interrupted(tmp_path: Path) -> None:
    cut = {"gen_ai.response.finish_reasons": ["error"]}
    failed, stopped = of_spans(
        tmp_path, span(1, "a", **cut, **{"error.type": "overloaded"}), span(2, "a", **cut)
    ).ticks
    assert str(failed.error) == "overloaded"
    assert stopped.error is None
    assert stopped.interrupted


def test_pictures_documents_thinking_and_steps_of_a_provider_are_what_they_are(tmp_path: Path) -> None:
    picture = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw=="}
    paper = {
        "type": "uri",
        "modality": "document",
        "mime_type": "application/pdf",
        "uri": "https://x.test/a.pdf",
    }
    step = {
        "type": "server_tool_call",
        "id": "s",
        "name": "web_search",
        "server_tool_call": {"type": "web", "q": "x"},
    }
    said = [{"type": "reasoning", "content": "Hm."}, step, text("Yes.")]
    trace = of_spans(
        tmp_path,
        span(
            1,
            **{
                "gen_ai.input.messages": messages(("user", [picture, paper])),
                "gen_ai.output.messages": messages(("assistant", said)),
            },
        ),
    )
    (tick,) = trace.ticks
    assert tick.context.messages[0].content == (
        Image("image/png", b"\x89PNG"),
        Document("application/pdf", url="https://x.test/a.pdf"),
    )
    thought, searched, answered = tick.response
    assert (thought, answered) == (Thinking("Hm."), Text("Yes."))
    assert str(searched) == '{"type": "web", "q": "x"}'


def test_what_is_not_known_is_kept_as_text_and_named(tmp_path: Path) -> None:
    odd = [{"type": "hologram", "of": SCRIPT}]
    sent = messages(("user", odd), ("wizard", "Abracadabra."), ("system", "Be nice."))
    trace = of_spans(tmp_path, span(1, **{"gen_ai.input.messages": sent}), span(2))
    assert SCRIPT in trace.ticks[0].context.messages[0].text
    assert [note for note in trace.notes if "tools were sent" not in note] == [
        "a part of the type 'hologram' is shown as text",
        "a message of the role 'wizard' is shown as the user's",
        "a system message in the middle of a conversation stands in the user's turn",
    ]


def test_messages_in_an_attribute_that_are_no_json_are_text(tmp_path: Path) -> None:
    trace = of_spans(tmp_path, span(1, **{"gen_ai.input.messages": "[{cut"}))
    assert trace.ticks[0].context.messages[0].text == "[{cut"


def test_contents_may_stand_in_an_event_of_the_span(tmp_path: Path) -> None:
    document = exported([span()])
    (leaf,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    part = {
        "kvlistValue": {
            "values": [
                {"key": "type", "value": {"stringValue": "text"}},
                {"key": "content", "value": {"stringValue": "Hello"}},
            ]
        }
    }
    said = {"kvlistValue": {"values": [
        {"key": "role", "value": {"stringValue": "user"}},
        {"key": "parts", "value": {"arrayValue": {"values": [part]}}},
    ]}}  # fmt: skip
    leaf["events"] = [
        {
            "name": "gen_ai.client.inference.operation.details",
            "attributes": [{"key": "gen_ai.input.messages", "value": {"arrayValue": {"values": [said]}}}],
        }
    ]
    assert load(write(tmp_path / "spans.json", document))[0].ticks[0].context.messages[0].text == "Hello"


# Inspect's logs that differ


def a_log(**changes: Any) -> dict[str, Any]:
    log: dict[str, Any] = json.loads((FILES / "weather.json").read_text("utf-8"))
    log["samples"][0] |= changes
    return log


def test_a_log_without_events_is_rebuilt_from_its_messages(tmp_path: Path) -> None:
    trace = load(write(tmp_path / "log.json", a_log(events=[])))[0]
    assert [tick.stop_reason for tick in trace.ticks] == ["tool_use", ""]
    assert trace.ticks[1].context.messages[-1].text == "It rains in Bern."
    assert any("rebuilt from the conversation" in note for note in trace.notes)
    assert {tick.asked for tick in trace.ticks} == {"mockllm/model"}


def test_a_failed_sample_and_a_later_epoch_say_so(tmp_path: Path) -> None:
    trace = load(write(tmp_path / "log.json", a_log(epoch=3, error={"message": "out of luck"})))[0]
    assert trace.id == "bern/3"
    assert "the sample failed: out of luck" in trace.notes


def test_a_tool_that_failed_and_content_of_other_kinds_are_shown(tmp_path: Path) -> None:
    log = a_log()
    sample = log["samples"][0]
    (ran,) = [event for event in sample["events"] if event["event"] == "tool"]
    ran["error"] = {"type": "permission", "message": "not there"}
    sample["events_data"]["messages"][1]["content"] = [
        {"type": "text", "text": "Look:"},
        {"type": "image", "image": "data:image/png;base64,iVBORw=="},
        {"type": "audio", "audio": "beep"},
    ]
    trace = load(write(tmp_path / "log.json", log))[0]
    said = trace.ticks[0].context.messages[0].content
    assert said[:2] == (Text("Look:"), Image("image/png", b"\x89PNG"))
    assert "content of the type 'audio' is shown as text" in trace.notes
    result = trace.ticks[0].tool_calls[0].result
    assert isinstance(result, ToolResult)
    assert (result.is_error, result.text) == (True, "not there")


def test_a_log_that_was_packed_by_deflate_and_one_of_a_run_that_goes_on_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    log = a_log()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"eval": log["eval"]}))
        archive.writestr("samples/bern_epoch_1.json", json.dumps(log["samples"][0]))
    trace = load(path)[0]
    assert trace.source == "foreign trace from inspect 0.3.285"
    assert "the run that wrote the log had not ended" in trace.notes


def test_a_log_that_nothing_here_unpacks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(zipfile.ZipFile, "read", _as_before_python_3_14)
    with pytest.raises(SessionError, match=r'pip install "nbsession\[traces\]"'):
        load(FILES / "weather.eval")


def _as_before_python_3_14(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    raise NotImplementedError


# Files that are none


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.json", b"", "is no JSON; traces are read from Inspect's logs"),
        ("prose.md", b"## User\n\nHello", "is no JSON"),
        ("picture.png", b"\x89PNG\r\n\xff\xfe", "is neither text nor an archive"),
        ("other.json", b'{"a": 1}', "is JSON of another kind"),
        ("number.json", b"1", "is JSON of another kind"),
        ("cases.jsonl", b'{"input": "1+1", "ideal": "2"}\n{"input": "2+2", "ideal": "4"}', "holds cases"),
        ("nothing.json", b'{"resourceSpans": []}', "has no model call in it"),
        ("cut.jsonl", b'{"resourceSpans": []}\n{"resourceSpans": [', "is broken at line 2: "),
        (
            "mixed.jsonl",
            b'{"resourceSpans": []}\n\n{"else": 1}',
            "is broken at line 3: it has no resourceSpans",
        ),
        ("deep.json", b"[" * 200_000, "is nested deeper than any trace is"),
        ("cut.eval", b"PK\x05\x06" + bytes(8) + b"\x40\0\0\0" + bytes(6), "is a broken archive: "),
    ],
)
def test_a_file_that_is_no_trace_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SessionError) as refused:
        load(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="cannot be read: No such file"):
        load(tmp_path / "none.eval")
    with pytest.raises(SessionError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_an_archive_of_another_kind_or_a_broken_member_is_named(tmp_path: Path) -> None:
    other, broken = tmp_path / "other.zip", tmp_path / "broken.eval"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("hello.txt", "Hello")
    with pytest.raises(SessionError, match=r"no header\.json"):
        load(other)
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/a_epoch_1.json", '{"id": ')
    with pytest.raises(SessionError, match=r"is broken at samples/a_epoch_1\.json: "):
        load(broken)


def test_an_archive_of_a_later_version_is_refused(tmp_path: Path) -> None:
    data = bytearray((FILES / "weather.eval").read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 255
    (tmp_path / "later.eval").write_bytes(data)
    with pytest.raises(SessionError, match=r"is a broken archive: zip file version 25\.5"):
        load(tmp_path / "later.eval")


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zstandard.ZstdCompressor().compress(b"[" + b" " * 10_000 + b"]")
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", packed)
    data = path.read_bytes()
    for mark, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        at = data.index(mark)
        data = data[: at + method] + b"\x5d\0" + data[at + method + 2 :]
        data = data[: at + size] + (10).to_bytes(4, "little") + data[at + size + 4 :]
    path.write_bytes(data)
    monkeypatch.setattr(zipfile.ZipFile, "read", _as_before_python_3_14)
    with pytest.raises(SessionError, match=r"broken at header\.json: it does not have the 10 bytes"):
        load(path)


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0c"])
def test_a_line_ends_where_json_lines_do(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "samples.jsonl"
    samples = [{"input": f"1{sign}2", "target": "3"}, {"input": "2", "target": "4"}]
    path.write_text("\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples), "utf-8")
    if sign < " ":  # which JSON takes spelled out only
        path = write(path, *samples)
    assert [str(trace.timeline[0]) for trace in load(path)] == [f"1{sign}2", "2"]


def test_numbers_that_are_beyond_all_measure_are_bounded_or_left_out(tmp_path: Path) -> None:
    turn = {"role": "assistant", "contents": [], "tokens": [10**400, 1, 1], "cost": 10**400}
    tick = load(write(tmp_path / "turns.json", [turn]))[0].ticks[0]
    assert tick.cost is None
    assert tick.usage.output_tokens == 1
    span = json.loads((FILES / "chatlas.otlp.jsonl").read_text("utf-8").splitlines()[0])
    for holder, key in _places(span):
        if key == "startTimeUnixNano":
            holder[key] = "9" * 400
        if key == "intValue":
            holder[key] = "-many"
    assert load(write(tmp_path / "spans.json", span))[0].ticks[0].usage.input_tokens == 0


@hypothesis.given(at=st.integers(0, 9262), byte=st.integers(0, 255))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_an_archive_with_a_wrong_byte_is_read_or_refused(tmp_path: Path, at: int, byte: int) -> None:
    data = bytearray((FILES / "weather.eval").read_bytes())
    data[at] = byte
    path = tmp_path / "log.eval"
    path.write_bytes(data)
    refused = ""
    try:
        load(path)
    except SessionError as error:
        refused = str(error)
    assert "\n" not in refused


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, -1, 1e400, True, "", "x", SCRIPT, "\ud83d", [], [1], [[]], {}, {"a": []}, [None, {}]]
)


@hypothesis.given(name=st.sampled_from(TALKS[1:]), data=st.data())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=100)
def test_a_record_with_odd_values_anywhere_is_read_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    documents = [json.loads(line) for line in _documents(name)]
    places = [place for document in documents for place in _places(document)]
    for holder, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        holder[key] = data.draw(ODD)
    path = write(tmp_path / "odd.json", *documents)
    refused = ""
    try:
        for trace in load(path):
            trace.export(tmp_path / "odd.html", force=True)
            trace.export(tmp_path / "odd.md", force=True)
    except SessionError as error:
        refused = str(error)
    assert "\n" not in refused


def _documents(name: str) -> list[str]:
    text = (FILES / name).read_text("utf-8")
    return text.splitlines() if name.endswith(".jsonl") else [text]


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *_places(value[key]))]
