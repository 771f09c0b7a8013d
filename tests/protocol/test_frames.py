"""Frames: every event crosses the wire and is the same on the other side, however the bytes are cut."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from nbsession import App, Section, System, Timeline, component, deny, tool
from nbsession.content import (
    Document,
    Entry,
    Image,
    Message,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    media,
)
from nbsession.context import CompiledContext, context_of
from nbsession.events import Event, TextDelta, TickContext
from nbsession.protocol import Frame, FrameReader, dumps, frame_of, message_from_wire, message_to_wire
from nbsession.testing import EventRecorder, ScriptedModel, call
from nbsession.tools import Question
from nbsession.usage import CacheDiagnosis, Usage
from tests.support.notepad import Notepad

KINDS = list(
    {kind.type: kind for kind in Event.__subclasses__()}.values()
)  # the last of a name, which has slots

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

texts = st.text(max_size=20)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, data, max_size=3)
rich = st.one_of(
    st.builds(Text, texts),
    st.builds(Image, st.just("image/png"), st.binary(max_size=9), texts, texts),
    st.builds(Document, st.just("application/pdf"), st.binary(max_size=9), texts, texts),
)
calls = st.builds(ToolCall, texts, texts, objects)
results = st.builds(
    ToolResult, texts, texts, st.lists(rich, max_size=2).map(tuple), st.booleans(), st.just("error")
)
blocks = st.one_of(
    rich,
    calls,
    results,
    st.builds(Thinking, texts, objects),
    st.builds(ServerTool, texts, texts, texts, objects, st.booleans()),
)
contexts = st.builds(
    context_of,
    st.lists(texts, max_size=3),
    st.lists(
        st.builds(Message, st.sampled_from(["user", "assistant"]), st.lists(blocks, max_size=3).map(tuple)),
        max_size=3,
    ),
    st.lists(st.builds(ToolSpec, texts, texts, objects), max_size=2),
    objects,
)
rules = st.none() | st.builds(deny, texts.filter(bool), command=texts)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "block": st.sampled_from(["text", "thinking", "tool_call", "server_tool"]),
    "by": st.sampled_from(["program", "user", "model"]),
    "cache_diagnosis": st.none() | st.builds(CacheDiagnosis, texts, texts, st.integers(0)),
    "call": calls,
    "content": blocks,
    "context": contexts,
    "cost": st.none() | st.floats(0, 9),
    "data": data,
    "decision": st.sampled_from(["allowed", "asked", "denied"]),
    "entry": st.builds(Entry, texts, texts, st.just("user"), st.lists(blocks, max_size=3).map(tuple)),
    "first": st.none() | st.integers(0),
    "question": st.builds(
        Question, texts, texts, calls, st.just("pause"), objects, st.integers(0), st.booleans(), rules
    ),
    "result": results,
    "retryable": st.booleans(),
    "seconds": st.floats(0, 9),
    "should_continue": st.booleans(),
    "source": st.sampled_from(["live", "recorded", "simulated"]),
    "state": st.sampled_from(["open", "closed", "put off"]),
    "usage": st.builds(Usage, st.integers(0), st.integers(0), estimated=st.booleans()),
    "value": data,
} | dict.fromkeys(("sequence", "index", "offset", "tick", "steps"), st.integers(0, 10**9))


def event_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Make events of a type; a field that is not known by its name is text."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert all(name in FIELDS or str(field.type) == "str" for name, field in fields.items()), kind
    given = {
        name: texts
        if str(field.type) == "str" and name in ("question", "content")
        else FIELDS.get(name, texts)
        for name, field in fields.items()
        if field.compare
    }
    return st.builds(kind, **given)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_every_event_is_the_same_after_the_wire(kind: type[Event]) -> None:
    @hypothesis.given(event_of(kind))
    @hypothesis.settings(max_examples=40)
    def check(event: Event) -> None:
        frame = frame_of(event)
        assert frame.event == event.type
        assert frame.id == (event.sequence if event.durable else None)
        read = frame.read()
        assert read == event
        assert read.to_dict() == event.to_dict()
        assert list(FrameReader().feed(frame.encode())) == [frame]

    check()


def test_a_program_that_has_just_begun_reads_an_event_as_the_class_that_it_imports() -> None:
    program = (
        "import gc; gc.disable()\n"  # whenever it would collect
        "from nbsession.events import Ping, event_from_dict\n"
        "from nbsession.protocol import ResyncRequired\n"
        "for event in (Ping(), ResyncRequired(reason='')):\n"
        "    assert type(event_from_dict(event.to_dict())) is type(event), event\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


async def test_the_events_of_a_session_are_the_same_after_the_wire() -> None:
    @tool
    def look(query: str) -> str:
        """Look something up."""
        return query

    @component
    def Root() -> Any:
        return [System("Be brief."), Section("Below", id="s"), look, Timeline(), Section("After", id="t")]

    session = App(Root, model=ScriptedModel([Thinking("hm"), call("look", query="x")], "it is x")).session()
    recorder = await EventRecorder().record(session.send("hi"))
    read = [frame_of(event).read() for event in recorder.events]
    assert [event.to_dict() for event in read] == [event.to_dict() for event in recorder.events]
    for sent, got in zip(recorder.of(TickContext), read, strict=False):
        if isinstance(got, TickContext):
            assert str(got.context) == str(sent.context)
    contexts = [event.context for event in read if isinstance(event, TickContext)]
    assert [context.hash for context in contexts] == [tick.context.hash for tick in session.ticks]


async def test_a_context_is_read_back_with_what_it_leaves_out() -> None:
    session = App(Notepad, model=ScriptedModel("a")).session()
    context = session.compile("hello")
    again = CompiledContext.from_dict(json.loads(dumps(context.to_dict())))
    assert again.to_dict() == context.to_dict()
    assert [part.kind for part in again.system] == [part.kind for part in context.system]


@hypothesis.given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 40))
def test_frames_are_read_however_the_bytes_are_cut(said: list[str], size: int) -> None:
    frames = [frame_of(TextDelta(0, text, sequence=3)) for text in said]
    sent = b"retry: 2500\n\n: a comment\n\n" + b"".join(frame.encode() for frame in frames)
    sent = sent.replace(b"\n", b"\r\n") if size % 2 else sent
    reader = FrameReader()
    read = [frame for at in range(0, len(sent), size) for frame in reader.feed(sent[at : at + size])]
    assert read == frames
    assert reader.retry == 2.5


@hypothesis.given(st.text(st.characters(), max_size=30))
def test_a_frame_is_one_line_however_its_reader_tells_lines_apart(text: str) -> None:
    frame = frame_of(TextDelta(0, text + "\u2028\x85\ud800", sequence=3))
    assert len(frame.data.splitlines()) == 1
    assert frame.read() == TextDelta(0, text + "\u2028\x85\ud800", sequence=3)


def test_only_a_frame_that_one_can_resume_from_has_an_id() -> None:
    reader = FrameReader()
    list(reader.feed(Frame("done", "{}", 7).encode() + Frame("text_delta", "{}").encode()))
    assert reader.last == 7


def test_what_json_does_not_have_becomes_null() -> None:
    assert dumps({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a":null,"b":[null,1.5]}'


@pytest.mark.parametrize("message", ["hello", [Text("a"), media(PIXEL)], {"role": "user", "content": "b"}])
def test_a_message_is_the_same_after_the_wire(message: Any) -> None:
    wire = json.loads(dumps(message_to_wire(message)))
    assert message_to_wire(message_from_wire(wire)) == wire
