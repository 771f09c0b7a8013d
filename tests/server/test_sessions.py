"""Sessions over HTTP: made, listed by pages, changed with a guard against stale writes, forked and ended."""

from __future__ import annotations

import asyncio

import pytest

from nbsession.stores import MemoryStore
from nbsession.testing import pause
from tests.server.conftest import client_of, notepad


async def test_a_session_that_was_made_is_there_after_a_restart() -> None:
    store = MemoryStore()
    async with client_of(notepad(store=store)) as client:
        made = await client.post("/sessions", json={"id": "s", "metadata": {"topic": "tea"}})
    assert (made.status_code, made.headers["location"]) == (201, "/sessions/s")
    assert made.json()["metadata"] == {"topic": "tea"}
    async with client_of(notepad(store=store)) as client:
        again = await client.get("/sessions/s")
    assert again.json() == made.json()


async def test_an_id_is_given_once() -> None:
    async with client_of(notepad()) as client:
        assert (await client.post("/sessions", json={"id": "s"})).status_code == 201
        second = await client.post("/sessions", json={"id": "s"})
    assert (second.status_code, second.json()["error"]["code"]) == (409, "exists")


@pytest.mark.parametrize("store", [None, MemoryStore()])
async def test_pages_of_the_list_have_every_session_once(store: MemoryStore | None) -> None:
    async with client_of(notepad(store=store)) as client:
        made = [(await client.post("/sessions", json={})).json()["id"] for _ in range(7)]
        listed, cursor = [], None
        while True:
            page = await client.get(
                "/sessions", params={"limit": 3, **({"cursor": cursor} if cursor else {})}
            )
            listed += [session["id"] for session in page.json()["sessions"]]
            if (cursor := page.json()["next"]) is None:
                break
    assert sorted(listed) == sorted(made)
    assert listed == made[::-1]


async def test_a_stale_write_is_refused_and_says_what_is_there() -> None:
    async with client_of(notepad("hello")) as client:
        etag = (await client.post("/sessions", json={"id": "s"})).headers["etag"]
        await client.post("/sessions/s/message", json={"message": "hi"})
        stale = await client.put("/sessions/s", json={"metadata": {}}, headers={"if-match": etag})
        assert stale.status_code == 412
        fresh = (await client.get("/sessions/s")).headers["etag"]
        assert stale.headers["etag"] == fresh
        put = await client.put("/sessions/s", json={"metadata": {"a": 1}}, headers={"if-match": fresh})
        assert (put.status_code, put.json()["metadata"]) == (200, {"a": 1})
        assert (await client.delete("/sessions/s", headers={"if-match": fresh})).status_code == 412
        assert (
            await client.delete("/sessions/s", headers={"if-match": put.headers["etag"]})
        ).status_code == 204
        assert (await client.get("/sessions/s")).status_code == 404


async def test_a_session_that_was_deleted_is_found_nowhere_and_its_id_is_free() -> None:
    store = MemoryStore()
    async with client_of(notepad("one", store=store)) as client:
        await client.post("/sessions", json={"id": "s", "metadata": {"a": 1}})
        await client.post("/sessions/s/message", json={"message": "hi"})
        assert (await client.delete("/sessions/s")).status_code == 204
        assert store.load("s") is None
    async with client_of(notepad(store=store)) as client:
        assert (await client.get("/sessions/s")).status_code == 404
        assert (await client.get("/sessions")).json()["sessions"] == []
        anew = (await client.post("/sessions", json={"id": "s"})).json()
        assert (anew["entries"], anew["metadata"]) == (0, {})


async def test_a_session_that_forks_share_the_past_of_stays_and_says_which() -> None:
    async with client_of(notepad("one", "two")) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/message", json={"message": "hi"})
        await client.post("/sessions/s/fork", json={"id": "f"})
        refused = await client.delete("/sessions/s")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session")
        assert "'f'" in refused.json()["error"]["message"]
        assert (await client.post("/sessions/s/message", json={"message": "on"})).json()["response"] == "two"
        assert (await client.delete("/sessions/f")).status_code == 204
        assert (await client.delete("/sessions/s")).status_code == 204


async def test_a_session_that_runs_is_stopped_and_deleted() -> None:
    held, store = pause(), MemoryStore()
    async with client_of(notepad(["so far", held], store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        sent = asyncio.create_task(client.post("/sessions/s/message", json={"message": "hi"}))
        queued = asyncio.create_task(client.post("/sessions/s/runs", json={"message": "later"}))
        await held.reached
        assert (await client.delete("/sessions/s")).status_code == 204
        assert (await sent).json()["stop_reason"] == "aborted"
        assert (await queued).status_code == 202
    assert store.load("s") is None


async def test_a_fork_goes_on_from_the_tick_that_was_named() -> None:
    async with client_of(notepad("one", "two", "three")) as client:
        await client.post("/sessions", json={"id": "s", "metadata": {"a": 1}})
        await client.post("/sessions/s/message", json={"message": "first"})
        await client.post("/sessions/s/message", json={"message": "second"})
        fork = await client.post("/sessions/s/fork", json={"at": 0, "id": "f"})
        assert (fork.status_code, fork.json()["parent"], fork.json()["ticks"]) == (201, "s", 1)
        assert fork.json()["metadata"] == {"a": 1}
        unknown = await client.post("/sessions/s/fork", json={"at": 9})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (409, "session")


async def test_what_is_the_servers_own_in_metadata_is_neither_shown_nor_taken() -> None:
    app = notepad()
    async with client_of(app) as client:
        refused = await client.post("/sessions", json={"metadata": {"nbsession": {"user": "root"}}})
        assert refused.status_code == 422
        made = (await client.post("/sessions", json={"metadata": {"a": 1}})).json()
    assert made["metadata"] == {"a": 1}
    assert "nbsession" in app.opened[made["id"]].metadata
