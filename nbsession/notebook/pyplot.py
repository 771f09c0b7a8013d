"""pyplot, refused to components while they render.

pyplot draws into one current figure that all threads share. Components render on the
engine's thread, beside the user's cells: a title meant for one's figure would come to
stand over the other's. The module is guarded once somebody else has imported it.
"""

from __future__ import annotations

import functools
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from nbsession.errors import RenderError
from nbsession.tree.rendering import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from nbsession.notebook.loop import Engine

PYPLOT = "matplotlib.pyplot"
DOORS = ("figure", "gcf")
"""The functions through which all of pyplot's others come by their figure."""


class Guard:
    """Refuses pyplot where a component renders on the engine's thread, from ``install`` to ``remove``.

    It is an import finder of ``sys.meta_path``, that it may see the module come in.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before: dict[str, Callable[..., Any]] = {}

    def install(self) -> None:
        """Guard the module now, or when it is imported."""
        sys.meta_path.insert(0, self)
        if PYPLOT in sys.modules:
            self._wrap(sys.modules[PYPLOT])

    def remove(self) -> None:
        """Give the module back as it was."""
        sys.meta_path.remove(self)
        for name, function in self._before.items():
            setattr(sys.modules[PYPLOT], name, function)
        self._before.clear()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as it is always found, to be guarded as soon as it has been run."""
        spec = PathFinder.find_spec(name, path, target) if name == PYPLOT else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_wrap(module: ModuleType) -> None:
                run(module)
                self._wrap(module)

            spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]  # of this one loader
        return spec

    def _wrap(self, module: ModuleType) -> None:
        for name in DOORS:
            self._before[name] = getattr(module, name)
            setattr(module, name, self._guarded(name, self._before[name]))

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*arguments: Any, **options: Any) -> Any:
            if self._engine.here and frames.frame.fiber is not None:
                raise RenderError(
                    f"pyplot.{name}() was called while a component renders; its current figure is shared with the "
                    "cells, which run on another thread: make the figure with matplotlib.figure.Figure(), as in "
                    "figure = Figure(); axes = figure.subplots()"
                )
            return function(*arguments, **options)

        return guarded
