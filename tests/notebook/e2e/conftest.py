"""JupyterLab and Chromium for the browser tests, both shut off from the world."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.notebook.e2e.lab import VIEWPORT, Lab, Notebook, launch_options, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserType, Page


class MakeNotebook(Protocol):
    """Open a notebook of the given code cells, or a copy of a file."""

    def __call__(self, *cells: str, copy: Path | None = None) -> Notebook: ...


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any], browser_type: BrowserType
) -> dict[str, Any]:
    return {**browser_type_launch_args, **launch_options(browser_type)}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": VIEWPORT}


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
