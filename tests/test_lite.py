"""The lessons as a site of files: built, and the first one run by the browser's own Python.

nh3 and rpds-py are compiled for a browser by Pyodide alone, whose distribution no test can reach. Here stand-ins
take their place: one escapes what the other would clean, the other is never asked.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from tests.notebook.e2e.lab import launch_options

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LESSON = "01-see-what-the-model-saw.ipynb"
STAND_INS = {
    (
        "nh3",
        "nh3",
        "0.3.4",
    ): "from html import escape\n\n\ndef clean(html, **rules):\n    return escape(html)\n",
    ("rpds_py", "rpds", "0.30.0"): "",
}
READY = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.context;
    return context?.isReady && context.sessionContext.session?.kernel?.status === "idle";
}"""
CELLS = """() => [...jupyterapp.shell.currentWidget.content.model.cells].filter(cell => cell.type === "code")
    .map(cell => ({count: cell.executionCount, outputs: cell.outputs.toJSON()}))"""
DONE = f"({CELLS})().every(cell => cell.count || cell.outputs.some(output => output.output_type === 'error'))"
FAILED = f"({CELLS})().some(cell => cell.outputs.some(output => output.output_type === 'error'))"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def run(*command: str | Path, **added: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **added}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"


def wheels(python: Path, folder: Path) -> Path:
    """Make what Pyodide's distribution has: stand-ins, and MarkupSafe without its compiled part."""
    run(
        python,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-w",
        folder,
        "MarkupSafe",
        CC="false",
    )
    for (name, module, version), code in STAND_INS.items():
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", code)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it in an environment of its own: JupyterLab would load the extensions of the site as its own."""
    place = tmp_path_factory.mktemp("lite")
    run(sys.executable, "-m", "venv", place / "environment")
    python = place / "environment" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", ".[lite]")
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    given = wheels(python, place / "given")
    run(python, "lite/build.py", place / "site", "--wheels", given, PATH=path, PYTHONPATH="")
    return place / "site"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ran(address: str, site: Path) -> tuple[list[Any], set[str]]:
    """Run all cells of the lesson; return them and what was asked of elsewhere."""
    settings = json.loads((site / "jupyter-lite.json").read_text("utf-8"))
    settings["jupyter-config-data"]["exposeAppInBrowser"] = True
    (site / "jupyter-lite.json").write_text(json.dumps(settings), "utf-8")
    elsewhere: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options(playwright.chromium))
        page = browser.new_page()
        page.on("request", lambda asked: elsewhere.add(asked.url))
        page.goto(f"{address}/lab/index.html?path={LESSON}")
        page.wait_for_function(READY, timeout=180_000)
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(f"{DONE} || {FAILED}", timeout=180_000)
        cells: list[Any] = page.evaluate(CELLS)
        browser.close()
    return cells, {url for url in elsewhere if not url.startswith((address, "blob:", "data:"))}


@pytest.mark.timeout(900)
def test_the_first_lesson_runs_in_a_browser_alone_and_asks_nothing_of_elsewhere(
    address: str, site: Path
) -> None:
    cells, elsewhere = ran(address, site)
    assert [out for cell in cells for out in cell["outputs"] if out["output_type"] == "error"] == []
    shown = json.dumps([cell["outputs"] for cell in cells])
    assert "simulated: rules, no language model" in shown
    assert "set by the tool add_note in tick 1" in shown
    assert "guess held" in shown
    assert elsewhere == set()
