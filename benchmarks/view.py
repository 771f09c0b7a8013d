"""What the view costs: bytes to the page while it streams, milliseconds from a slider to the
difference, and bytes in a saved notebook.

The stream is 5,000 tokens at 500 tokens a second, in the Markdown that models
write; every message is counted as it is packed for the page, envelope included.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import nbformat

from nbsession import App, Knobs, Section, Session, System, Timeline, component, use_knob
from nbsession.events import ContentBlockStart, ExecutionStart, TextDelta, TickStart
from nbsession.notebook.panels.knobs import Panel
from nbsession.notebook.view.display import INTERVAL
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.live import Page, Ui
from nbsession.notebook.view.transcript import Transcript
from nbsession.testing import ScriptedModel

TOKEN = 4  # characters
RATE = 500  # tokens a second
ENVELOPE = 850  # bytes of headers around a widget's message
BLOCK = """## A heading of one line

Here is a paragraph with **bold** words, `code` and a [link](https://example.com). It goes on for a
few sentences, as paragraphs do that explain something to somebody who asked. Most of what models
write is of this kind, and in between stand lists, tables and code.

1. First, a point that takes a line of its own, with a few words to explain it
2. Second, another one that takes about as many words

A second paragraph sums up what the list said, at a similar length, and leads over to what comes
next: something in a table, perhaps, or a piece of code that shows how it is done in practice.

| what | when |
|---|---|
| tea | 10:00 |

```python
def remember(note: str) -> None:
    notes.append(note)
```

"""
SHAPES = {
    "prose, lists, tables, code": BLOCK,
    "one list without end": "- an item of a list that goes on and on, line by line\n",
    "one block of code": "    value = compute(value)  # a line of code\n",
}


def spoken_text(block: str, tokens: int) -> str:
    """Return a text of so many tokens that says a block over and over."""
    size = tokens * TOKEN
    return (block * (size // len(block) + 1))[:size]


def answers(ticks: int, tokens: int) -> list[str]:
    """Return answers that make three quarters of a context of so many tokens."""
    text = spoken_text(BLOCK, tokens // ticks * 3 // 4)
    return [f"Answer {number}. {text}" for number in range(ticks)]


def streamed(tokens: int, block: str) -> tuple[int, float]:
    """Return the bytes sent and the kernel's seconds for a response of so many tokens."""
    text = spoken_text(block, tokens)
    run = Transcript()
    page = Page(run, Ui(live=True))
    for event in (ExecutionStart("x", "s", "hello"), TickStart(0), ContentBlockStart(0, "text")):
        touched = run.apply(event)
        if touched is not None:
            page.touch(touched)
    size, began, flush_every = 0, time.perf_counter(), int(RATE * INTERVAL)
    for number in range(tokens):
        touched = run.apply(TextDelta(0, text[number * TOKEN : (number + 1) * TOKEN], number * TOKEN))
        assert touched is not None
        page.touch(touched)
        if number % flush_every == 0:
            size += ENVELOPE + len(json.dumps({"k": "ops", "n": number, "ops": page.flush()}).encode())
    return size, time.perf_counter() - began


@component
def Agent(size: int) -> Any:
    tone, _ = use_knob("tone", 1, min=1, max=9)
    line = "What every answer has to keep to, in one line of a long list of such lines.\n"
    return [
        System(f"You are an assistant of tone {tone}.\n" + line * (size * TOKEN // 2 // len(line))),
        Section(line * (size * TOKEN // 2 // len(line)), id="facts", title="Facts"),
        Knobs(),
        Timeline(),
    ]


async def slid(tokens: int) -> float:
    """Return the seconds from a slider's message to the difference shown, in the median."""
    session = App(Agent(size=tokens), model=ScriptedModel("Hello.")).session()
    await session.send("Hello.")
    panel = Panel(session)
    taken = []
    for value in (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5):
        began = time.perf_counter()
        panel.controls["tone"].value = value
        taken.append(time.perf_counter() - began)
    panel.close()
    return statistics.median(taken)


async def saved(ticks: int, tokens: int) -> tuple[int, int, int]:
    """Return a notebook's bytes after so many ticks, those of its answers alone, and its last context's tokens."""
    said = answers(ticks, tokens)  # 0.08 MB of 27,000 tokens
    session: Session = App(Agent(size=tokens // 7), model=ScriptedModel(*said)).session()
    notebook = nbformat.v4.new_notebook()
    for number in range(ticks):
        message = f"Question {number}, " + "which asks for something or other in many words, " * 4
        view = ExecutionView(session.send(message), live=False)
        await view.follow()
        output = nbformat.v4.new_output("display_data", data=view.static())
        notebook.cells.append(nbformat.v4.new_code_cell(f"%%session\n{message}", outputs=[output]))
    context = session.ticks[-1].context
    assert context is not None
    return len(nbformat.writes(notebook).encode()), sum(map(len, said)), context.tokens


def main() -> None:
    streamed(500, BLOCK)
    print("| 5,000 tokens at 500/s | to the page | 10,000 tokens | kernel | target |\n|---|---|---|---|---|")
    for name, block in SHAPES.items():
        size, seconds = streamed(5_000, block)
        double, _ = streamed(10_000, block)
        print(
            f"| {name} | {size / 1e6:.2f} MB | {double / 1e6:.2f} MB | {seconds:.2f} s | ≤ 0.5 MB, linear |",
            flush=True,
        )
    print("\n| | figure | target |\n|---|---|---|")
    took = asyncio.run(slid(20_000))
    print(f"| slider to difference, 20,000 tokens | {took * 1e3:.1f} ms | ≤ 10 ms |", flush=True)
    size, spoken, tokens = asyncio.run(saved(40, 27_000))
    print(
        f"| notebook of 40 ticks, last context {tokens:,} tokens, answers alone {spoken / 1e6:.2f} MB "
        f"| {size / 1e6:.2f} MB | ≤ 0.5 MB |"
    )


if __name__ == "__main__":
    main()
