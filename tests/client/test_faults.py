"""What goes wrong, as whoever asked is told: in one clear sentence, of the right type, with no token in it."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback

import pytest

from nbsession import BudgetError, SessionError, SessionNotFoundError
from nbsession.client import AsyncClient, Client
from nbsession.client.connection import Connection, LostError
from nbsession.client.pace import Pace
from tests.client.conftest import TOKEN, connected, serving
from tests.server.conftest import notepad


def nobody() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_where_no_server_answers_it_is_said_at_once_what_to_look_at() -> None:
    url = nobody()
    async with AsyncClient(url, token=TOKEN) as client:
        for asking in (client.health(), client.session("s").run("hi"), client.session("s").knobs.values()):
            with pytest.raises(SessionError, match=f"no server answers at {url} .*is it running there"):
                await asking


async def test_a_server_that_is_gone_for_longer_than_the_patience_is_given_up() -> None:
    with serving(notepad("one")) as server:
        client = AsyncClient(server.url, token=TOKEN, patience=0.2)
        await client.create("s")
    with pytest.raises(SessionError, match=r"no server answers at .* for 0\.2 s"):
        await client.session("s").info()
    with pytest.raises(SessionError, match="no server answers"):
        await client.session("s").send("hi")
    await client.aclose()


@pytest.mark.parametrize("token", ["", "another-token"])
async def test_a_token_that_is_missing_or_wrong_is_told_with_what_to_do_and_not_shown(token: str) -> None:
    with serving(notepad()) as server:
        async with AsyncClient(server.url, token=token) as client:
            with pytest.raises(SessionError, match=r"give token=, or set \$NBSESSION_TOKEN") as caught:
                await client.create("s")
            assert not token or token not in "".join(traceback.format_exception(caught.value))
            assert (await client.health()).status == "ok"


async def test_the_token_comes_from_the_environment_and_is_nowhere_to_be_seen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NBSESSION_TOKEN", TOKEN)
    with serving(notepad("hello")) as server, caplog.at_level(logging.DEBUG):
        async with AsyncClient(server.url) as client:
            session = await client.create("s")
            execution = session.send("hi")
            assert (await execution).text == "hello"
            shown = [repr(thing) for thing in (client, session, execution, client._connection)]
            with pytest.raises(SessionNotFoundError) as caught:
                await client.session("other").info()
        with Client(server.url) as blocking:
            shown.append(repr(blocking))
    assert not [text for text in (*shown, caplog.text, str(caught.value)) if TOKEN in text]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:2323", "looks like http://127.0.0.1:2323"),
        ("http://me:secret@127.0.0.1", "holds no password"),
        ("ftp://127.0.0.1", "is no server's URL"),
    ],
)
def test_what_is_no_servers_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(SessionError, match=said) as caught:
        AsyncClient(url)
    assert "secret" not in str(caught.value)


def test_a_token_that_no_header_holds_is_refused_without_being_shown() -> None:
    with pytest.raises(SessionError, match="copy it again") as caught:
        AsyncClient("http://127.0.0.1:1", token="sec\nret")
    assert "sec" not in str(caught.value).replace("token", "")


async def test_what_the_server_refuses_is_the_error_that_it_is_there() -> None:
    async with connected(notepad("one")) as client:
        with pytest.raises(SessionNotFoundError):
            await client.session("nowhere").send("hi")
        await client.create("s")
        with pytest.raises(SessionError, match="choose another id"):
            await client.create("s")
        with pytest.raises(SessionError, match="model"):
            await client.session("s").send("hi", model="nobody:nothing")
        with pytest.raises(SessionError, match="is part of an address"):
            client.session("s").send("hi", request_id="a/b")
        with pytest.raises(SessionError):
            client.session("s").send({"role": "nobody", "content": "x"})


async def test_what_answers_and_is_no_server_of_ours_is_told_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n<html")
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with AsyncClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(SessionError, match="is no server of nbsession's"):
            await client.agents()
    other.close()


async def test_a_server_that_has_no_time_is_asked_again_when_it_said() -> None:
    answers = [b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"]
    answers.append(b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"agents": []}'[:-1] + b"}")
    asked: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answers:
            await reader.readuntil(b"\r\n\r\n")
            asked.append(asyncio.get_running_loop().time())
            writer.write(answers.pop(0))
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with AsyncClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(SessionError):
            await client.agents()
    other.close()
    assert asked[1] - asked[0] >= 1


def test_waits_grow_to_a_bound_with_jitter_and_honour_what_the_server_asks() -> None:
    pace = Pace(10_000)
    waits = [pace.next() or 0.0 for _ in range(12)]
    assert all(0.5 * 2**n <= wait <= 0.75 * 2**n for n, wait in enumerate(waits[:6]))
    assert all(30 <= wait <= 45 for wait in waits[7:])
    assert (pace.next(least=90) or 0) >= 90
    pace.reset()
    assert 2 <= (pace.next(first=2) or 0) <= 3
    assert Pace(0.1).next() is None


async def test_what_may_have_been_done_is_not_done_again_unasked() -> None:
    connection = Connection(nobody(), None, 0.1)
    connection._reached = True

    async def lost(*_: object, **__: object) -> None:
        raise LostError("it broke")

    connection._send = lost  # type: ignore[assignment]  # a connection that breaks after the request was sent
    with pytest.raises(SessionError, match="it may have been done or not"):
        await connection.call("POST", "/sessions/s/steer", body={})
    with pytest.raises(SessionError, match="no server answers"):
        await connection.call("GET", "/sessions/s")


async def test_a_budget_ends_an_execution_as_it_does_here() -> None:
    async with connected(notepad("one")) as client:
        session = await client.create("s")
        try:
            assert (await session.send("hi", budget=1e-9)).stop_reason in ("budget", "end_turn")
        except BudgetError as error:
            pytest.fail(f"local executions do not raise it: {error}")
