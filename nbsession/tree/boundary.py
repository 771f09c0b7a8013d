"""``ErrorBoundary``: shows a fallback where something below raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.errors import RenderError
from nbsession.tree.element import Element, Host, Key, Node
from nbsession.tree.equality import STABLE
from nbsession.tree.fiber import Cell, Fiber

if TYPE_CHECKING:
    from collections.abc import Sequence


class Failures(Cell):
    """What a boundary's fiber keeps: the fibers below that raised, and their errors."""

    __slots__ = ("errors", "retry")

    kind = "failures"

    def __init__(self) -> None:
        self.errors: dict[Fiber, Exception] = {}
        self.retry = False

    def clone(self, fiber: Fiber) -> Failures:
        failures = Failures()
        failures.errors = self.errors.copy()
        return failures


class Boundary(Host):
    """The type of ``ErrorBoundary``.

    Its fiber has two slots: the children, which stay mounted with their state when
    something in them raises, and the fallback, which is then shown instead.
    """

    hides = True

    def __call__(self, *children: Node, key: Key = None, **props: Node) -> Element:
        """Return an element that shows ``fallback`` (a node, or a function of the error) where a child raises.

        The children are tried again when the element changes, and when the component
        that failed is marked dirty.
        """
        if "fallback" not in props:
            raise RenderError(
                "ErrorBoundary needs fallback=: a node, or a function of the error that returns one"
            )
        return super().__call__(*children, key=key, **props)

    def nodes(self, fiber: Fiber) -> Sequence[Node]:
        """Return the children, and the fallback while something in them fails."""
        failures = failures_of(fiber)
        children = fiber.element.children
        if not failures.errors:
            return (children,)
        if failures.retry:
            failures.retry = False
            fiber.root.reach(failures.errors)
        fallback = fiber.element.props["fallback"]
        if callable(fallback) and not isinstance(fallback, fiber.root.leaves):
            fallback = fallback(next(iter(failures.errors.values())))
        return (children, [fallback])

    def renewed(self, fiber: Fiber, element: Element) -> None:
        """Let what failed be tried again."""
        failures_of(fiber).retry = True


ErrorBoundary = Boundary("ErrorBoundary", props=("fallback",))
"""``ErrorBoundary(*children, fallback=)`` shows ``fallback(error)`` where a child raised while rendering."""

STABLE.add(Boundary)


def failures_of(boundary: Fiber) -> Failures:
    """Return the failures of a boundary's fiber."""
    if boundary.hooks is None:
        boundary.hooks = [Failures()]
    failures = boundary.hooks[0]
    assert isinstance(failures, Failures)
    return failures


def nearest_boundary(fiber: Fiber) -> Fiber | None:
    """Return the boundary that answers for ``fiber``; a fallback's own errors are for the next one above."""
    child = fiber
    while (parent := child.parent) is not None:
        if isinstance(parent.type, Boundary) and child.index == 0:
            return parent
        child = parent
    return None
