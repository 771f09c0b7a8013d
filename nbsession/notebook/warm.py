"""Loading ahead of need, beside the running cells: what a first display or a first request waits for."""

from __future__ import annotations

import contextlib
import importlib
import threading
from typing import TYPE_CHECKING

from nbsession import threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.models import ModelAdapter

DISPLAY = (
    "nbsession.notebook.view.execution",
    "nbsession.notebook.panels.knobs",
    "nbsession.notebook.view.cards",
    "ipywidgets",
)
DISPLAY_LIBRARIES = ("anywidget", "jinja2", "markdown_it", "nh3")


def up(*modules: str) -> threading.Thread | None:
    """Import modules in a thread of its own; one that is missing says so when it is needed."""
    return _start(_load, *modules)


def up_model(model: ModelAdapter) -> threading.Thread | None:
    """Let a model that has something to load (``warm()``) do so in a thread of its own."""
    warm = getattr(model, "warm", None)
    return None if warm is None else _start(warm)


def _start(function: Callable[..., None], *arguments: object) -> threading.Thread | None:
    if not threads.can_start():
        return None
    thread = threading.Thread(target=function, args=arguments, name="nbsession warm-up", daemon=True)
    thread.start()
    return thread


def _load(*modules: str) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
