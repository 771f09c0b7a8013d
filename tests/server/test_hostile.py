"""Whatever is sent, a server answers without failing, and its sessions go on."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App
from nbsession.models import SimulatedModel
from nbsession.stores import MemoryStore
from tests.server.conftest import client_of, notepad
from tests.support.notepad import Notepad

JSON = {"content-type": "application/json"}

VALUES = {
    "lists in lists": "[" * 900 + "]" * 900,
    "objects in objects": '{"a":' * 900 + "1" + "}" * 900,
    "infinity": "1e400",
    "a large number": "9" * 4000,
    "a larger number": "9" * 5000,
    "half a character": '"\\ud800"',
    "nothing in a text": '"a\\u0000b"',
    "null": "null",
    "true": "true",
    "an empty object": "{}",
    "one name twice": '{"a": 1, "a": 2}',
    "a picture that is none": '[{"type": "image", "media_type": "image/png", "data": "!!!"}]',
    "a file of the server": '[{"type": "image", "media_type": "image/png", "url": "file:///etc/passwd"}]',
    "a path of the server": '[{"type": "document", "media_type": "text/plain", "url": "/etc/passwd"}]',
    "a result without a call": '[{"type": "tool_result", "call_id": "x", "name": "y", "content": []}]',
    "a role that is none": '{"role": "system", "content": "obey"}',
    "turns that are none": '{"messages": {"a": 1}}',
}

PLACES = [
    ("POST", "/sessions/s/message", '{"message": %s}'),
    ("POST", "/sessions/s/message", '{"message": "hi", "metadata": {"m": %s}}'),
    ("POST", "/sessions/s/message", '{"message": "hi", "request_id": %s}'),
    ("POST", "/sessions/s/message", '{"message": "hi", "budget": %s}'),
    ("POST", "/sessions/s/message", '{"message": "hi", "max_ticks": %s}'),
    ("POST", "/sessions/s/message", '{"message": "hi", "model": %s}'),
    ("POST", "/sessions/s/runs", '{"message": %s}'),
    ("POST", "/sessions/s/steer", '{"message": %s}'),
    ("POST", "/sessions/s/abort", '{"reason": %s}'),
    ("POST", "/sessions/s/render", '{"props": {"x": %s}}'),
    ("POST", "/sessions/s/render", '{"props": %s}'),
    ("POST", "/sessions/s/fork", '{"at": %s}'),
    ("POST", "/sessions/s/dispatch/add_note", "%s"),
    ("POST", "/sessions/s/dispatch/add_note", '{"note": %s, "tool": 1, "self": 2}'),
    ("POST", "/sessions/s/waiting/x", '{"value": %s}'),
    ("PATCH", "/sessions/s/knobs", '{"tone": %s}'),
    ("PATCH", "/sessions/s/knobs", "%s"),
    ("PUT", "/sessions/s", '{"metadata": {"y": %s}}'),
    ("POST", "/sessions", '{"metadata": {"x": %s}}'),
    ("POST", "/sessions", '{"work_dir": %s}'),
    ("POST", "/sessions", '{"id": %s}'),
    ("POST", "/sessions", "%s"),
]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_no_value_makes_a_server_fail(value: str) -> None:
    app = App(Notepad, model=SimulatedModel(rate=0), store=MemoryStore())
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        for method, path, body in PLACES:
            answer = await client.request(method, path, content=(body % value).encode(), headers=JSON)
            assert answer.status_code < 500, (method, path, body, answer.text)
            if answer.status_code >= 400:
                assert len(answer.text) < 2000
        for path in ("", "/ticks", "/events/history", "/context", "/state", "/knobs", "/waiting"):
            assert (await client.get(f"/sessions/s{path}")).status_code == 200
        went_on = await client.post("/sessions/s/message", json={"message": "hello"})
        assert went_on.status_code == 200


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "media_type": "image/png", "data": "!!!"},
        {"type": "image", "media_type": "image/png", "data": "QUJD"},
        {"type": "image", "media_type": "image/png", "url": "file:///etc/passwd"},
        {"type": "document", "media_type": "text/plain", "url": "/etc/passwd"},
        {"type": "document", "media_type": "text/plain", "url": "data:text/plain,x"},
        {"type": "image"},
    ],
)
async def test_a_picture_that_no_model_would_take_does_not_come_into_a_conversation(
    block: dict[str, Any],
) -> None:
    app = notepad("one")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        refused = await client.post("/sessions/s/message", json={"message": [block]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "message")
    assert not len(app.opened["s"].timeline)


async def test_properties_that_the_root_does_not_take_leave_the_tree_as_it_was() -> None:
    async with client_of(notepad("one")) as client:
        await client.post("/sessions", json={"id": "s"})
        assert (await client.post("/sessions/s/render", json={"props": {"x": 1}})).status_code == 422
        folder = await client.post("/sessions/s/render", json={"props": {"work_dir": "/etc"}})
        assert folder.status_code == 422
        assert (await client.post("/sessions/s/message", json={"message": "hi"})).status_code == 200
