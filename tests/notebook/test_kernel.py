"""Widget messages get through while a cell awaits, on every ipykernel that is supported."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Timeline, tool
from nbsession.notebook import kernel as shims
from nbsession.notebook.loop import Engine
from nbsession.testing import ScriptedModel, call
from tests.notebook.kernels import OLDER, Kernel, older_ipykernel, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
import asyncio, contextlib
import ipykernel
from nbsession.notebook import kernel
shell = get_ipython()
came = asyncio.Event()
stack = contextlib.ExitStack()
stack.enter_context(kernel.idle_for_comms(shell))

def target(comm, opening):
    @comm.on_msg
    def on_message(message):
        print("heard", message["content"]["data"])
        if message["content"]["data"]["value"] != "not yet":
            came.set()

shell.kernel.comm_manager.register_target("test", target)
print(ipykernel.__version__)
"""

WAIT = """
async with kernel.live_comms(shell) as how:
    print("waiting", how)
    await asyncio.wait_for(came.wait(), 10)
    print("done")
"""


@pytest.fixture(scope="module", params=[*OLDER, "installed"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    version: str = request.param
    folder = older_ipykernel(version) if version != "installed" else None
    with running_kernel(folder) as kernel:
        printed = kernel.run(SETUP).text
        assert version == "installed" or printed.strip() == version
        kernel.comm("c1", {}, kind="comm_open", target_name="test", metadata={})
        yield kernel


def test_a_widget_message_reaches_its_handler_while_the_cell_awaits(kernel: Kernel) -> None:
    cell = kernel.start(WAIT)
    kernel.until_text(cell, "waiting")
    kernel.comm("c1", {"value": 1})
    ran = kernel.finish(cell)
    assert ran.error is None
    assert "done" in ran.text


def test_the_front_end_sees_idle_for_a_widget_message_before_the_cell_ends(kernel: Kernel) -> None:
    kernel.run("came.clear()")
    cell = kernel.start(WAIT)
    kernel.until_text(cell, "waiting")
    already = len(kernel.messages)
    comm = kernel.comm("c1", {"value": "not yet"})
    idle = kernel.until(lambda m: _state(m) == "idle" and _parent(m) == comm)
    kernel.until(lambda m: _state(m) == "busy" and _parent(m) == cell and _after(m, idle))
    assert "done" not in str(kernel.messages[already:])
    kernel.comm("c1", {"value": 2})
    ran = kernel.finish(cell)
    assert ran.error is None
    assert [state for state in map(_state, ran.messages) if state][-1] == "idle"


def test_what_a_cell_prints_after_a_widget_message_is_still_the_cells(kernel: Kernel) -> None:
    kernel.run("came.clear()")
    cell = kernel.start(WAIT + "\nprint('after')")
    kernel.until_text(cell, "waiting")
    kernel.comm("c1", {"value": 3})
    ran = kernel.finish(cell)
    assert ran.text.endswith("done\nafter\n")


def test_cells_that_were_sent_meanwhile_run_afterwards_in_their_order(kernel: Kernel) -> None:
    kernel.run("came.clear(); order = []")
    cell = kernel.start(WAIT + "\norder.append('first')")
    kernel.until_text(cell, "waiting")
    second = kernel.start("order.append('second')")
    third = kernel.start("order.append('third')")
    kernel.comm("c1", {"value": 4})
    for sent in (cell, second, third):
        kernel.finish(sent)
    assert kernel.run("print(order)").text == "['first', 'second', 'third']\n"


def test_without_a_kernel_everything_is_left_as_it_is() -> None:
    assert shims.of(None) is None
    assert shims.loop(None) is None
    assert shims.cell_id(None) is None
    with shims.idle_for_comms(None):
        pass


async def test_without_a_kernel_nothing_gets_through() -> None:
    async with shims.live_comms(None) as how:
        assert how == "none"


def _state(message: dict[str, Any]) -> str | None:
    state = message["content"].get("execution_state")
    return str(state) if state else None


def _parent(message: dict[str, Any]) -> str | None:
    sent = message["parent_header"].get("msg_id")
    return str(sent) if sent else None


def _after(message: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(message["header"]["date"] >= other["header"]["date"])


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The interrupts that the handler before ours was told of; like ipykernel's, it raises nothing."""
    numbers: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_interrupt_of_a_tool_that_blocks_this_loop_stops_before_the_model_is_called_again(
    heard: list[int], stubborn: bool
) -> None:
    @tool
    async def block() -> str:
        """Never come back."""
        try:
            signal.raise_signal(signal.SIGINT)
        except asyncio.CancelledError:
            if not stubborn:
                raise
        return "took no notice"

    model = ScriptedModel(call("block"), "never asked for")
    app = App(Timeline(), model=model, tools=[block])
    engine = Engine()
    try:
        app.home.bind(engine.loop, user_loop=asyncio.get_running_loop())
        with shims.interruptible_tools():
            result = await app.session().send("Go.")
    finally:
        engine.stop()
    assert heard == [signal.SIGINT]
    assert len(model.contexts) == 1
    assert result.stop_reason == "aborted"
    assert [run.result.status for run in result.tool_calls if run.result] == ["interrupted"]


def test_a_browsers_kernel_which_has_one_channel_says_which_cell_runs() -> None:
    message = {"metadata": {"cellId": "c1"}, "content": {"allow_stdin": False}}
    kernel = SimpleNamespace(comm_manager=None, get_parent=lambda: message)
    shell: Any = SimpleNamespace(kernel=kernel)
    assert shims.cell_id(shell) == "c1"
    assert not shims.may_ask(shell)
