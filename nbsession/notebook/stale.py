"""Outputs whose prompt used what has changed since: compared after each cell, and told in the output's footer.

Of a variable in an ``{{expression}}`` a bounded digest is kept, of a component its
code; so a cell that defines the same again makes nothing stale.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.notebook.view import templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType

    from nbsession.tree import Component, Element

MOST_OUTPUTS = 100
"""Outputs that are watched; of more, the oldest are let go of."""

MOST_VALUES = 2000
"""Values within a variable that its digest takes in, or rows of a frame."""

MOST_COLUMNS = 50

GONE = "gone"


class Handle(Protocol):
    """An output in the page."""

    def update(self, bundle: Mapping[str, str], *, raw: bool) -> None: ...


@dataclass(slots=True)
class Watched:
    """A finished output as it reads, what its prompt used, and of that what is told to have changed."""

    handle: Handle
    static: Mapping[str, str]
    used: Mapping[str, Any]
    told: tuple[str, ...] = ()


class Stale:
    """The outputs that are watched, by the cell they stand under."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._outputs: dict[str, Watched] = {}

    def used(self, root: Component | Element | None, expressions: Iterable[str]) -> dict[str, Any]:
        """Say what a prompt uses of the notebook's names, each with its digest as of now; no ``root`` uses none."""
        roots = dict.fromkeys(name for source in expressions for name in _names_in(source))
        components = dict.fromkeys(_components(root, self._names) if root is not None else ())
        return {name: digest(self._names[name]) for name in (*components, *roots) if name in self._names}

    def watch(self, cell: str, used: Mapping[str, Any], handle: Handle, static: Mapping[str, str]) -> None:
        """Watch an output that is finished."""
        if used:
            self._outputs[cell] = Watched(handle, static, used)
            for oldest in list(self._outputs)[:-MOST_OUTPUTS]:
                self.forget(oldest)

    def forget(self, cell: str) -> None:
        """Let go of the output of a cell that is run again."""
        self._outputs.pop(cell, None)

    def check(self, *_result: object) -> None:
        """Compare, and mark the outputs whose names have changed, and those no longer whose names are as before."""
        now: dict[str, Any] = {}
        for watched in list(self._outputs.values()):
            for name in watched.used.keys() - now.keys():
                now[name] = digest(self._names[name]) if name in self._names else GONE
            changed = tuple(name for name, then in watched.used.items() if now[name] != then)
            if changed != watched.told:
                watched.told = changed
                watched.handle.update(marked(watched.static, changed), raw=True)


def marked(static: Mapping[str, str], changed: tuple[str, ...]) -> dict[str, str]:
    """Return an output with a line below it that names what has changed since, in each of its forms."""
    if not changed:
        return dict(static)
    told = f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} changed since"
    lines = {
        "text/html": str(templates.macro("execution", "stale")(told)),
        "text/markdown": f"\n\n*{told}*",
        "text/plain": f"\n\n[{told}]",
    }
    return {mime: text + lines.get(mime, "") for mime, text in static.items()}


def digest(value: Any) -> Any:
    """Return what differs where ``value`` differs, as far as that is found within ``MOST_VALUES`` values.

    Numbers, texts and collections of them go by what they hold, frames and arrays by
    a sample of them, a component by its code; all else by which object it is, and by
    its plain attributes.
    """
    try:
        return tuple(_facts(value))
    except Exception:  # noqa: BLE001  # a type of the user's may raise at any look at it: which object it is has to do
        return id(value)


def _facts(value: Any) -> Iterator[Any]:
    from nbsession.tree import Component

    waiting, seen = [value], 0
    while waiting and seen < MOST_VALUES:
        item = waiting.pop()
        seen += 1
        kind = type(item)
        yield kind.__qualname__
        if kind in (str, bytes, int, float, complex, bool, type(None)):
            yield item if kind not in (str, bytes) else hash(item)
        elif kind in (set, frozenset):
            yield hash(frozenset(item))  # whose order says nothing
        elif kind in (list, tuple, dict):
            yield len(item)
            pairs = item.items() if kind is dict else item
            waiting += [part for part, _ in zip(pairs, range(MOST_VALUES - seen), strict=False)]
        elif isinstance(item, Component):
            yield _shape(item.function.__code__)
        elif (sampled := _sample(item)) is not None:
            yield sampled
        else:
            yield id(item)
            if item is value:
                plain = getattr(item, "__dict__", {})
                waiting += [pair for pair in list(plain.items()) if _is_plain(pair[1])]


def _is_plain(value: Any) -> bool:
    return type(value) in (str, bytes, int, float, bool, type(None), list, tuple, set, dict)


def _shape(code: CodeType) -> tuple[Any, ...]:
    """What a function does: its code without the place that it stands at."""
    constants = [_shape(part) if hasattr(part, "co_code") else repr(part) for part in code.co_consts]
    return code.co_name, code.co_code, code.co_names, code.co_varnames, tuple(constants)


def _sample(value: Any) -> tuple[Any, ...] | None:
    """Describe a frame or an array by its shape and evenly chosen values of it; ``None`` for what is neither."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "iloc"):
        rows = value.iloc[:: max(1, shape[0] // MOST_VALUES)]
        rows = rows.iloc[:, :MOST_COLUMNS] if len(shape) > 1 else rows
        hashes = sys.modules["pandas"].util.hash_pandas_object(rows)
        return shape, tuple(map(str, getattr(rows, "columns", ()))), hash(hashes.to_numpy().tobytes())
    if isinstance(shape, tuple) and hasattr(value, "flat"):
        return shape, str(value.dtype), hash(value.flat[:: max(1, value.size // MOST_VALUES)].tobytes())
    return None


def _names_in(source: str) -> Iterator[str]:
    """Give the names that an expression reads."""
    for node in ast.walk(ast.parse(source, mode="eval")):
        if isinstance(node, ast.Name):
            yield node.id


def _components(root: Component | Element, names: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of the notebook's components that a component is made with, its own first."""
    from nbsession.tree import Component

    top = root if isinstance(root, Component) else root.type
    waiting, seen = [top] if isinstance(top, Component) else [], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(names.get(found.name), Component):
            yield found.name
        below = (names.get(name) for name in _read_by(found.function.__code__))
        waiting += [part for part in below if isinstance(part, Component) and not _ours(part)]


def _ours(component: Component) -> bool:
    return component.function.__module__.partition(".")[0] == "nbsession"


def _read_by(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if hasattr(part, "co_names"):
            yield from _read_by(part)
