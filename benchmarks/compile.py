"""The compiled context: after a leaf's change (W2c), of a long session (W5), and from a slider to the difference.

W5 has alternating user and assistant entries of 400 characters, every fourth
pair a tool call and its result, two tools with schemas and a system part that
a knob changes. The *floor* is the least plain Python that keeps such a context:
texts and token figures in lists, a sum, one pass over the messages where all is
new, one replaced or added item where it is not. Medians of rounds in turn;
only ratios within one run mean anything, the milliseconds are aims.
"""

from __future__ import annotations

import gc
import statistics
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from nbsession import Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.content import Block, Entry, Role, Text, ToolCall, ToolResult
from nbsession.context import Chunk
from nbsession.context.diff import diff_contexts
from nbsession.hooks import Environment, StateLog
from nbsession.knobs import Knobs
from nbsession.session import Mount
from nbsession.timeline import Record
from nbsession.timeline.record import CHUNK
from nbsession.usage import MESSAGE_OVERHEAD, estimate

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
WORDS = "The quick brown fox jumps over the lazy dog, again and again, until it is done. "
TEXT = (WORDS * 6)[:396]


def entries(size: int) -> list[Entry]:
    """Return the conversation of W5, each entry the child of the one before."""
    made: list[Entry] = []
    for number in range(size):
        role: Role = "assistant" if number % 2 else "user"
        content: tuple[Block, ...] = (Text(f"{number:04d}{TEXT}"),)
        if number % 8 == 7:
            content = (ToolCall(f"c{number}", "search", {"query": f"{number:04d}{TEXT}"}),)
        elif number % 8 == 0 and number:
            role = "tool"
            content = (ToolResult(f"c{number - 1}", "search", (Text(f"{number:04d}{TEXT}"),)),)
        made.append(Entry(f"e{number}", f"e{number - 1}" if number else None, role, content))
    return made


@tool
def search(query: str, limit: int = 5) -> str:
    """Search the archive.

    Args:
        query: What to look for.
        limit: How many results.
    """
    return query[:limit]


@tool
def remember(note: str, tags: list[str] | None = None) -> str:
    """Keep a note.

    Args:
        note: The note.
        tags: Words to find it by.
    """
    return f"{note} {tags}"


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", 1, min=1, max=1_000_000)
    return [System(f"You are an assistant of tone {tone}. {TEXT}"), search, remember, Timeline()]


class Mounted:
    """A mounted tree with a timeline, and what the floor keeps of the same."""

    def __init__(self, size: int, root: Any = Agent) -> None:
        self.record = Record()
        self.entries = entries(size + 1000)
        for entry in self.entries[:size]:
            self.record.append(entry)
        self.knobs = Knobs(on_set=lambda _: self.environment.knob_watchers.mark())
        self.environment: Environment = Environment(knobs=self.knobs, record=self.record)
        self.mount = Mount(root(), self.environment, StateLog())
        self.mount.flush()

    def compile(self) -> Any:
        self.mount.flush()
        return self.mount.compile().context

    def rebuilt(self) -> Mounted:
        """Make the compile start from the bare entries: no part, no figure and no fragment is known."""
        known = self.entries[: len(self.record)]
        self.record.chunks = tuple(
            [Chunk(tuple(known[start : start + CHUNK])) for start in range(0, len(known), CHUNK)]
        )
        self.environment.timeline_watchers.mark()
        return self

    def moved(self) -> Mounted:
        """Move the knob."""
        self.knobs.set("tone", self.knobs["tone"] + 1)
        return self

    def appended(self) -> Mounted:
        """Append the next entry."""
        self.record.append(self.entries[len(self.record)])
        self.environment.timeline_watchers.mark()
        return self


class Plain:
    """The floor: what is sent and what it costs, in plain lists of the same texts."""

    def __init__(self, size: int) -> None:
        self.source = entries(size + 1000)[: size + 1000]
        self.size = size
        self.messages: list[tuple[str, tuple[Block, ...]]] = []
        self.tokens: list[int] = []
        self.system = ""
        self.tone = 0
        self.total = 0
        self.cold()

    def cold(self) -> tuple[Any, ...]:
        self.messages, self.tokens = [], []
        for entry in self.source[: self.size]:
            self.add(entry)
        self.total = sum(self.tokens)
        return self.same()

    def add(self, entry: Entry) -> None:
        self.messages.append((entry.role, entry.content))
        tokens = MESSAGE_OVERHEAD
        for block in entry.content:
            if isinstance(block, Text):
                tokens += estimate(block.text)
            elif isinstance(block, ToolCall):
                tokens += estimate(str(block.input["query"]))
            elif isinstance(block, ToolResult):
                tokens += MESSAGE_OVERHEAD + estimate(block.content[0].text)  # type: ignore[union-attr]  # it is text here
        self.tokens.append(tokens)

    def same(self) -> tuple[Any, ...]:
        return self.system, self.messages, self.total + estimate(self.system)

    def knob(self) -> tuple[Any, ...]:
        self.tone += 1
        self.system = f"You are an assistant of tone {self.tone}. {TEXT}"
        return self.same()

    def append(self) -> tuple[Any, ...]:
        self.add(self.source[len(self.messages)])
        self.total += self.tokens[-1]
        return self.same()


