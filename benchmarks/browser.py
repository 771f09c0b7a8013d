"""What the views cost in a real page: JupyterLab in headless Chromium, from the kernel's work to what is painted.

Frames are the intervals between animation frames. Without a graphics card they cost what they cost: those of an empty
page stand above as the floor. Of each row the rounds' middle is given, and of each round the median and the 95th
percentile.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

from benchmarks.browser_page import Spread, Watched, stage
from benchmarks.inspector import TICKS
from benchmarks.view import SHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.browser_page import Measured, Stage

ROUNDS = 3
STREAMED = 5_000
SECONDS = 10
"""In which the streamed tokens come."""
STEPS = 40
CELLS = 40
"""Of five ticks each, in the page of 200 ticks; and of one each in the notebook that is saved."""
STEP_OF_SCROLLING = 60
MOST_FRAMES = 600
FRAME = "≤ 25 ms"
BEGIN = "%load_ext nbsession\nfrom nbsession import App\nfrom nbsession.testing import ScriptedModel, call\n"

STREAMING = f"""{BEGIN}
from benchmarks.view import SHAPES, Agent, spoken_text
text = spoken_text(SHAPES[{{shape!r}}], {STREAMED})
app = App(Agent(size=2_000), model=ScriptedModel(*[text] * {ROUNDS}, rate=len(text.split()) / {SECONDS}))
"""
LONG_PAGE = f"""{BEGIN}
from benchmarks.inspector import Notepad
from benchmarks.view import BLOCK
notes = [call("add_note", note=f"note {{n}}, of some words") for n in range(4)]
turns = [turn for n in range({CELLS}) for turn in [*notes, f"Answer {{n}}.\\n\\n" + BLOCK]]
noting = App(Notepad, model=ScriptedModel(*turns))
%session new noting --id long-page
"""
SLIDER = f"""{BEGIN}
from benchmarks.view import Agent
app = App(Agent(size=20_000), model=ScriptedModel("Hello."))
%session new app --id slid --as session
session.run("Hello.")
%session knobs
"""
SCRUBBER = f"""{BEGIN}
from benchmarks.inspector import MESSAGES, noting
app = noting()
%session new app --id stepped --as session
for message in MESSAGES:
    session.run(message)
