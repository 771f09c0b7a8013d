"""``%session serve``: the live sessions of a kernel are reached from another process, and the kernel goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.notebook.kernels import Kernel, Ran, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
%load_ext nbsession
from nbsession import *
from nbsession.testing import ScriptedModel, call

said = []

@tool
async def tell(what: str) -> str:
    "Tell the notebook."
    import asyncio, threading
    said.append((what, threading.current_thread() is threading.main_thread()))
    return "told"

@component
def Echo():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are {tone}."), tell, Timeline()]

app = App(Echo, model=ScriptedModel("in the cell", [call("tell", what="tea")], "from afar", "again in the cell", "x", "y"))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def fine(ran: Ran) -> Ran:
    assert ran.error is None, "\n".join(ran.error["traceback"])
    return ran


def client_of(ran: Ran) -> httpx.Client:
    """Return a client by what the cell showed."""
    told = "\n".join([ran.text, *ran.shown])
    url = re.findall(r"at (http://\S+)", told)[0]
    token = re.findall(r"shown again: (\S+)", told)
    return httpx.Client(
        base_url=url, headers={"authorization": f"Bearer {token[0]}"} if token else {}, timeout=30
    )


def test_a_session_of_a_kernel_is_used_from_its_cells_and_from_afar_by_turns(kernel: Kernel) -> None:
    fine(kernel.run("%session new app --id s"))
    fine(kernel.run("%%session\nhello"))
    with client_of(fine(kernel.run("%session serve --port 0"))) as client:
        assert client.get("/sessions/s").json()["entries"] == 2
        # The function is one of a cell; it runs on the kernel's own loop, which no cell blocks now.
        answer = client.post("/sessions/s/message", json={"message": "tell tea"}).json()
        assert (answer["response"], answer["steps"]) == ("from afar", 2)
        assert fine(kernel.run("print(said)")).text == "[('tea', True)]\n"
        ran = fine(kernel.run("%%session\nand now?"))
        assert "again in the cell" in ran.shown[-1]
        assert client.get("/sessions/s").json()["entries"] == 8
        client.patch("/sessions/s/knobs", json={"tone": "terse"}).raise_for_status()
        knobs = "print(get_ipython().nbsession.sessions.current.knobs['tone'])"
        assert fine(kernel.run(knobs)).text == "terse\n"


def test_serving_again_ends_the_server_before_and_stop_ends_it(kernel: Kernel) -> None:
    fine(kernel.run("%session new app --id t"))
    with (
        client_of(fine(kernel.run("%session serve --port 0"))) as first,
        client_of(fine(kernel.run("%session serve --port 0 --no-token"))) as second,
    ):
        assert second.get("/agents").json()["agents"][0]["id"] == "app"
        with pytest.raises(httpx.ConnectError):
            first.get("/health")
        assert "no more" in fine(kernel.run("%session serve --stop")).text
        with pytest.raises(httpx.ConnectError):
            second.get("/health")
    fine(kernel.run("get_ipython().nbsession.sessions.current.compile()"))
    assert "nothing is served" in fine(kernel.run("%session serve --stop")).text


def test_a_program_in_a_cell_may_serve_by_hand_and_await_beside_it(kernel: Kernel) -> None:
    fine(kernel.run("app.session('u').knobs['tone'] = 'terse'"))
    ran = fine(kernel.run("server = app.serve(0, say=None); print(server.url, server.token)"))
    url, token = ran.text.split()
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
        assert client.get("/sessions/u/knobs").json()["knobs"][0]["value"] == "terse"
    fine(kernel.run("server.close()"))
    assert fine(kernel.run("print(server.closed)")).text == "True\n"
