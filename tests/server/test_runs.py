"""Runs: taken means stored; they run by themselves, once, also after a restart."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import StoreError
from nbsession.server.runs import PAGE
from nbsession.stores import MemoryStore, Row
from nbsession.testing import pause
from tests.server.conftest import client_of, notepad, served

if TYPE_CHECKING:
    import httpx

    from nbsession.server import Server
    from nbsession.stores import SessionInfo


async def ended(client: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    """Ask after a run until it has ended."""
    while run["status"] in ("queued", "running"):
        await asyncio.sleep(0)
        run = (await client.get(f"/sessions/{run['session']}/runs/{run['id']}")).json()
    return run


async def test_a_run_is_taken_at_once_and_answered_later() -> None:
    held = pause()
    async with client_of(notepad(["so ", held, "it is"])) as client:
        await client.post("/sessions", json={"id": "s"})
        taken = await client.post("/sessions/s/runs", json={"message": "hi"})
        assert (taken.status_code, taken.json()["result"]) == (202, None)
        await held.reached
        asked = (await client.get(taken.headers["location"])).json()
        held.release()
        done = await ended(client, asked)
    assert asked["status"] == "running"
    assert (done["status"], done["result"]["response"], done["result"]["steps"]) == ("done", "so it is", 1)


async def test_runs_of_a_session_take_turns_and_each_may_be_stopped_before_it_begins() -> None:
    held = pause()
    app = notepad(["one", held], "two", "three")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        runs = [(await client.post("/sessions/s/runs", json={"message": m})).json() for m in ("a", "b", "c")]
        await held.reached
        stopped = (await client.post(f"/sessions/s/runs/{runs[1]['id']}/abort")).json()
        held.release()
        done = [await ended(client, run) for run in (runs[0], runs[2])]
        again = (await client.get(f"/sessions/s/runs/{runs[1]['id']}")).json()
    assert [run["result"]["response"] for run in done] == ["one", "two"]
    assert stopped["status"] == again["status"] == "aborted"
    assert [entry.text for entry in app.opened["s"].timeline if entry.role == "user"] == ["a", "c"]


async def test_what_was_taken_runs_after_a_restart_once() -> None:
    held, store = pause(), MemoryStore()
    async with client_of(notepad(["first ", held], store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        first = (await client.post("/sessions/s/runs", json={"message": "a"})).json()
        second = (await client.post("/sessions/s/runs", json={"message": "b"})).json()
        await held.reached
        kept = MemoryStore()  # what was stored when the process ended here
        kept.append("s", store.load("s") or [], store._texts, revision=0)
    async with client_of(notepad("after", store=kept)) as client:
        after = await ended(client, (await client.get(f"/sessions/s/runs/{second['id']}")).json())
        cut = await ended(client, (await client.get(f"/sessions/s/runs/{first['id']}")).json())
    assert (after["status"], after["result"]["response"]) == ("done", "after")
    assert cut["status"] == "interrupted"
    held.release()


class Paged(MemoryStore):
    """A store that counts the sessions that it lists at a time."""

    most = 0

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        found = super().sessions(after=after, limit=limit)
        self.most = max(self.most, len(found))
        return found


async def test_what_was_taken_is_found_after_a_restart_behind_any_number_of_sessions() -> None:
    held, store = pause(), MemoryStore()
    async with client_of(notepad([held], store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/runs", json={"message": "a"})
        await held.reached
        taken = (await client.post("/sessions/s/runs", json={"message": "b"})).json()
        kept = Paged()
        kept.append("s", store.load("s") or [], store._texts, revision=0)
    for number in range(3 * PAGE):
        kept.append(f"later-{number}", [Row("session", "", {"metadata": {}})], revision=0)
    async with client_of(notepad("after", store=kept)) as client:
        run = await ended(client, (await client.get(f"/sessions/s/runs/{taken['id']}")).json())
    assert (run["status"], kept.most) == ("done", PAGE)
    held.release()


async def test_a_run_under_a_request_id_is_taken_once() -> None:
    app = notepad("one", "two")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        body = {"message": "hi", "request_id": "r"}
        runs = [(await client.post("/sessions/s/runs", json=body)).json() for _ in range(3)]
        done = await ended(client, runs[0])
        late = (await client.post("/sessions/s/runs", json=body)).json()
        other = await client.post("/sessions/s/runs", json={**body, "message": "else"})
    assert len({run["id"] for run in (*runs, late)}) == 1
    assert (done["result"]["response"], late["result"]["response"]) == ("one", "one")
    assert other.status_code == 409


async def test_a_run_that_failed_says_so_and_one_that_is_not_there_is_not_found() -> None:
    async with client_of(notepad(RuntimeError("/etc/secret"))) as client:
        await client.post("/sessions", json={"id": "s"})
        failed = await ended(client, (await client.post("/sessions/s/runs", json={"message": "hi"})).json())
        unknown = await client.get("/sessions/s/runs/run_x")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "internal")
    assert "secret" not in str(failed)
    assert unknown.status_code == 404


async def test_a_run_that_ended_is_in_the_note_no_more() -> None:
    app = notepad("one")
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        await ended(client, (await client.post("/sessions/s/runs", json={"message": "hi"})).json())
        for _ in range(100):
            await asyncio.sleep(0)
        assert "runs" not in app.opened["s"].metadata["nbsession"]
        assert (await client.get("/sessions/s")).json()["metadata"] == {}


async def test_runs_are_gone_on_with_once_a_store_that_failed_at_the_start_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Failing(MemoryStore):
        fails = False

        def sessions(self, **options: Any) -> Any:
            if self.fails:
                self.fails = False
                raise StoreError("the store cannot be reached")
            return super().sessions(**options)

    monkeypatch.setattr("nbsession.server.service.TENDED", 0.01)
    held, store = pause(), Failing()
    async with client_of(notepad(["first ", held], store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/runs", json={"message": "a"})
        second = (await client.post("/sessions/s/runs", json={"message": "b"})).json()
        await held.reached
        kept = Failing()
        kept.append("s", store.load("s") or [], store._texts, revision=0)
    kept.fails = True
    begun = pause()
    async with client_of(notepad([begun, "after"], store=kept)) as client:
        await client.get("/health")
        await begun.reached
        begun.release()
        after = await ended(client, (await client.get(f"/sessions/s/runs/{second['id']}")).json())
    assert after["result"]["response"] == "after"
    held.release()


@pytest.mark.parametrize("ends", [True, False], ids=["in time", "too late"])
def test_a_server_that_closes_begins_nothing_any_more_and_the_next_one_does(ends: bool) -> None:
    held, store, refused = pause(), MemoryStore(), []
    with served(notepad(["one", held], "never", "never", store=store)) as (server, client):
        assert server._uvicorn is not None
        server._uvicorn._grace = 20.0 if ends else 0.1
        client.post("/sessions", json={"id": "s"})
        runs = [client.post("/sessions/s/runs", json={"message": m}).json() for m in ("a", "b", "c")]
        assert held.reached.wait(10)

        def ask(path: str) -> None:
            refused.append(client.post(f"/sessions/s/{path}", json={"message": "d"}))

        asking = [threading.Thread(target=ask, args=(path,)) for path in ("message", "message/stream")]
        for thread in asking:
            thread.start()
        while len(waiting(server)) < 4:
            pass
        closing = threading.Thread(target=server.close)
        closing.start()
        while waiting(server):
            pass
        held.release() if ends else None
        for thread in (closing, *asking):
            thread.join()
    assert {answer.status_code for answer in refused} == {200, 503}
    assert not any("done" in answer.text for answer in refused)
    with served(notepad("two", "three", store=store)) as (_, client):
        done = [client.get(f"/sessions/s/runs/{run['id']}").json() for run in runs]
        while any(run["status"] in ("queued", "running") for run in done):
            done = [client.get(f"/sessions/s/runs/{run['id']}").json() for run in runs]
    assert [run["status"] for run in done] == ["done" if ends else "aborted", "done", "done"]
    assert [run["result"]["response"] for run in done] == ["one", "two", "three"]


def waiting(server: Server) -> list[Any]:
    session = server.gateway.opened().get("s")
    return [] if session is None else list(session._core.line.waiting)
