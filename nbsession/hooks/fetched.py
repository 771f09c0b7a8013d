"""``use_data``: what is fetched before the model is called, and kept with the state."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from nbsession.errors import NbsessionError, RenderError, SessionError
from nbsession.hooks.lifecycle import call_hook, nothing
from nbsession.hooks.state import encode
from nbsession.tree import Cell, Fiber, use_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.hooks.environment import Environment


class DataCell(Cell):
    """What ``use_data`` fetched, or is to fetch.

    Kept with the state are what was fetched and the key and dependencies that it
    was fetched for; restored, it is fetched again only where those differ.
    """

    __slots__ = ("data", "deps", "fetched", "fetcher", "fiber", "keep", "key", "pending")

    def __init__(self, fiber: Fiber, *, keep: bool) -> None:
        self.fiber = fiber
        self.keep = keep
        self.key = ""
        self.data: Any = None
        self.deps: Any = None
        self.fetcher: Callable[[], Any] = nothing
        self.fetched = self.pending = False

    @classmethod
    def mount(cls, fiber: Fiber, *, keep: bool) -> DataCell:
        """Return a cell with the data that was kept for this place, if any."""
        cell = cls(fiber, keep=keep)
        kept = (
            fiber.root.restored(fiber, fiber.cursor, None, "use_data")
            if keep and fiber.root.restore
            else None
        )
        if isinstance(kept, dict) and _readable(kept):
            # What fits its model no more is fetched again.
            with suppress(ValueError):
                cell.data = _read_data(kept)
                cell.key, cell.deps, cell.fetched = kept["key"], kept["deps"], True
        return cell

    @property
    def persist(self) -> bool:  # type: ignore[override]  # a property, because it is known only once fetched
        """Whether there is something to keep."""
        return self.keep and self.fetched

    @property
    def value(self) -> Any:
        """What is kept."""
        return _keep_data(self.key, self.deps, self.data)

    def ask(self, key: str, fetch: Callable[[], Any], deps: tuple[Any, ...]) -> Any:
        """Note what to fetch; it is due at first and when the key or a dependency changed."""
        self.fetcher = fetch
        wanted = _comparable(deps) if self.keep else deps
        if key != self.key or wanted != self.deps or not self.fetched:
            self.key, self.deps, self.pending, self.fetched = key, wanted, True, False
        if self.pending and self.fiber.previewing:
            cast("Environment", self.fiber.root.environment).asked.append(key)
        return self.data

    async def fetch(self) -> None:
        """Fetch; a failure is a ``RenderError`` and leaves it to be tried again."""
        wanted = (self.key, self.deps)
        try:
            data = await call_hook(self.fetcher)
        except NbsessionError:
            raise
        except Exception as error:
            raise RenderError(
                f"use_data({self.key!r}) of {self.fiber.path} failed: {type(error).__name__}: {error}; "
                "the next send tries again",
                path=self.fiber.path,
            ) from error
        if self.keep:
            encode(data, f"state {self.key!r} (use_data) of {self.fiber.path}")
        if wanted != (self.key, self.deps):
            return
        root = self.fiber.root
        if root.trace is not None:
            root.trace.set(self, self.fiber, self.data, "")
        self.data, self.pending, self.fetched = data, False, True
        if self.keep and root.changes is not None:
            root.changes[self] = self.fiber
        self.fiber.mark()

    def clone(self, fiber: Fiber) -> DataCell:
        copy = DataCell(fiber, keep=self.keep)
        for name in ("key", "deps", "data", "fetcher", "pending", "fetched"):
            setattr(copy, name, getattr(self, name))
        return copy


def use_data(key: str, fetch: Callable[[], Any], deps: Sequence[Any] = (), *, persist: bool = True) -> Any:
    """Return what ``fetch()`` (sync or async) gave, ``None`` until it has.

    It is awaited before the model is called, at first and when ``key`` or ``deps``
    changed; meanwhile the last value stands. A failure fails that execution with a
    ``RenderError``, and the next one tries again. With ``persist`` the data (JSON, a
    pydantic model or a list of models) is part of the kept state: a restored or
    forked session has it without fetching.
    """
    cell = use_cell("use_data", lambda fiber: DataCell.mount(fiber, keep=persist))
    return cell.ask(key, fetch, tuple(deps))


def _comparable(deps: tuple[Any, ...]) -> Any:
    """Return dependencies as JSON data, so that they compare the same after a restart.

    Those that are no JSON data stay as they are, and are other ones after a restart.
    """
    try:
        return encode(deps, "deps")
    except SessionError:
        return deps


def _keep_data(key: str, deps: Any, data: Any) -> dict[str, Any]:
    many = isinstance(data, list)
    types = {type(item) for item in (data if many else (data,))}
    model = types.pop() if len(types) == 1 else None
    kept = {"key": key, "deps": deps if isinstance(deps, list) else None, "data": encode(data, key)}
    if model is not None and hasattr(model, "model_validate"):
        kept["model"] = f"{model.__module__}:{model.__qualname__}"
    return kept


def _readable(kept: Mapping[str, Any]) -> bool:
    """Say whether kept data can be read back: the class of a model has to be there, outside any function."""
    return "model" not in kept or _class_of(kept["model"]) is not None


def _read_data(kept: Mapping[str, Any]) -> Any:
    data = kept["data"]
    model = _class_of(kept["model"]) if "model" in kept else None
    if model is None:
        return data
    return (
        [model.model_validate(item) for item in data]
        if isinstance(data, list)
        else model.model_validate(data)
    )


def _class_of(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    for step in name.split("."):
        found = getattr(found, step, None)
    return found if hasattr(found, "model_validate") else None
