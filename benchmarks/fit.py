"""A budget of tokens in the tree: 5,000 parts with priorities, a knob that moves the budget, a long conversation.

Each part is a section of 400 characters, with a ``Priority`` of its own; half of them have room. *Without* is the same
tree without ``Fit`` and priorities. *Cold* works every part out anew, *leaf* follows a change of one part. Medians
of rounds in turn, in time of the processor; only ratios within one run mean anything.
"""

from __future__ import annotations

from functools import partial
from time import process_time_ns
from typing import TYPE_CHECKING, Any

from benchmarks.compile import TEXT, Mounted, interleaved
from nbsession import Fit, Priority, Section, System, Timeline, component, use_knob, use_state
from nbsession.content import Entry, Text
from nbsession.tree import Fiber

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = 5_000
BUDGET = PARTS // 2 * 100


def sections(setters: list[Any]) -> Any:
    """Return a component of the parts, each with a priority where there is a budget; the middle one changes by ``setters``."""

    @component
    def Moving(number: int) -> Any:
        state, set_state = use_state(0)
        setters[:] = [set_state]
        return Section(f"{number:04d}{TEXT[:-8]}{state % 1000:04d}", id=f"s{number}")

    @component
    def Sections(weighed: bool) -> Any:
        made = [
            Moving(number=n) if n == PARTS // 2 else Section(f"{n:04d}{TEXT}"[:400], id=f"s{n}")
            for n in range(PARTS)
        ]
        if not weighed:
            return made
        return [Priority(n % 10, part, key=n) for n, part in enumerate(made)]

    return Sections


def mounted(*, weighed: bool) -> tuple[Mounted, list[Any]]:
    """Mount the tree, and return it with the setter of the part that changes."""
    setters: list[Any] = []
    parts_of = sections(setters)

    @component
    def Root() -> Any:
        budget, _ = use_knob("tone", BUDGET, min=1, max=10_000_000)
        inside = [System("Read."), parts_of(weighed=weighed)]
        return Fit(inside, max_tokens=budget) if weighed else inside

    return Mounted(0, Root), setters


def forget(fiber: Fiber) -> None:
    """Let nothing be known of what a tree compiles to."""
    stack = [fiber]
    while stack:
        at = stack.pop()
        at.output = None
        stack.extend(child for child in at.children if isinstance(child, Fiber))


def compiles() -> dict[str, float]:
    """Milliseconds to compile the parts, with a budget and without."""
    works: dict[str, Callable[[], object]] = {}
    for name, weighed in (("without", False), ("with", True)):
        tree, setters = mounted(weighed=weighed)
        tree.compile()

        def cold(tree: Mounted = tree) -> None:
            tree.mount.compile()

        def leaf(tree: Mounted = tree, setters: list[Any] = setters) -> None:
            setters[0](lambda state: state + 1)
            tree.compile()

        works[f"{name} cold"] = cold
        works[f"{name} leaf"] = leaf
        works[f"{name} forget"] = partial(forget, tree.mount.root.fiber)
    order = ["without forget", "without cold", "without leaf", "with forget", "with cold", "with leaf"]
    return interleaved({name: works[name] for name in order}, 7, process_time_ns)


def knob() -> dict[str, float]:
    """Milliseconds from another budget to the compiled context, and to the difference that a preview shows."""
    tree, _ = mounted(weighed=True)
    before = tree.compile()

    def moved() -> None:
        value = tree.knobs["tone"]
        tree.knobs.set("tone", value + 1000 if value < BUDGET + 50_000 else BUDGET)
        tree.compile()

    def previewed() -> None:
        str(before.diff(tree.mount.preview({"tone": BUDGET - 20_000}).context).trade)

    return interleaved({"compiled": moved, "preview and difference": previewed}, 7, process_time_ns)


def conversation(size: int = 5_000) -> dict[str, float]:
    """Milliseconds a tick of a long conversation, of which a budget lets the newest tenth in."""

    @component
    def Chat() -> Any:
        return [System("Be kind."), Timeline()]

    @component
    def Fitted() -> Any:
        return Fit(System("Be kind."), Timeline(), max_tokens=size * 10)

    works: dict[str, Callable[[], object]] = {}
    for name, root in (("without", Chat), ("with", Fitted)):
        tree = Mounted(size, root)
        tree.compile()

        def appended(tree: Mounted = tree) -> None:
            tree.record.append(Entry(f"n{len(tree.record)}", tree.record.head, "user", (Text(TEXT),)))
            tree.environment.timeline_watchers.mark()
            tree.compile()

        works[name] = appended
    return interleaved(works, 10, process_time_ns)


def main() -> None:
    figures = compiles()
    print(f"| {PARTS:,} parts with priorities | without, ms | with, ms | target |\n|---|---|---|---|")
    for step in ("cold", "leaf"):
        without, budgeted = figures[f"without {step}"], figures[f"with {step}"]
        aim = f"{budgeted / without:.2f}×, ≤ 1.5×" if step == "cold" else ""
        print(f"| {step} | {without:.2f} | {budgeted:.2f} | {aim} |", flush=True)
    print("\n| a knob that moves the budget | ms | target |\n|---|---|---|")
    for name, time in knob().items():
        print(f"| {name} | {time:.2f} | {'≤ 5 ms' if name == 'compiled' else ''} |", flush=True)
    print("\n| a message more in a conversation of 5,000, the budget for a tenth | ms |\n|---|---|")
    for name, time in conversation().items():
        print(f"| {name} | {time:.3f} |", flush=True)


if __name__ == "__main__":
    main()
