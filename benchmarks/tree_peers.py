"""The same work in reacton and reactpy, at sizes that end within a minute.

Both render their leaves as they are meant to: reacton makes ipywidgets, reactpy
a layout. Ratios are ours to theirs, interleaved in one run.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Callable
from importlib import import_module
from time import perf_counter_ns
from typing import Any

from nbsession.tree import Root, component, use_state

ROUNDS = 3
LEAF_REPEAT = 5

Peer = Callable[[int], tuple[float, float]]
"""Mounts a tree of so many components and changes one leaf; both times in microseconds."""


def below(number: int, size: int) -> range:
    return range(10 * number + 1, min(10 * number + 11, size))


def deepest(size: int) -> int:
    number = 0
    while 10 * number + 1 < size:
        number = 10 * number + 1
    return number


def since(start: int) -> float:
    return (perf_counter_ns() - start) / 1000


def ours(size: int) -> tuple[float, float]:
    setters: dict[int, Any] = {}

    @component
    def Node(number: int) -> Any:
        state, setters[number] = use_state(0)
        return [f"node {number}: {state}", *[Node(number=child) for child in below(number, size)]]

    start = perf_counter_ns()
    root = Root(Node(number=0))
    root.flush()
    mounted = since(start)
    times = []
    for value in range(1, LEAF_REPEAT + 1):
        start = perf_counter_ns()
        setters[deepest(size)](value)
        root.flush()
        times.append(since(start))
    root.unmount()
    return mounted, statistics.median(times)


def reacton(size: int) -> tuple[float, float]:
    import ipywidgets

    # Untyped, both.
    reacton: Any = import_module("reacton")
    widgets: Any = import_module("reacton.ipywidgets")
    setters: dict[int, Any] = {}

    @reacton.component  # type: ignore[untyped-decorator]  # reacton publishes no types
    def Node(number: int) -> Any:
        state, setters[number] = reacton.use_state(0)
        label = widgets.Label(value=f"node {number}: {state}")
        return widgets.VBox(children=[label, *[Node(child) for child in below(number, size)]])

    start = perf_counter_ns()
    _, context = reacton.render(Node(0), handle_error=False)
    mounted = since(start)
    times = []
    for value in range(1, LEAF_REPEAT + 1):
        start = perf_counter_ns()
        setters[deepest(size)](value)
        times.append(since(start))
    context.close()
    ipywidgets.Widget.close_all()
    return mounted, statistics.median(times)


def reactpy(size: int) -> tuple[float, float]:
    return asyncio.run(_reactpy(size))


async def _reactpy(size: int) -> tuple[float, float]:
    from reactpy import component as reactpy_component
    from reactpy import html
    from reactpy import use_state as reactpy_state
    from reactpy.core.layout import Layout

    setters: dict[int, Any] = {}

    @reactpy_component
    def Node(number: int) -> Any:
        state, setters[number] = reactpy_state(0)
        children = [Node(child, key=str(child)) for child in below(number, size)]
        return html.div(f"node {number}: {state}", *children)

    start = perf_counter_ns()
    async with Layout(Node(0)) as layout:
        await layout.render()
        mounted = since(start)
        times = []
        for value in range(1, LEAF_REPEAT + 1):
            start = perf_counter_ns()
            setters[deepest(size)](value)
            await layout.render()
            times.append(since(start))
    return mounted, statistics.median(times)


def compare() -> None:
    peers: dict[str, Peer] = {"ours": ours, "reacton": reacton, "reactpy": reactpy}
    print(f"\n{'peers (µs)':26}" + "".join(f"{name:>12}" for name in peers) + "   ratios to ours")
    for size in (100, 500):
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
        for _ in range(ROUNDS):
            for name, peer in peers.items():
                gc.collect()
                figures[name].append(peer(size))
        for at, work in enumerate(("W1 mount", "W2 one leaf of")):
            medians = {name: statistics.median(pair[at] for pair in pairs) for name, pairs in figures.items()}
            ratios = ", ".join(f"{name} {medians[name] / medians['ours']:,.0f}×" for name in list(peers)[1:])
            shown = "".join(f"{value:12.1f}" for value in medians.values())
            print(f"{work + ' ' + str(size):26}{shown}   {ratios}")
