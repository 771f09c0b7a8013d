"""Apps, scorers and cases as bytes for another process, functions of notebook cells included.

What an importable module has is found there again by its name, as functions are: an element type, a context or a tool
is compared by identity, and a copy would be another one. All else is copied.
"""

from __future__ import annotations

import importlib
import inspect
import io
import sys
import threading
from typing import Any

from nbsession.app import App
from nbsession.errors import SessionError
from nbsession.models import default_model
from nbsession.models.wire import Wire
from nbsession.tools import Tool
from nbsession.tree import Component
from nbsession.tree.equality import Stable

INSTALL = 'pip install "nbsession[cluster]"'
_MAIN = ("__main__", "__mp_main__")
_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())


class Packer:
    """Makes bytes of what is sent; ``pickle.loads`` makes it again where ``nbsession`` can be imported.

    Raises ``SessionError`` where the package that packs functions is not installed.
    """

    def __init__(self) -> None:
        try:
            import cloudpickle
        except ImportError:
            raise SessionError(
                f"to make trials in other processes, install what sends functions there: {INSTALL}"
            ) from None
        at_home = _named(cloudpickle.list_registry_pickle_by_value())

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
            def reducer_override(self, obj: Any) -> Any:
                if isinstance(obj, (Stable, Tool)) and (place := at_home.get(id(obj))) is not None:
                    return _at, place
                reduced = _reduced(obj)
                return super().reducer_override(obj) if reduced is NotImplemented else reduced

        self._pickler = Pickler

    def pack(self, value: Any, what: str) -> bytes:
        """Return the bytes of a value. Raises ``SessionError`` that names it where it has none."""
        try:
            return self._packed(value)
        except Exception as error:
            raise SessionError(
                f"{what} cannot be sent to another process{self._because_of(value)}: {error}; make there what cannot "
                "travel (inside the function, or in an effect), or leave executor= away"
            ) from error

    def _packed(self, value: Any) -> bytes:
        file = io.BytesIO()
        self._pickler(file).dump(value)
        return file.getvalue()

    def _because_of(self, value: Any) -> str:
        """Name the variables of a function that cannot be sent."""
        function = getattr(value, "function", getattr(value, "handler", value))
        if not inspect.isfunction(function):
            return ""
        found = inspect.getclosurevars(function)
        failing = [
            f"{name!r} ({type(held).__name__})"
            for name, held in {**found.globals, **found.nonlocals}.items()
            if not self._can(held)
        ]
        return f", because of its {', '.join(failing)}" if failing else ""

    def _can(self, value: Any) -> bool:
        try:
            self._packed(value)
        except Exception:  # noqa: BLE001  # whatever it is, it cannot
            return False
        return True


def _named(by_value: set[str]) -> dict[int, tuple[str, str]]:
    """Return where modules have what is compared by identity, by its id: the one that defines it, else the first that has it."""
    found: dict[int, tuple[str, str]] = {}
    for module_name, module in list(sys.modules.items()):
        if module_name in _MAIN or module_name.partition(".")[0] in by_value or module_name in by_value:
            continue
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if isinstance(value, (Stable, Tool)):
                defines = isinstance(value, Component) and value.__module__ == module_name
                if defines or id(value) not in found:
                    found[id(value)] = module_name, name
    return found


def _at(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _reduced(obj: Any) -> Any:
    """Say how to make again what holds things of its own process; ``NotImplemented`` for all else."""
    if isinstance(obj, _LOCK):
        return threading.Lock, ()
    if isinstance(obj, _RLOCK):
        return threading.RLock, ()
    if type(obj) is Wire:
        return _wire, ({**obj.__dict__, "_clients": {}},)
    if type(obj) is Tool:
        # What was worked out from the function is worked out there again.
        copy = obj._copy()
        state = {slot: getattr(copy, slot) for slot in Tool.__slots__ if slot != "__weakref__"}
        return _tool, ({**state, "_of_class": obj._of_class},)
    if type(obj) is App:
        made = {
            "root": obj.root,
            "model": obj.model or default_model(),
            "store": obj.store,
            "tools": obj.tools,
            "max_ticks": obj.max_ticks,
            "budget": obj.budget,
            "policies": obj.policies,
            "permissions": obj.permissions,
        }
        return _app, (made,)
    return NotImplemented


def _wire(state: dict[str, Any]) -> Wire:
    wire = Wire.__new__(Wire)
    wire.__dict__.update(state)
    return wire


def _tool(state: dict[str, Any]) -> Tool:
    tool = Tool.__new__(Tool)
    for slot, value in state.items():
        setattr(tool, slot, value)
    return tool


def _app(made: dict[str, Any]) -> App:
    return App(**made)
