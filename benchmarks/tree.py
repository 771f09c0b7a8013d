"""The tree alone: mount, update, lists, memory and depth, beside plain Python and the peers.

``python -m benchmarks.tree [ours|all]``. The *floor* is the least plain Python
that yields the same result with no reconciler: loops, slotted objects, one call
a component, and one small object for each child that a body returns, which is
what is compared where nothing else changed. A floor that leaves those objects
out is about a third lower. All figures are medians of calls in turn; only
ratios within one run mean anything.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from nbsession.tree import Element, Root, component, use_state

ROUNDS = 5
Work = Callable[[], object]
Figures = dict[str, float]


def interleaved(works: dict[str, Work], repeat: int = 1) -> Figures:
    """Return the median time in microseconds of each work, one call of each in turn."""
    times: dict[str, list[int]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        gc.collect()
        for _ in range(repeat):
            for name, work in works.items():
                start = perf_counter_ns()
                work()
                times[name].append(perf_counter_ns() - start)
    return {name: statistics.median(values) / 1000 for name, values in times.items()}


class Plain:
    """What the floor keeps for a component."""

    __slots__ = ("children", "state", "text")

    def __init__(self, state: int, text: str) -> None:
        self.state = state
        self.text = text
        self.children: list[Plain] = []


class PlainElement:
    """What the floor passes down for a component."""

    __slots__ = ("key", "number")

    def __init__(self, number: int, key: int | None = None) -> None:
        self.number = number
        self.key = key


def plain_body(element: PlainElement, state: int, size: int) -> tuple[str, list[PlainElement]]:
    text = f"node {element.number}: {state}"
    first = 10 * element.number + 1
    if first >= size:
        return text, []
    return text, [PlainElement(number=below) for below in range(first, min(first + 10, size))]


def plain_mount(size: int) -> Plain:
    text, below = plain_body(PlainElement(number=0), 0, size)
    root = Plain(0, text)
    stack = [(root, below)]
    while stack:
        parent, elements = stack.pop()
        for element in elements:
            text, below = plain_body(element, 0, size)
            node = Plain(0, text)
            parent.children.append(node)
            if below:
                stack.append((node, below))
    return root


class Forest:
    """W1 and W2: a tree in breadth-first order, fan-out 10, a state and a text each.

    ``setter`` sets the state of the deepest first leaf.
    """

    def __init__(self, size: int) -> None:
        self.setter: Any = None
        deepest = 0
        while 10 * deepest + 1 < size:
            deepest = 10 * deepest + 1

        @component
        def Node(number: int) -> Any:
            state, set_state = use_state(0)
            if number == deepest:
                self.setter = set_state
            text = f"node {number}: {state}"
            first = 10 * number + 1
            if first >= size:
                return text
            return [text, *[Node(number=below) for below in range(first, min(first + 10, size))]]

        self.root = Root(Node(number=0))
        self.root.flush()


def mount() -> Figures:
    return interleaved({"floor": lambda: plain_mount(10_000), "ours": lambda: Forest(10_000)}, repeat=3)


def leaf(size: int, *, siblings: bool = False) -> Figures:
    cells: dict[int, Any] = {}

    @component
    def Leaf(number: int) -> Any:
        state, cells[number] = use_state(0)
        return f"node {number}: {state}"

    @component
    def Row() -> Any:
        return [Leaf(number=number) for number in range(size)]

    if siblings:
        root = Root(Row())
        root.flush()
        cell = cells[size // 2]
    else:
        forest = Forest(size)
        root, cell = forest.root, forest.setter
    plain = plain_mount(size)
    node = plain
    while node.children:
        node = node.children[0]

    element = PlainElement(number=size)

    def increment(state: int) -> int:
        return state + 1

    def floor() -> None:
        node.state = increment(node.state)
        node.text = plain_body(element, node.state, size)[0]

    def ours() -> None:
        cell(increment)
        root.flush()

    return interleaved({"floor": floor, "ours": ours}, repeat=200)


def parent(how: str, size: int = 10_000) -> Figures:
    """W3: a root with leaf children, a property of the root changes."""

    @component
    def Leaf(number: int) -> Any:
        return f"leaf {number}"

    @component
    def Same(*children: Any, prop: int) -> Any:
        return [f"prop {prop}", children]

    @component
    def Equal(prop: int) -> Any:
        return [f"prop {prop}", *[Leaf(number=number) for number in range(size)]]

    @component
    def Changing(prop: int) -> Any:
        return [f"prop {prop}", *[Leaf(number=prop) for _ in range(size)]]

    children = tuple([Leaf(number=number) for number in range(size)])
    makers: dict[str, Callable[[int], Element]] = {
        "same": lambda prop: Same(*children, prop=prop),
        "equal": lambda prop: Equal(prop=prop),
        "plain": lambda prop: Changing(prop=prop),
    }
    make = makers[how]
    # One element for the children, held across renders.
    held = Same(*children, prop=0)

    @component
    def Holder(prop: int) -> Any:
        return [f"prop {prop}", held]

    if how == "same":
        make = lambda prop: Holder(prop=prop)  # noqa: E731
    root = Root(make(0))
    root.flush()
    prop = 0

    def ours() -> None:
        nonlocal prop
        prop += 1
        root.update(make(prop))
        root.flush()

    nodes = [Plain(0, f"leaf {number}") for number in range(size)]
    elements = [PlainElement(number=number) for number in range(size)]

    def plain_leaf(number: int) -> str:
        return f"leaf {number}"

    def plain_same(old: PlainElement, new: PlainElement) -> bool:
        return old.number == new.number

    def plain_root(prop: int, below: list[Plain]) -> list[Any]:
        return [f"prop {prop}", below]

    result: list[Any] = plain_root(0, nodes)

    def floor() -> None:
        nonlocal prop, elements
        prop += 1
        if how == "equal":
            fresh = [PlainElement(number=number) for number in range(size)]
            for node, old, new in zip(nodes, elements, fresh, strict=True):
                if not plain_same(old, new):
                    node.text = plain_leaf(new.number)
            elements = fresh
        elif how == "plain":
            elements = [PlainElement(number=prop) for _ in range(size)]
            for node, new in zip(nodes, elements, strict=True):
                node.text = plain_leaf(new.number)
        element = PlainElement(number=prop)
        fresh_result = plain_root(element.number, nodes)
        for at, (before, now) in enumerate(zip(result, fresh_result, strict=True)):
            if before is not now:
                result[at] = now

    return interleaved({"floor": floor, "ours": ours}, repeat=40 if how == "same" else 3)


def edits(size: int = 1000) -> dict[str, list[int]]:
    """W4: the orders that a list of keys 0 … size - 1 is brought to."""
    keys = list(range(size))
    swapped = keys.copy()
    swapped[1], swapped[-2] = swapped[-2], swapped[1]
    shuffled = keys.copy()
    random.Random(7).shuffle(shuffled)
    return {
        "append": [*keys, size],
        "insert front": [size, *keys],
        "delete": keys[: size // 2] + keys[size // 2 + 1 :],
        "last to first": [keys[-1], *keys[:-1]],
        "swap": swapped,
        "reverse": keys[::-1],
        "shuffle": shuffled,
    }


def keyed(order: list[int], size: int = 1000) -> Figures:
    states: dict[int, object] = {}
    setter: list[Any] = []

    @component
    def Item(number: int) -> Any:
        states[number], _ = use_state(object, persist=False)
        return f"item {number}"

    @component
    def Items() -> Any:
        numbers, set_numbers = use_state(list(range(size)))
        setter[:] = [set_numbers]
        return [Item(number=number, key=number) for number in numbers]

    root = Root(Items())
    root.flush()
    before = dict(states)
    first = list(range(size))

    def ours() -> None:
        setter[0](order)
        root.flush()

    def back() -> None:
        setter[0](first)
        root.flush()

    plain: dict[int, Plain] = {number: Plain(0, f"item {number}") for number in first}
    shown: list[str] = []

    def plain_item(number: int, known: Plain | None) -> Plain:
        return Plain(0, f"item {number}") if known is None else known

    def plain_items(numbers: list[int]) -> None:
        nonlocal plain, shown
        elements = [PlainElement(number=number, key=number) for number in numbers]
        after: dict[int, Plain] = {}
        for element in elements:
            after[element.number] = plain_item(element.number, plain.get(element.number))
        plain = after
        shown = [node.text for node in after.values()]

    def floor() -> None:
        plain_items(order)

    def floor_back() -> None:
        plain_items(first)

    figures = interleaved({"floor": floor, "floor_back": floor_back, "ours": ours, "back": back}, repeat=5)
    assert all(states[number] is before[number] for number in first if number in set(order))
    assert shown == [child.children[0] for child in root.fiber.children[0].children]
    return figures


def memory(size: int = 10_000) -> tuple[float, float]:
    """W7: bytes for each mounted component, ours and the floor's."""

    def measured(make: Work) -> float:
        gc.collect()
        tracemalloc.start()
        kept = make()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del kept
        return taken / size

    return measured(lambda: Forest(size)), measured(lambda: plain_mount(size))


