"""Behind a Jupyter server: its users ask at its own address, and nobody else at the server behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from nbsession import SessionError
from nbsession.server.proxy import setup
from tests.server.conftest import client_of, events_of, notepad

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
from nbsession.server.proxy import setup
c.ServerProxy.servers = {"nbsession": setup()}
"""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "config.py").write_text(CONFIG)
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NBSESSION_STORE": f"sqlite:///{folder / 'sessions.db'}",
        "NBSESSION_MODEL": "simulated",
    }
    command = [
        *(sys.executable, "-m", "jupyter_server", f"--port={port}", "--no-browser", "--allow-root"),
        *(
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=its-own",
            f"--config={folder / 'config.py'}",
        ),
    ]
    with Path(folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    headers = {"authorization": "token its-own"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                client.get("/api")
                break
            except httpx.ConnectError:
                assert process.poll() is None, (folder / "log").read_text()
        yield client
    process.terminate()
    process.wait(30)


def test_a_session_is_used_through_a_jupyter_server(jupyter: httpx.Client) -> None:
    made = jupyter.post("/nbsession/sessions", json={"id": "s"})
    assert made.status_code == 201
    answer = jupyter.post("/nbsession/sessions/s/message", json={"message": "hello"}).json()
    assert answer["response"]
    stream = jupyter.stream("POST", "/nbsession/sessions/s/message/stream", json={"message": "hello"})
    with stream as streamed:
        assert [event.type for _, event in events_of(streamed)][-1] == "done"


def test_a_page_of_another_site_may_not_ask_through_it(jupyter: httpx.Client) -> None:
    for path in ("/nbsession/sessions", "/nbsession/agents"):
        answer = jupyter.post(path, json={"id": "t"}, headers={"origin": "http://evil.example"})
        assert answer.status_code == 403
    assert jupyter.get("/nbsession/sessions/t").status_code == 404


def test_who_may_not_use_the_jupyter_server_may_not_ask(jupyter: httpx.Client) -> None:
    answer = httpx.get(f"{jupyter.base_url}/nbsession/agents")
    assert answer.status_code in (302, 403)


async def test_any_name_will_do_only_where_a_token_is_needed() -> None:
    with pytest.raises(SessionError, match="only where a token is needed"):
        client_of(notepad(), hosts=["*"])
    async with client_of(notepad(), hosts=["*"], tokens="the-token-of-the-tests") as client:
        headers = {"host": "hub.example", "authorization": "Bearer the-token-of-the-tests"}
        assert (await client.get("/agents", headers=headers)).status_code == 200
        own = {**headers, "origin": "https://hub.example"}
        assert (await client.get("/agents", headers=own)).status_code == 200
        other = {**headers, "origin": "https://evil.example"}
        assert (await client.get("/agents", headers=other)).status_code == 403


def test_the_apps_are_those_of_the_environment_and_each_start_has_a_token_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NBSESSION_APP", "agents:app more:other")
    first, second = setup(), setup()
    assert first["command"][4:6] == ["agents:app", "more:other"]
    assert first["environment"] != second["environment"]
    token = first["environment"]["NBSESSION_TOKEN"]
    assert first["request_headers_override"] == {"Authorization": f"Bearer {token}"}
    assert token not in " ".join(first["command"])


def test_it_is_found_by_its_entry_point() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'nbsession = "nbsession.server.proxy:setup"' in text
    assert metadata.EntryPoint("nbsession", "nbsession.server.proxy:setup", "x").load() is setup
