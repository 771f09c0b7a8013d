"""Several who ask at the same moment: one has it, the others are told so, and nobody sees what is another's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nbsession.server import Limits
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import pause
from tests.server.conftest import client_of, notepad
from tests.server.test_guard import ALICE, BOB, USERS, bearer

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


def stored(folder: Path) -> Any:
    """Return an app with a store that is asked in a thread, so that others come in between."""
    return notepad(*["hello"] * 50, store=SqlStore(f"sqlite:///{folder / 'sessions.db'}"))


def statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_of_several_who_want_one_id_at_once_one_gets_it_and_no_other_sees_the_session(
    tmp_path: Path,
) -> None:
    async with client_of(stored(tmp_path), tokens=USERS) as client:
        for n in range(5):
            asked = [
                client.post("/sessions", json={"id": f"s{n}"}, headers=bearer(whose))
                for whose in (ALICE, BOB, ALICE, BOB)
            ]
            answers = await asyncio.gather(*asked)
            assert statuses(answers) == [201, 409, 409, 409]
            assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 409} == {
                "exists"
            }
        await client.post("/sessions", json={"id": "a"}, headers=bearer(ALICE))
        await client.post("/sessions", json={"id": "b"}, headers=bearer(BOB))
        forks = [
            client.post(f"/sessions/{name}/fork", json={"id": "f"}, headers=bearer(whose))
            for name, whose in (("a", ALICE), ("b", BOB), ("a", ALICE))
        ]
        assert statuses(await asyncio.gather(*forks)) == [201, 409, 409]


async def test_of_several_writes_that_match_one_etag_one_is_made(tmp_path: Path) -> None:
    async with client_of(stored(tmp_path)) as client:
        made = await client.post("/sessions", json={"id": "s"})
        tag = {"if-match": made.headers["etag"]}
        writes = [client.put("/sessions/s", json={"metadata": {"n": n}}, headers=tag) for n in range(4)]
        answers = await asyncio.gather(*writes)
        assert statuses(answers) == [200, 412, 412, 412]
        written = next(answer.json() for answer in answers if answer.status_code == 200)
        assert (await client.get("/sessions/s")).json()["metadata"] == written["metadata"]


async def test_a_session_that_is_asked_for_while_it_is_deleted_does_not_come_back(tmp_path: Path) -> None:
    app = stored(tmp_path)

    async def later(work: Any, turns: int) -> httpx.Response:
        for _ in range(turns):
            await asyncio.sleep(0)
        answer: httpx.Response = await work
        return answer

    async with client_of(app) as client:
        for n in range(8):
            path = f"/sessions/d{n}"
            await client.post("/sessions", json={"id": f"d{n}"})
            others = [later(client.get(path), 3 * turns) for turns in range(10)]
            sent = client.post(f"{path}/message", json={"message": "hi"})
            deleted, *_ = await asyncio.gather(client.delete(path), sent, *others)
            assert deleted.status_code == 204
            assert (await client.get(path)).status_code == 404
            assert f"d{n}" not in app.opened


async def test_a_fork_does_not_have_the_runs_of_its_parent() -> None:
    held, store = pause(), MemoryStore()
    async with client_of(notepad(["one", held], "two", store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/runs", json={"message": "a"})
        await held.reached
        await client.post("/sessions/s/fork", json={"id": "f"})
        kept = [row.data["metadata"]["nbsession"] for row in store.load("f") or [] if row.kind == "session"]
        held.release()
    assert "runs" not in kept[-1]


async def test_a_run_that_was_stopped_is_told_to_its_own_session_only() -> None:
    held = pause()
    app = notepad(["one", held], "two", "three")
    async with client_of(app, tokens=USERS) as client:
        await client.post("/sessions", json={"id": "a"}, headers=bearer(ALICE))
        await client.post("/sessions", json={"id": "b"}, headers=bearer(BOB))
        await client.post("/sessions/a/runs", json={"message": "1"}, headers=bearer(ALICE))
        second = (await client.post("/sessions/a/runs", json={"message": "2"}, headers=bearer(ALICE))).json()
        await held.reached
        await client.post(f"/sessions/a/runs/{second['id']}/abort", headers=bearer(ALICE))
        assert (
            await client.get(f"/sessions/a/runs/{second['id']}", headers=bearer(ALICE))
        ).status_code == 200
        assert (await client.get(f"/sessions/b/runs/{second['id']}", headers=bearer(BOB))).status_code == 404
        held.release()


async def test_forks_without_a_store_are_not_endless() -> None:
    async with client_of(notepad(store=None), limits=Limits(sessions=3)) as client:
        await client.post("/sessions", json={"id": "s"})
        answers = [await client.post("/sessions/s/fork", json={}) for _ in range(4)]
    assert statuses(answers) == [201, 201, 429, 429]


async def test_of_two_runs_under_one_request_id_the_one_that_was_taken_is_the_one_that_is_kept(
    tmp_path: Path,
) -> None:
    held, store = pause(), SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}")
    async with client_of(notepad(["one", held], "two", store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/runs", json={"message": "first"})
        await held.reached
        asked = [
            client.post("/sessions/s/runs", json={"message": message, "request_id": "r"}) for message in "ab"
        ]
        answers = await asyncio.gather(*asked)
        assert statuses(answers) == [202, 409]
        metadata = [row.data["metadata"] for _, row in store.rows("s", kinds=["session"])][-1]
        kept = [run["message"] for run in metadata["nbsession"]["runs"].values()]
        assert kept == ["first", "a" if answers[0].status_code == 202 else "b"]
        held.release()
