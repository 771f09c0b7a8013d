"""Elements, and the types they are made of: what a component returns.

Calling a component or a host gives an element and renders nothing.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from nbsession.errors import RenderError, did_you_mean
from nbsession.tree.equality import STABLE, Stable, same_props

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Node: TypeAlias = Any
"""``None``, a bool or ``""`` (nothing), text, a number, an element, a leaf, or a list or tuple of nodes."""

Key: TypeAlias = Any
"""What tells an element from its siblings; compared as text."""


class ElementType(Protocol):
    """What an element can be made of: a component, a host, a context."""

    @property
    def name(self) -> str:
        """What stands in component paths."""


class Element(Stable):
    """One use of a component or host: its children, properties and key. Not to be changed."""

    __slots__ = ("children", "key", "props", "type")

    def __init__(self, type: Any, children: tuple[Node, ...], props: dict[str, Any], key: str | None) -> None:
        self.type = type
        self.children = children
        self.props = props
        self.key = key

    def __repr__(self) -> str:
        shown = [f"{len(self.children)} children"] if self.children else []
        shown += [f"key={self.key!r}"] if self.key is not None else []
        shown += [f"{name}=…" for name in self.props]
        return f"{self.type.name}({', '.join(shown)})"


_new = object.__new__


class Component(Stable):
    """A component: call it with children and properties for an element.

    ``identity`` is what a component defined anew is recognised by, its module and
    qualified name, or ``None`` for one that was defined inside a function.
    """

    hides = False

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Node]

    def __init__(self, function: Callable[..., Node]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        local = "<locals>" in function.__qualname__
        self.identity = None if local else f"{function.__module__}:{function.__qualname__}"

    def __call__(self, *children: Node, key: Key = None, **props: Any) -> Element:
        # Not by calling Element: this runs for every child of every render.
        element = _new(Element)
        element.type = self
        element.children = children
        element.props = props
        element.key = key if key is None or type(key) is str else str(key)
        return element

    def __repr__(self) -> str:
        return f"<component {self.__qualname__}>"


def component(function: Callable[..., Node]) -> Component:
    """Make a function a component.

    The function gets the children by position and the properties by keyword, and
    returns a node. Hooks may be called in it, always in the same order. Async
    functions, generator functions and classes are refused with a ``RenderError``.
    """
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, Component):
        raise RenderError(f"{name} is a component already; take one @component away")
    if isinstance(function, type):
        raise RenderError(f"@component takes a function, and {name} is a class; write its body as a function")
    if inspect.iscoroutinefunction(function):
        raise RenderError(
            f"{name} is an async function; a component renders synchronously: "
            "write 'def', and fetch data with use_data or in an effect"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RenderError(f"{name} is a generator; a component returns its nodes: collect them in a list")
    if not inspect.isfunction(function):
        raise RenderError(f"@component takes a function, got {type(function).__name__}")
    return Component(function)


class Host(Stable):
    """An element type without a body: what it stands for is its children and properties.

    ``props`` are the properties that it takes; with ``key_prop`` one of them
    doubles as the key where none is given. Meant to be subclassed by whoever
    reads the tree.
    """

    hides = False
    """Whether some of what is mounted below is not shown; so it is with a boundary's failed children."""

    def __init__(self, name: str, *, props: Iterable[str] = (), key_prop: str | None = None) -> None:
        self.name = name
        self.props = frozenset(props) | ({key_prop} if key_prop else frozenset())
        self.key_prop = key_prop

    def __call__(self, *children: Node, key: Key = None, **props: Any) -> Element:
        if props and not props.keys() <= self.props:
            unknown = next(name for name in props if name not in self.props)
            known = sorted(self.props)
            raise RenderError(f"{self.name} has no property {unknown!r}{did_you_mean(unknown, known)}")
        if key is None and self.key_prop is not None:
            key = props.get(self.key_prop)
        if key is not None and type(key) is not str:
            key = str(key)
        return Element(self, children, props, key)

    def __repr__(self) -> str:
        return f"<host {self.name}>"

    def nodes(self, fiber: Any) -> Sequence[Node]:
        """Return what stands below a fiber of this type."""
        children: Sequence[Node] = fiber.element.children
        return children

    def renewed(self, fiber: Any, element: Element) -> None:
        """Take note that a fiber is about to get another element."""
        if not same_props(fiber.element.props, element.props):
            fiber.invalidate()


FRAGMENT = Host("")
"""The type of a nested list's fiber."""

TOP = Host("")
"""The type of the fiber above the root's node."""

STABLE.update({Element, Component, Host})
