"""A panel in a real kernel, under a slider that is dragged faster than anybody does."""

from __future__ import annotations

import json
import queue
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.notebook.kernels import running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.notebook.kernels import Kernel, Ran

A_SECOND = 60
"""Values that a dragged slider sends in one."""
PANEL = """
%load_ext nbsession
from nbsession import App, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel

@component
def Agent():
    depth, _ = use_knob("depth", 0, min=0, max=1000)
    return [System(f"Depth: {depth}."), Section("All of it. " * 4000, id="long"), Timeline()]

app = App(Agent, model=ScriptedModel("Hello."))
%session new app --as flooded
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        assert kernel.run(PANEL).error is None
        yield kernel


def model_of(ran: Ran, name: str) -> str:
    """The id of the widget of that kind that a cell made."""
    return next(
        str(made["comm_id"])
        for made in ran.of("comm_open")
        if made["data"]["state"].get("_model_name") == name
    )


def test_a_slider_dragged_at_sixty_values_a_second_stays_live_and_its_last_value_wins(kernel: Kernel) -> None:
    shown = kernel.run("%session knobs", cell="panel")
    slider, preview = model_of(shown, "IntSliderModel"), model_of(shown, "HTMLModel")
    seen: list[str] = []
    for value in range(1, 2 * A_SECOND + 1):
        kernel.comm(slider, {"method": "update", "state": {"value": value}, "buffer_paths": []})
        seen += previews(kernel, preview, until=time.monotonic() + 1 / A_SECOND)
    # What was dragged over was shown while it was dragged on, not at the end; how often is for benchmarks.
    assert len(seen) > 1
    last = f"<b>depth</b>: 0 → {2 * A_SECOND}:"
    if not any(last in shown for shown in seen):
        kernel.until(lambda message: last in json.dumps(message["content"], ensure_ascii=False))
    assert kernel.run("print(flooded.knobs['depth'])").text == f"{2 * A_SECOND}\n"


def test_a_flood_of_values_all_at_once_ends_at_the_last_one(kernel: Kernel) -> None:
    slider = model_of(kernel.run("%session knobs", cell="panel"), "IntSliderModel")
    for value in [*range(1000, 200, -1), 777]:
        kernel.comm(slider, {"method": "update", "state": {"value": value}, "buffer_paths": []})
    ran = kernel.run("print(flooded.knobs['depth'], len(flooded.ticks))")
    assert ran.text == "777 0\n"


def previews(kernel: Kernel, preview: str, *, until: float) -> list[str]:
    """What the preview is set to until a moment."""
    found = []
    while (left := until - time.monotonic()) > 0:
        try:
            message: dict[str, Any] = kernel.client.get_iopub_msg(timeout=left)
        except queue.Empty:
            break
        kernel.messages.append(message)
        content = message["content"]
        if content.get("comm_id") == preview and "value" in content["data"].get("state", {}):
            found.append(str(content["data"]["state"]["value"]))
    return found
