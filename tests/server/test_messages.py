"""Messages over HTTP: waited for, streamed, sent once under an id, steered and stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Timeline, ToolError, component, tool
from nbsession.errors import ModelError
from nbsession.events import Done, TextDelta, ToolEnd
from nbsession.models import SimulatedModel
from nbsession.protocol import FrameReader
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, pause
from tests.server.conftest import client_of, notepad

if TYPE_CHECKING:
    import httpx

    from nbsession.events import Event


def events_in(answer: httpx.Response) -> list[Event]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [frame.read() for frame in FrameReader().feed(answer.content)]


async def test_a_message_is_answered_with_text_calls_usage_and_steps() -> None:
    async with client_of(notepad([call("add_note", note="tea")], "noted")) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.post("/sessions/s/message", json={"message": "note tea"})
    said = answer.json()
    assert (answer.status_code, said["response"], said["steps"]) == (200, "noted", 2)
    assert [(c["name"], c["input"], c["result"]) for c in said["tool_calls"]] == [
        ("add_note", {"note": "tea"}, "Noted.")
    ]
    assert said["usage"]["input_tokens"] > 0
    assert said["usage"]["output_tokens"] > 0


async def test_a_stream_has_the_events_of_its_execution_and_ends_with_done() -> None:
    app = notepad([call("add_note", note="tea")], "noted")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.post("/sessions/s/message/stream", json={"message": "note tea"})
    events = events_in(answer)
    ended = events[-1]
    assert isinstance(ended, Done)
    assert (ended.steps, ended.usage) == (2, app.opened["s"].usage.total)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "noted"
    assert {"execution_start", "tick_start", "tool_start", "tool_end", "input_json_delta"} <= {
        e.type for e in events
    }
    assert answer.headers["x-execution"] == app.opened["s"].executions[-1].id


async def test_the_same_request_id_is_sent_once_and_answered_alike_after_a_restart_too() -> None:
    store = MemoryStore()
    body = {"message": "hi", "request_id": "r1"}
    async with client_of(notepad("one", "two", store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        first = (await client.post("/sessions/s/message", json=body)).json()
        second = (await client.post("/sessions/s/message", json=body)).json()
    assert first == second
    async with client_of(notepad("three", store=store)) as client:
        third = (await client.post("/sessions/s/message", json=body)).json()
        streamed = events_in(await client.post("/sessions/s/message/stream", json=body))
        other = await client.post("/sessions/s/message", json={**body, "message": "other"})
    assert third == first
    assert "".join(e.text for e in streamed if isinstance(e, TextDelta)) == "one"
    assert other.status_code == 409


async def test_an_abort_keeps_what_was_said() -> None:
    held = pause()
    async with client_of(notepad(["so far", held, "never"])) as client:
        await client.post("/sessions", json={"id": "s"})
        sent = asyncio.create_task(client.post("/sessions/s/message", json={"message": "hi"}))
        await held.reached
        stopped = await client.post("/sessions/s/abort", json={"reason": "enough"})
        said = (await sent).json()
    assert stopped.json()["status"] == "done"
    assert (said["response"], said["stop_reason"], said["reason"]) == ("so far", "aborted", "enough")


async def test_steered_and_queued_messages_are_read_by_what_runs_next() -> None:
    app = notepad("one", "two")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        assert (await client.post("/sessions/s/steer", json={"message": "a"})).status_code == 202
        assert (await client.post("/sessions/s/queue", json={"message": "b"})).status_code == 202
        await client.post("/sessions/s/message", json={"message": "c"})
    assert {entry.text for entry in app.opened["s"].timeline if entry.role == "user"} == {"a", "b", "c"}


async def test_what_a_model_refuses_is_told_without_its_words_and_without_a_traceback() -> None:
    faults = ModelError("key sk-ant-secret at /home/x/.keys is wrong"), RuntimeError("/etc/secret")
    store = MemoryStore()
    bodies = [{"message": "hi", "request_id": f"r{n}"} for n in range(2)]
    async with client_of(notepad(*faults, store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        answers = [await client.post("/sessions/s/message", json=body) for body in bodies]
        told = [await client.get(f"/sessions/s/{path}") for path in ("events/history", "ticks", "ticks/1")]
    async with client_of(notepad(store=store)) as client:
        answers += [await client.post("/sessions/s/message", json=body) for body in bodies]
        told += [await client.get(f"/sessions/s/{path}") for path in ("events/history", "ticks", "ticks/1")]
    assert [answer.status_code for answer in answers] == [502, 500] * 2
    for answer in answers:
        assert set(answer.json()["error"]) == {"code", "message", "request_id"}
    assert {answer.status_code for answer in told} == {200}
    assert not [answer.text for answer in (*answers, *told) if "secret" in answer.text]


async def test_a_tools_traceback_stays_at_home_and_what_it_says_on_purpose_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool
    def fail() -> str:
        """Fail."""
        raise ToolError("on purpose")

    @tool
    def slip() -> str:
        """Fail by accident."""
        raise ValueError("the key is hunter2, at /etc/secret")

    @component
    def Root() -> Any:
        return [fail, slip, Timeline()]

    app = App(Root, model=ScriptedModel([call("fail")], "sorry"))
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        events = events_in(await client.post("/sessions/s/message/stream", json={"message": "go"}))
        failed = await client.post("/sessions/s/dispatch/fail", json={})
        slipped = await client.post("/sessions/s/dispatch/slip", json={})
    assert [(e.result.text, e.traceback) for e in events if isinstance(e, ToolEnd)] == [("on purpose", "")]
    assert (failed.status_code, failed.json()["error"]["message"]) == (422, "on purpose")
    assert (slipped.status_code, slipped.json()["error"]["code"]) == (500, "tool")
    assert "hunter2" not in slipped.text
    assert "hunter2" in caplog.text


async def test_an_image_and_turns_may_be_sent() -> None:
    app = notepad("seen")
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    content = [{"type": "text", "text": "look"}, {"type": "image", "media_type": "image/png", "data": pixel}]
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/message", json={"message": {"role": "user", "content": content}})
        broken = await client.post("/sessions/s/message", json={"message": [{"type": "image", "data": 7}]})
        empty = await client.post("/sessions/s/message", json={"message": " "})
    assert [block.to_dict()["type"] for block in app.opened["s"].timeline[0].content] == ["text", "image"]
    assert (broken.status_code, empty.status_code) == (422, 422)


async def test_a_recording_cannot_be_named_from_afar() -> None:
    async with client_of(notepad("one")) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.post(
            "/sessions/s/message", json={"message": "hi", "model": "recorded:/etc/passwd"}
        )
        unknown = await client.post("/sessions/s/message", json={"message": "hi", "model": "nobody:x"})
    assert (answer.status_code, unknown.status_code) == (422, 422)
    assert "passwd" not in answer.text


CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


async def test_a_model_is_told_what_to_answer_with_and_the_object_is_in_the_answer_also_of_a_run() -> None:
    app = notepad('{"name": "Ulm"}', '```json\n{"name": "Aalen"}\n```', "none")
    asked = {"message": "which?", "output": CITY}
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        said = (await client.post("/sessions/s/message", json=asked)).json()
        run = (await client.post("/sessions/s/runs", json=asked)).json()
        await app.opened["s"].executions[-1]
        ran = (await client.get(f"/sessions/s/runs/{run['id']}")).json()
        failed = await client.post("/sessions/s/message", json=asked)
        plain = await client.post("/sessions/s/message", json={**asked, "output": {"type": "string"}})
    assert (said["output"], ran["result"]["output"]) == ({"name": "Ulm"}, {"name": "Aalen"})
    assert app.model.contexts[0].settings["output_schema"] == CITY
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "model")
    assert (plain.status_code, plain.json()["error"]["code"]) == (422, "output")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "required": ["a"],
            "$defs": {
                "a": {
                    "type": "object",
                    "properties": {f"n{n}": {"$ref": "#/$defs/a"} for n in range(2_000)},
                    "required": [f"n{n}" for n in range(2_000)],
                }
            },
        },
        {
            "type": "object",
            "minProperties": 10**15,
            "additionalProperties": {"minItems": 10**15, "type": "array"},
        },
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 10**12}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 10**12}}, "required": ["a"]},
    ],
)
async def test_a_schema_that_no_answer_can_have_harms_only_who_sent_it(schema: Any) -> None:
    app = App(Timeline(), model=SimulatedModel(rate=0), store=MemoryStore())
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.post("/sessions/s/message", json={"message": "hi", "output": schema})
        assert answer.status_code == 200
        assert (await client.post("/sessions/s/message", json={"message": "hi"})).status_code == 200


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": []}, "properties is to be an object of schemas, got []"),
        ({"properties": {"a": {"type": "array", "items": 5}}}, "properties.a.items is to be a schema, got 5"),
        ({"$defs": {"b": {"anyOf": [{"type": "text"}]}}}, "$defs.b.anyOf[0].type is to be one or several of"),
        ({"properties": {"a": {"minLength": "2"}}}, "properties.a.minLength is to be a whole number"),
        ({"properties": {"a": {"type": "object", "required": "b"}}}, "properties.a.required is to be a list"),
        ({"required": ["a"]}, "it requires 'a', which its properties do not have"),
    ],
)
async def test_a_schema_that_is_none_is_refused_in_a_sentence_that_says_where_however_deep_the_fault_is(
    schema: Any, said: str
) -> None:
    app = App(Timeline(), model=SimulatedModel(rate=0), store=MemoryStore())
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        for how in ("message", "runs"):
            answer = await client.post(
                f"/sessions/s/{how}", json={"message": "hi", "output": {"type": "object", **schema}}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "output")
            assert said in answer.json()["error"]["message"]
    assert app.opened["s"].ticks == []
