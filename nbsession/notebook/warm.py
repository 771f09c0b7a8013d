"""Loading ahead of need, beside the running cells: what a first display or a first request waits for."""

from __future__ import annotations

import contextlib
import importlib
import threading

DISPLAY = ("nbsession.notebook.view", "nbsession.notebook.panels", "nbsession.notebook.cards", "ipywidgets")
DISPLAY_LIBRARIES = ("anywidget", "jinja2", "markdown_it", "nh3")
LIVE_MODEL = ("anthropic",)


def up(*modules: str) -> threading.Thread:
    """Import modules in a thread of its own; one that is missing says so when it is needed."""
    thread = threading.Thread(target=_load, args=(modules,), name="nbsession warm-up", daemon=True)
    thread.start()
    return thread


def _load(modules: tuple[str, ...]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
