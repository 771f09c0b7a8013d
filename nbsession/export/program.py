"""What defines a component, as Python source: an import where it can be imported, else what was written in cells."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbsession.tree import Component, Element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = "__main__"


class Program:
    """Source that is gathered: imports, and definitions, each after what it needs.

    ``missing`` are the names whose values cannot be written down.
    """

    def __init__(self) -> None:
        self.imports: dict[str, set[str]] = {}
        self.definitions: list[str] = []
        self.missing: list[str] = []
        self._known: set[str] = set()

    @property
    def text(self) -> str:
        """All of it, as the top of a file."""
        absent = [
            f"{name}: object = ...  # to be defined: it could not be written down" for name in self.missing
        ]
        imports = [
            f"from {module} import {', '.join(sorted(names))}" if module else "\n".join(sorted(names))
            for module, names in sorted(self.imports.items())
        ]
        blocks = ["\n".join(imports), *absent, *self.definitions]
        return "\n\n\n".join(filter(None, blocks))

    def need(self, module: str, name: str) -> None:
        """Import a name from a module; from ``""`` it is a whole line."""
        self.imports.setdefault(module, set()).add(name)

    def add(self, name: str, value: Any) -> None:
        """Make a name mean a value."""
        if name in self._known:
            return
        self._known.add(name)
        if (found := _import(name, value)) is not None:
            self.need(*found)
        elif (source := _source(value)) is not None:
            self._needs(source, value)
            self.definitions.append(source)
        elif _is_literal(value):
            self.definitions.append(f"{name} = {value!r}")
        else:
            self.missing.append(name)

    def expression(self, value: Any) -> str:
        """Return an expression for a component, an element, a tool or plain data; its names are added."""
        if isinstance(value, Element):
            children = [self.expression(child) for child in value.children]
            named = {**value.props, **({} if value.key is None else {"key": value.key})}
            given = [*children, *(f"{name}={self.expression(each)}" for name, each in named.items())]
            return f"{self.expression(value.type)}({', '.join(given)})"
        if isinstance(value, (list, tuple)) and not _is_literal(value):
            return f"[{', '.join(map(self.expression, value))}]"
        if _is_literal(value):
            return repr(value)
        function = _function(value)
        name = str(getattr(function, "__name__", None) or type(value).__name__)
        if name.isidentifier():
            self.add(name, value)
            return name
        self.add("unknown", value)
        return "unknown"

    def _needs(self, source: str, value: Any) -> None:
        nodes = list(ast.walk(ast.parse(source)))
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        names = used - own - {node.arg for node in nodes if isinstance(node, ast.arg)}
        scope = _scope(value)
        for name in sorted(names):
            if name in scope and not hasattr(builtins, name):
                self.add(name, scope[name])


def _function(value: Any) -> Any:
    for attribute in ("function", "handler", "__wrapped__"):
        inner = getattr(value, attribute, None)
        if inspect.isfunction(inner):
            return inner
    return value


def _scope(value: Any) -> Mapping[str, Any]:
    function = _function(value)
    if inspect.isfunction(function):
        closed = inspect.getclosurevars(function).nonlocals
        return {**function.__globals__, **closed}
    return vars(sys.modules[HERE]) if getattr(value, "__module__", None) == HERE else {}


def _import(name: str, value: Any) -> tuple[str, str] | None:
    """Return the module and the name (``"a as b"``) to import, ``None`` where it cannot be imported."""
    if isinstance(value, ModuleType):
        return "", f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
    function = _function(value)
    module = getattr(function, "__module__", None)
    there = str(getattr(function, "__name__", None) or name)
    places: Sequence[str] = (
        ("nbsession", str(module)) if str(module).startswith("nbsession.") else (str(module),)
    )
    for place in places:
        loaded = sys.modules.get(place)
        if (
            place != HERE
            and loaded is not None
            and getattr(loaded, there, None) is value
            and _is_found(place)
        ):
            return place, there if there == name else f"{there} as {name}"
    return None


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _source(value: Any) -> str | None:
    function = _function(value)
    if not (inspect.isfunction(function) or inspect.isclass(function)):
        return None
    try:
        source = textwrap.dedent(inspect.getsource(function)).strip()
        ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return None
    marked = isinstance(value, Component) or value is function or source.startswith("@")
    return source if marked and not source.startswith("lambda") else None


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
