"""A JupyterLab of its own for browser tests, and a notebook opened in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import BrowserType, Locator, Page, ViewportSize

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # containers run as root
    "--disable-dev-shm-usage",  # and give 64 MB of shared memory
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--mute-audio",
    "--no-first-run",
]
VIEWPORT: ViewportSize = {"width": 1200, "height": 900}
START_SECONDS = 90
ROOT = Path(__file__).parents[3]
ARTIFACTS = ROOT / "tests" / "artifacts"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--IdentityProvider.token=",
    "--ServerApp.password=",
    "--ServerApp.disable_check_xsrf=True",
    "--ServerApp.terminals_enabled=False",
    "--LabApp.extension_manager=readonly",
    # Gives the page `window.jupyterapp`, by which the tests run commands.
    "--LabApp.expose_app_in_browser=True",
    "--LanguageServerManager.autodetect=False",
    # The checkout's own: which one is installed is the environment's matter.
    f"--LabApp.extra_labextensions_path={ROOT / 'labextensions'}",
)
FOLDERS = {
    "HOME": "home",
    "IPYTHONDIR": "ipython",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "XDG_DATA_HOME": "share",
}
# Neither the settings of whoever runs the tests nor a key may reach the kernels. Without CI the simulated
# model streams at its human pace, so that there is a middle to press Stop in.
NOT_PASSED_ON = ("ANTHROPIC_", "CI", "DISPLAY", "IPYTHON", "JUPYTER", "NBSESSION_", "OPENAI_", "PYTEST")


class Lab:
    """A running server. ``root`` is the folder that it shows, ``url`` its address.

    ``windowing`` is what becomes of cells out of sight: they may not be in the page at all, or not be drawn.
    """

    def __init__(self, folder: Path, windowing: str = "none") -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self._log = folder / "lab.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        own = (f"--ServerApp.port={port}", f"--ServerApp.root_dir={self.root}")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *OPTIONS, *own],
                env=_surroundings(folder, windowing),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_up()

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def until_idle(self) -> None:
        """Wait until no kernel has anything to do."""
        until = time.monotonic() + START_SECONDS
        while any(kernel["execution_state"] != "idle" for kernel in self._kernels()):
            assert time.monotonic() < until, "a kernel is still busy"

    def _kernels(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)

    def _wait_until_up(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api/status", timeout=5).close()
            except OSError:
                if self._process.poll() is None and time.monotonic() < until:
                    continue
                raise AssertionError(f"JupyterLab did not start:\n{self.log()[-4000:]}") from None
            return


class Notebook:
    """A notebook in the page. ``errors`` are those that the page itself raised."""

    WIDGET = "window.jupyterapp.shell.currentWidget"

    def __init__(self, page: Page, lab: Lab, path: Path) -> None:
        self.page = page
        self.lab = lab
        self.path = path
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self) -> Notebook:
        """Load the page anew, and wait for the notebook and its kernel."""
        self._load()
        self._wait_for_kernel()
        return self

    def cells(self) -> Locator:
        """The code cells, in order."""
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def run_all(self) -> None:
        """Run every cell and wait until the last one has ended."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def start(self, index: int) -> None:
        """Start the code cell of that index and don't wait; ``finish`` does."""
        self.page.evaluate(
            f"""index => {{
                const notebook = {self.WIDGET}.content;
                const codes = notebook.widgets.map((cell, n) => [cell.model.type, n]).filter(c => c[0] === "code");
                notebook.activeCellIndex = codes.at(index)[1];
                notebook.deselectAll();
                window.started = window.jupyterapp.commands.execute("notebook:run-cell");
            }}""",
            index,
        )

    def finish(self) -> None:
        """Wait until the cell that was started has ended."""
        self.page.evaluate("() => window.started")

    def run(self, index: int) -> None:
        """Run the code cell of that index and wait until it has ended."""
        self.start(index)
        self.finish()

    def restart_and_run_all(self) -> None:
        """Press the toolbar's button for that, confirm, and wait until the last cell has ended."""
        self.page.evaluate(
            f"""() => {{
                window.started = new Promise(resolve => {{
                    const {{ commands }} = window.jupyterapp;
                    commands.commandExecuted.connect(function ended(_, done) {{
                        if (done.id !== "notebook:restart-run-all") return;
                        commands.commandExecuted.disconnect(ended);
                        resolve(done.result);
                    }});
                }});
                {self.WIDGET}.content.deselectAll();
            }}"""
        )
        self.page.locator(".jp-NotebookPanel-toolbar [data-command='notebook:restart-run-all']").click()
        self.page.locator(".jp-Dialog-button.jp-mod-accept").click()
        self.finish()

    def stop(self, press: str) -> float:
        """Do what stops the cell that was started, and return the seconds until it had ended.

        ``press`` is a JavaScript expression; the time is the page's own.
        """
        took: float = self.page.evaluate(
            f"""async () => {{
                const began = performance.now();
                {press};
                await window.started;
                return (performance.now() - began) / 1000;
            }}"""
        )
        return took

    def interrupt(self) -> None:
        """Interrupt the kernel, as the toolbar's button does."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")

    def restart(self) -> None:
        """Restart the kernel and wait until it is back."""
        self.page.evaluate(f"() => {self.WIDGET}.context.sessionContext.restartKernel()")
        self._wait_for_kernel()

    def reload(self) -> None:
        """Load the page anew with the kernel that runs, and don't wait for what it does."""
        self._load()
        self.page.wait_for_function(
            f"() => window.jupyterapp && {self.WIDGET}?.context?.sessionContext.session?.kernel"
        )

    def sources(self) -> list[str]:
        """The source of each code cell."""
        codes = f"{self.WIDGET}.content.widgets.filter(cell => cell.model.type === 'code')"
        found: list[str] = self.page.evaluate(f"() => {codes}.map(cell => cell.model.sharedModel.source)")
        return found

    def outputs(self) -> list[list[dict[str, Any]]]:
        """The outputs of each code cell, as they would be saved."""
        codes = f"{self.WIDGET}.content.widgets.filter(cell => cell.model.type === 'code')"
        found: list[list[dict[str, Any]]] = self.page.evaluate(
            f"() => {codes}.map(cell => cell.model.outputs.toJSON())"
        )
        return found

    def save(self) -> Any:
        """Save, and return the notebook as it is on disk."""
        self.page.evaluate(f"() => {self.WIDGET}.context.save()")
        return nbformat.read(self.path, as_version=4)

    def reopen_without_kernel(self) -> None:
        """Save, end the kernel, and open the notebook as someone does who has no such kernel."""
        saved = self.save()
        self.close()
        saved.metadata.kernelspec = {"name": "gone", "display_name": "Gone", "language": "none"}
        self.path = self.path.with_name(f"reopened-{self.path.name}")
        nbformat.write(saved, self.path)
        self._load()
        self.page.wait_for_function(f"() => window.jupyterapp && {self.WIDGET}?.context?.isReady")
        self.page.evaluate(f"() => {self.WIDGET}.context.sessionContext.ready")
        self.close()
        self.page.wait_for_function(f"() => !{self.WIDGET}.context.sessionContext.session")

    def theme(self, name: str) -> None:
        """Choose a theme by its name, as *JupyterLab Dark*."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name
        )
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def screenshot(self, name: str, *, of: Locator | None = None) -> None:
        """Keep a picture of the page among the artifacts, scrolled to where something is."""
        if of is not None:
            of.scroll_into_view_if_needed()
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")

    def close(self) -> None:
        """End the kernel."""
        self.page.evaluate(f"() => {self.WIDGET}?.context.sessionContext.shutdown()")

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            f"""() => {{
                const kernel = window.jupyterapp && {self.WIDGET}?.context?.isReady
                    && {self.WIDGET}.context.sessionContext.session?.kernel;
                return kernel?.connectionStatus === "connected" && kernel.status === "idle";
            }}""",
            timeout=60_000,
        )

    def _load(self) -> None:
        name = self.path.relative_to(self.lab.root).as_posix()
        self.page.goto(f"{self.lab.url}/lab/tree/{name}?reset", wait_until="domcontentloaded")


def write(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    # Without a kernel's name, JupyterLab asks for one in a dialog.
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def launch_options(browser: BrowserType) -> dict[str, Any]:
    """Return how Chromium is started: the system's, else the one that Playwright installed; shut off from the world."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None) or browser.executable_path
    if not Path(executable).is_file():
        raise FileNotFoundError("no Chromium: apt-get install chromium, or playwright install chromium")
    return {"executable_path": executable, "args": FLAGS, "headless": True}


def _surroundings(folder: Path, windowing: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
    for variable, name in FOLDERS.items():
        (folder / name).mkdir()
        kept[variable] = str(folder / name)
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir()
    tracker = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": windowing}}
    overrides.write_text(json.dumps({**SETTINGS, **tracker}), "utf-8")
    return {**kept, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