def depth(size: int) -> dict[str, float]:
    """The longest chains: mount, one leaf's change, a change of all, a preview, unmount."""
    cells: list[Any] = []

    @component
    def Link(left: int, word: str) -> Any:
        if left:
            return Link(left=left - 1, word=word)
        count, set_count = use_state(0)
        cells[:] = [set_count]
        return f"{word} {count}"

    figures: dict[str, float] = {}

    def timed(name: str, work: Work) -> None:
        start = perf_counter_ns()
        work()
        figures[name] = (perf_counter_ns() - start) / 1e6

    root = Root(Link(left=size, word="a"))
    timed("mount", root.flush)
    cells[0](1)
    timed("leaf", root.flush)
    root.update(Link(left=size, word="b"))
    timed("all", root.flush)
    timed("preview", lambda: root.preview(None, [cells[0].fiber]))
    timed("unmount", root.unmount)
    return figures


def row(name: str, figures: Figures, target: str) -> None:
    ratio = figures["ours"] / figures["floor"]
    print(f"{name:34} {figures['floor']:10.1f} {figures['ours']:10.1f} {ratio:8.1f}×   {target}")


def main() -> None:
    print(f"{'workload (µs)':34} {'floor':>10} {'ours':>10} {'ratio':>9}   target")
    row("W1 mount 10,000", mount(), "≤ 4×")
    sizes = {size: leaf(size) for size in (100, 1000, 10_000)}
    for size, figures in sizes.items():
        row(f"W2 one leaf of {size:,}", figures, "≤ 6×")
    print(
        f"{'   t(10,000) ÷ t(100)':34} {'':10} {'':10} {sizes[10_000]['ours'] / sizes[100]['ours']:8.1f}×   ≤ 3×"
    )
    row("W2 one of 10,000 siblings", leaf(10_000, siblings=True), "≤ 6×")
    for how, target in (("same", "≤ 6×"), ("equal", "≤ 3×"), ("plain", "≤ 5×")):
        row(f"W3 parent of 10,000, {how}", parent(how), target)
    row("W3 parent of 100, same", parent("same", 100), "as above")
    lists = {name: keyed(order) for name, order in edits().items()}
    for name, figures in lists.items():
        row(f"W4 1,000 keyed, {name}", figures, "≤ 6×")
    times = [figures["ours"] for figures in lists.values()]
    print(f"{'   slowest ÷ fastest':34} {'':10} {'':10} {max(times) / min(times):8.1f}×   ≤ 1.6×")
    ours, floor = memory()
    print(f"{'W7 bytes a component':34} {floor:10.0f} {ours:10.0f} {ours / floor:8.1f}×   ≤ 900 B")
    for size in (10_000, 100_000):
        shown = ", ".join(f"{name} {value:.1f} ms" for name, value in depth(size).items())
        print(f"depth {size:,}: {shown}")
    if "ours" not in sys.argv[1:]:
        from benchmarks import tree_peers

        tree_peers.compare()


if __name__ == "__main__":
    main()