def interleaved(
    works: dict[str, Callable[[], object]], repeat: int, clock: Callable[[], int] = perf_counter_ns
) -> dict[str, float]:
    """Return the median time in milliseconds of each work, one call of each in turn."""
    times: dict[str, list[int]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        gc.collect()
        for _ in range(repeat):
            for name, work in works.items():
                start = clock()
                work()
                times[name].append(clock() - start)
    return {name: statistics.median(values) / 1e6 for name, values in times.items()}


def leaf(size: int) -> float:
    """W2c: milliseconds from a leaf's state to the compiled context, in a tree of ``size`` components."""
    setters: list[Any] = []
    deepest = 0
    while 10 * deepest + 1 < size:
        deepest = 10 * deepest + 1

    @component
    def Node(number: int) -> Any:
        state, set_state = use_state(0)
        if number == deepest:
            setters[:] = [set_state]
        first = 10 * number + 1
        below = [Node(number=n) for n in range(first, min(first + 10, size))]
        return [f"node {number}: {state}", *below]

    @component
    def Root() -> Any:
        return Node(number=0)

    mounted = Mounted(0, Root)
    mounted.compile()

    def change() -> None:
        setters[0](lambda state: state + 1)
        mounted.compile()

    return interleaved({"": change}, 40)[""]


def long_session(size: int = 5000) -> dict[str, float]:
    """W5: milliseconds of each step, the floor's, ours, and ours with the hash."""
    ours, hashed, floor = Mounted(size), Mounted(size), Plain(size)
    for mounted in (ours, hashed):
        _ = mounted.compile().hash

    cold = interleaved(
        {
            "floor cold": floor.cold,
            "cold": lambda: ours.rebuilt().compile(),
            "hash cold": lambda: hashed.rebuilt().compile().hash,
        },
        2,
    )
    steps = interleaved(
        {
            "floor same": floor.same,
            "same": ours.compile,
            "hash same": lambda: hashed.compile().hash,
            "floor knob": floor.knob,
            "knob": lambda: ours.moved().compile(),
            "hash knob": lambda: hashed.moved().compile().hash,
            "floor append": floor.append,
            "append": lambda: ours.appended().compile(),
            "hash append": lambda: hashed.appended().compile().hash,
        },
        20,
    )
    assert ours.compile().hash == hashed.compile().hash
    return {**cold, **steps}


def slider(tokens: int = 20_000) -> float:
    """Milliseconds from a slider's value to what it would change, for a context of so many tokens."""
    half = "What every answer has to keep to, in one line of a long list of such lines.\n"

    @component
    def Long() -> Any:
        tone, _ = use_knob("tone", 1, min=1, max=1_000_000)
        text = half * (tokens * 4 // 2 // len(half))
        return [System(f"Tone {tone}.\n{text}"), Section(text, id="facts"), search, Timeline()]

    mounted = Mounted(20, Long)
    before = mounted.compile()
    value = 1

    def slid() -> None:
        nonlocal value
        value += 1
        str(diff_contexts(before, mounted.mount.preview({"tone": value}).context))

    return interleaved({"": slid}, 20)[""]


def main() -> None:
    print("| W2c: a leaf's state, then the compiled context | ms | target |\n|---|---|---|")
    for size in (100, 1_000, 10_000):
        aim = "≤ 0.1 ms" if size == 10_000 else ""
        print(f"| {size:,} components | {leaf(size):.3f} | {aim} |", flush=True)
    figures = long_session()
    print(
        "\n| W5: 5,000 entries | floor, ms | ours, ms | with its hash, ms | target |\n|---|---|---|---|---|"
    )
    targets = {"cold": 2.0, "same": 0.1, "knob": 0.2, "append": 0.2}
    for step, target in targets.items():
        floor, ours = figures[f"floor {step}"], figures[step]
        said = f"{ours / floor:.1f}× floor, ≤ {target:.0f}×" if step == "cold" else f"≤ {target} ms"
        print(f"| {step} | {floor:.4f} | {ours:.3f} | {figures[f'hash {step}']:.3f} | {said} |", flush=True)
    print(f"\n| slider to difference, 20,000 tokens | {slider():.2f} ms | ≤ 10 ms |")


if __name__ == "__main__":
    main()
