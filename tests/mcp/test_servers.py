"""Real servers: one that others wrote, and one over streamable HTTP."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nbsession.errors import RenderError
from nbsession.mcp import MCP
from nbsession.testing import call
from tests.support.mcp_sessions import app_of, official, results

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession import Session

    Open = Callable[..., Session]

TIME = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "Europe/Vienna"]


class TestTime:
    async def test_its_tools_answer_and_its_errors_are_the_model_s(self, opened: Open) -> None:
        convert = call(
            "convert_time", source_timezone="Europe/Vienna", time="12:30", target_timezone="Asia/Kathmandu"
        )
        says = [convert, call("get_current_time", timezone="Nowhere/Else"), "ok"]
        session = opened(app_of(MCP("time", command=TIME), says=says))
        result = await session.send("Go.")
        current, converting = result.ticks[0].context.tools
        assert (current.name, converting.name) == ("get_current_time", "convert_time")
        assert "Europe/Vienna" in current.input_schema["properties"]["timezone"]["description"]
        assert converting.input_schema["required"] == ["source_timezone", "time", "target_timezone"]
        converted, refused = results(session)
        assert "Asia/Kathmandu" in converted.text
        assert not converted.is_error
        assert refused.is_error
        assert "Nowhere/Else" in refused.text

    async def test_what_it_says_when_it_cannot_start_is_told(self, opened: Open) -> None:
        session = opened(app_of(MCP("time", command=[*TIME[:-1], "Nowhere/Else"]), says=["never"]))
        with pytest.raises(RenderError, match=r"invalid --local-timezone 'Nowhere/Else'.*exit code 1"):
            await session.send("Go.")


@asynccontextmanager
async def over_http(folder: Path, port: int) -> AsyncIterator[None]:
    """Run the tests' own server on a port until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *official(folder), str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


class TestHTTP:
    async def test_tools_answer_change_and_come_back_with_their_server(
        self, tmp_path: Path, port: int, opened: Open
    ) -> None:
        says = [call("add", a=1), call("grow"), call("grown"), "one", call("add", a=2), "two"]
        url = f"http://127.0.0.1:{port}/mcp"
        session = opened(app_of(MCP("far", url=url, headers={"X-Key": "k"}), says=says))
        async with over_http(tmp_path, port):
            result = await session.send("Go.")
            assert "grown" in [tool.name for tool in result.ticks[2].context.tools]
            assert results(session)[2].text == "grown answers"
        async with over_http(tmp_path, port):
            await session.send("Go on.")
            assert '"total": 3' in results(session)[3].text

    async def test_a_change_that_others_make_is_followed(
        self, tmp_path: Path, port: int, opened: Open
    ) -> None:
        url = f"http://127.0.0.1:{port}/mcp"
        session = opened(app_of(MCP("far", url=url), says=["ok"] * 100))
        other = opened(app_of(MCP("far", url=url), says=[call("grow"), "ok"]))
        async with over_http(tmp_path, port), asyncio.timeout(30):
            await session.send("Go.")
            await other.send("Go.")
            while not any(tool.name == "grown" for tool in session.ticks[-1].context.tools):
                await session.send("Look.")

    async def test_a_call_while_it_is_away_fails_and_the_session_goes_on(
        self, tmp_path: Path, port: int, opened: Open
    ) -> None:
        says = ["one", call("add", a=2), "two"]
        session = opened(app_of(MCP("far", url=f"http://127.0.0.1:{port}/mcp"), says=says))
        async with over_http(tmp_path, port):
            await session.send("Go.")
        assert (await session.send("Go on.")).text == "two"
        assert results(session)[0].is_error
        assert f"MCP server 'far' (http://127.0.0.1:{port}/mcp) did not start: " in results(session)[0].text
        assert any("ended; it is started again" in note for note in session.notes)

    async def test_one_that_refuses_is_said_with_its_status(self, port: int, opened: Open) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        session = opened(app_of(MCP("far", url=f"http://127.0.0.1:{port}/mcp"), says=["never"]))
        async with await asyncio.start_server(refuse, "127.0.0.1", port):
            with pytest.raises(RenderError, match=r"did not start: .*HTTP 401 Unauthorized"):
                await session.send("Go.")

    async def test_one_that_is_not_there_is_said_without_the_secrets_of_its_url(
        self, port: int, opened: Open
    ) -> None:
        url = f"http://user:s3cret@127.0.0.1:{port}/mcp?key=s3cret"
        session = opened(app_of(MCP("far", url=url), says=["never"]))
        with pytest.raises(RenderError) as caught:
            await session.send("Go.")
        assert f"MCP server 'far' (http://127.0.0.1:{port}/mcp) did not start: " in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert session.status == "idle"