"""
SAVED = f"""{BEGIN}
from benchmarks.view import Agent, answers
app = App(Agent(size=27_000 // 7), model=ScriptedModel(*answers({CELLS}, 27_000)))
%session new app --id saved --as session
"""


def row(name: str, figure: str, target: str = "") -> None:
    print(f"| {name} | {figure} | {target} |", flush=True)


def middle(rounds: Sequence[Spread]) -> str:
    """Write the middle of some rounds."""
    of_rounds = Spread(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))
    p95 = [each.p95 for each in rounds]
    return f"{of_rounds} ({min(p95):.1f}–{max(p95):.1f})"


def frames(name: str, rounds: Sequence[Watched]) -> None:
    row(f"{name}: frames", middle([each.frames for each in rounds]), FRAME)
    longest = statistics.median(each.longest for each in rounds)
    row(f"{name}: longest task", f"{longest:.0f} ms" if longest else "< 50 ms", "≤ 100 ms")


def floor(stage: Stage) -> None:
    """An empty page: its frames, and the time until a change of its own is painted."""
    with stage.page() as page:
        seen = [page.evaluate("() => measure.watched(() => measure.rest(3000))") for _ in range(ROUNDS)]
        taken = page.evaluate("(count) => measure.write(count)", STEPS)
    row("an empty page: frames", middle([Spread.of(each["frames"]) for each in seen]))
    row("an empty page: a change painted", str(Spread.of(taken)))


def asked(app: str, session: str) -> tuple[str, str]:
    """Return the cells that open a session of an app and ask it."""
    return f"%session new {app} --id {session}", f"%%session {session}\nTell me all."


def streamed(stage: Stage) -> None:
    """The answer of each shape, in a session of its own."""
    for place, shape in enumerate(SHAPES):
        cells = [cell for number in range(ROUNDS) for cell in asked("app", f"streamed-{place}-{number}")]
        with stage.notebook(STREAMING.format(shape=shape), *cells) as notebook:
            notebook.run(0)
            rounds = [notebook.run_after(2 * number + 1) for number in range(ROUNDS)]
        name = f"{STREAMED:,} tokens streamed, {shape}"
        row(f"{name}: on the wire", f"{max(each.wire for each in rounds) / 1e6:.2f} MB", "≤ 0.5 MB")
        frames(name, rounds)


def long_page(stage: Stage) -> None:
    """200 ticks in 40 cells: scrolled, streamed beneath, and scrolled with each unfolded."""
    asking = [f"%%session long-page\nQuestion {number}" for number in range(CELLS)]
    beneath = [cell for number in range(ROUNDS) for cell in asked("app", f"beneath-{number}")]
    first, *_ = SHAPES
    with stage.notebook(LONG_PAGE, *asking, STREAMING.format(shape=first), *beneath) as notebook:
        for number in range(CELLS + 2):
            notebook.run(number)
        notebook.check()
        scrolled("200 ticks in the page, scrolled", notebook)
        rounds = [notebook.run_after(CELLS + 2 + 2 * number) for number in range(ROUNDS)]
        frames(f"{STREAMED:,} tokens streamed beneath 200 ticks", rounds)
        notebook.page.evaluate("() => measure.unfold()")
        scrolled("200 ticks in the page, each unfolded, scrolled", notebook)


def scrolled(name: str, notebook: Measured) -> None:
    frames(name, [notebook.scroll(STEP_OF_SCROLLING, MOST_FRAMES) for _ in range(ROUNDS)])


def slid(stage: Stage) -> None:
    with stage.notebook(SLIDER) as notebook:
        notebook.run(0)
        notebook.check()
        notebook.page.locator(".nbs-knobs [role=slider]").wait_for()
        rounds = [
            Spread.of(notebook.page.evaluate("(count) => measure.slide(count)", STEPS)) for _ in range(ROUNDS)
        ]
    row("slider to painted difference, 20,000 tokens", middle(rounds), "≤ 60 ms")


def stepped(stage: Stage) -> None:
    """The inspector in JupyterLab, then the exported page of the same session."""
    with stage.notebook(SCRUBBER, "%session inspect", "session.export('stepped.html')") as notebook:
        for number in range(3):
            notebook.run(number)
        notebook.check()
        notebook.page.locator(".nbs-inspector .bars > i").first.wait_for(state="attached")
        rounds = [
            Spread.of(notebook.page.evaluate("(count) => measure.goBack(count)", STEPS))
            for _ in range(ROUNDS)
        ]
        row(f"a step of the inspector over {TICKS} ticks", middle(rounds), "≤ 50 ms")
        with stage.page() as page:
            page.goto(notebook.path.with_name("stepped.html").as_uri())
            page.evaluate("() => measure.press('End', 1)")
            rounds = [
                Spread.of(page.evaluate("(count) => measure.press('ArrowLeft', count)", STEPS))
                for _ in range(ROUNDS)
            ]
        row(f"a step of the exported page over {TICKS} ticks", middle(rounds), "≤ 50 ms")


def saved(stage: Stage) -> None:
    asking = [
        f"%%session saved\nQuestion {number}, " + "which asks for something or other in many words, " * 4
        for number in range(CELLS)
    ]
    ending = "session.export('saved.html')\nsession.ticks[-1].context.tokens"
    with stage.notebook(SAVED, *asking, ending) as notebook:
        notebook.run_all()
        notebook.check()
        notebook.save()
        notebook_size, page_size = (
            path.stat().st_size for path in (notebook.path, notebook.path.with_name("saved.html"))
        )
        tokens = notebook.outputs()[-1][0]["data"]["text/plain"]
    row(
        f"saved notebook of {CELLS} ticks, last context {tokens} tokens",
        f"{notebook_size / 1e6:.2f} MB",
        "≤ 0.5 MB",
    )
    row("exported page of the same", f"{page_size / 1e6:.2f} MB", "≤ 0.7 MB")


def main() -> None:
    load, *_ = os.getloadavg()
    print(f"load {load:.1f} on {os.cpu_count()} cores\n\n| | measured | target |\n|---|---|---|", flush=True)
    with stage() as running:
        for measure in (floor, streamed, long_page, slid, stepped, saved):
            measure(running)


if __name__ == "__main__":
    main()
