"""JupyterLab and Chromium for the browser tests, both shut off from the world."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.notebook.e2e.lab import Lab, Notebook, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserType, Page

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


class MakeNotebook(Protocol):
    """Open a notebook of the given code cells, or a copy of a file."""

    def __call__(self, *cells: str, copy: Path | None = None) -> Notebook: ...


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any], browser_type: BrowserType
) -> dict[str, Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    installed = next(filter(None, map(shutil.which, names)), None)
    executable = installed or browser_type.executable_path
    if not Path(executable).is_file():
        pytest.fail(
            "no Chromium for the browser tests: apt-get install chromium, or playwright install chromium"
        )
    return {**browser_type_launch_args, "executable_path": executable, "args": FLAGS, "headless": True}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1200, "height": 900}}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = Lab(tmp_path_factory.mktemp("lab"))
    yield running
    running.stop()


@pytest.fixture
def notebook(lab: Lab, page: Page, request: pytest.FixtureRequest) -> Iterator[MakeNotebook]:
    opened: list[Notebook] = []
    path = lab.root / f"{request.node.name.replace('[', '-').replace(']', '')}.ipynb"

    def make(*cells: str, copy: Path | None = None) -> Notebook:
        if copy is None:
            write(path, *cells)
        else:
            shutil.copyfile(copy, path)
        opened.append(Notebook(page, lab, path).open())
        return opened[-1]

    yield make
    for one in opened:
        one.close()
