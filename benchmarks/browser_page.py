"""A page of Chromium to measure in, and a notebook of a real JupyterLab opened in it."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import sync_playwright

from tests.notebook.e2e.lab import VIEWPORT, Lab, Notebook, launch_options, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from playwright.sync_api import Browser, Page, WebSocket

SCRIPT = Path(__file__).with_suffix(".js")
ROOT = Path(__file__).parents[1]
MOST_SECONDS = 300
WINDOWING = "contentVisibility"
"""As JupyterLab has it by itself."""


class Spread(NamedTuple):
    """Milliseconds in the middle, and those that 95 of 100 stay below."""

    median: float
    p95: float

    def __str__(self) -> str:
        return f"{self.median:.1f} ms, p95 {self.p95:.1f} ms"

    @classmethod
    def of(cls, taken: Sequence[float]) -> Spread:
        return cls(statistics.median(taken), statistics.quantiles(taken, n=20, method="inclusive")[-1])


class Watched(NamedTuple):
    """What a page did meanwhile: its frames, its longest task over 50 ms, and the bytes that came to it."""

    frames: Spread
    longest: float
    wire: int


class Stage:
    """Opens pages, each shut off from the others, in one browser beside one JupyterLab."""

    def __init__(self, browser: Browser, lab: Lab) -> None:
        self._browser = browser
        self._lab = lab
        self._count = itertools.count()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """An empty page, in which ``measure`` names what its script measures by."""
        context = self._browser.new_context(viewport=VIEWPORT)
        context.set_default_timeout(MOST_SECONDS * 1000)
        page = context.new_page()
        page.add_init_script(path=SCRIPT)
        page.goto("about:blank")
        yield page
        context.close()

    @contextmanager
    def notebook(self, *cells: str) -> Iterator[Measured]:
        """A notebook of these cells, none of them run yet; kernels import the benchmarks as this process does."""
        path = self._lab.root / f"measured-{next(self._count)}.ipynb"
        with self.page() as page:
            opened = Measured(page, self._lab, write(path, *cells))
            opened.open()
            yield opened
            opened.close()


class Measured(Notebook):
    """A notebook that counts what comes over its page's web sockets, uncompressed."""

    SCROLLER = ".jp-WindowedPanel-outer"

    def __init__(self, page: Page, lab: Lab, path: Path) -> None:
        super().__init__(page, lab, path)
        self._wire = 0
        page.on("websocket", self._listen)

    def run_after(self, index: int) -> Watched:
        """Run a cell, then the one after it, and say what that one was for the page."""
        self.run(index)
        before = self._wire
        self.page.evaluate(
            "() => { window.seen = measure.watched(() => new Promise((over) => { window.over = over; })); }"
        )
        self.run(index + 1)
        self.page.evaluate("() => window.over()")
        seen = self.page.evaluate("() => window.seen")
        self.check()
        return self._watched(seen, self._wire - before)

    def scroll(self, step: int, most: int) -> Watched:
        """Scroll the notebook from its top, so many pixels a frame."""
        seen = self.page.evaluate(
            "([selector, step, most]) => measure.scroll(selector, step, most)", [self.SCROLLER, step, most]
        )
        return self._watched(seen)

    def check(self) -> None:
        """Raise what a cell raised."""
        for output in itertools.chain.from_iterable(self.outputs()):
            if output["output_type"] == "error":
                raise RuntimeError("\n".join(output["traceback"]))

    def _watched(self, seen: Mapping[str, list[float]], wire: int = 0) -> Watched:
        return Watched(Spread.of(seen["frames"]), max(seen["tasks"], default=0), wire)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._came)

    def _came(self, frame: str | bytes) -> None:
        self._wire += len(frame)


@contextmanager
def stage() -> Iterator[Stage]:
    """Start a JupyterLab and a browser, and end them."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options(playwright.chromium))
        lab = Lab(Path(folder), windowing=WINDOWING)
        try:
            yield Stage(browser, lab)
        finally:
            browser.close()
            lab.stop()
