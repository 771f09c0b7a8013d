"""Contexts: values that reach every component below, without being passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from nbsession.errors import RenderError
from nbsession.tree.element import Element, Node
from nbsession.tree.equality import STABLE, Stable, same
from nbsession.tree.fiber import Cell, Fiber
from nbsession.tree.rendering import frames, keep, mismatch, outside

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Provision(Cell):
    """What a provider's fiber keeps: the value, and the fibers that read it."""

    __slots__ = ("consumers", "context", "value")

    kind = "provision"

    def __init__(self, context: Context[T], value: T) -> None:
        self.context = context
        self.value = value
        self.consumers: dict[Fiber, None] = {}

    def clone(self, fiber: Fiber) -> Provision:
        provision = Provision(self.context, self.value)
        # The live readers: a preview clones them once the value changes.
        provision.consumers = self.consumers.copy()
        fiber.scope = {**fiber.scope, self.context: provision}
        return provision


class Context(Stable, Generic[T]):
    """A value for the components below: ``context(value, *children)`` provides it, ``use_context`` reads it."""

    hides = False

    def __init__(self, default: T, name: str | None = None) -> None:
        self.default = default
        self.name = name or "Context"

    def __call__(self, value: T, *children: Node, key: object = None) -> Element:
        return Element(self, children, {"value": value}, None if key is None else str(key))

    def __repr__(self) -> str:
        return f"<context {self.name}>"

    def nodes(self, fiber: Fiber) -> Sequence[Node]:
        """Provide the element's value, mark those who read another one, and return the children."""
        value = fiber.element.props["value"]
        if fiber.hooks is None:
            provision = Provision(self, value)
            fiber.hooks = [provision]
            fiber.scope = {**fiber.scope, self: provision}
        else:
            provision = cast("Provision", fiber.hooks[0])
            if not same(provision.value, value):
                if (trace := fiber.root.trace) is not None:
                    for consumer in provision.consumers:
                        trace.contexts.setdefault((consumer, self.name), provision.value)
                provision.value = value
                fiber.root.reach(provision.consumers)
        return fiber.element.children

    def renewed(self, fiber: Fiber, element: Element) -> None:
        """Nothing: the value is no output."""


STABLE.add(Context)


class Reading(Cell):
    """A component's hold on a context."""

    __slots__ = ("context", "fiber", "provision")

    kind = "context"

    def __init__(self, fiber: Fiber, context: Context[T]) -> None:
        self.fiber = fiber
        self.context = context
        self.provision: Provision | None = fiber.scope.get(context)
        if self.provision is not None:
            self.provision.consumers[fiber] = None

    @property
    def current(self) -> object:
        """The nearest provider's value, or the default."""
        return self.context.default if self.provision is None else self.provision.value

    def unmount(self) -> None:
        if self.provision is not None:
            self.provision.consumers.pop(self.fiber, None)

    def clone(self, fiber: Fiber) -> Reading:
        return Reading(fiber, self.context)


def create_context(default: T, name: str | None = None) -> Context[T]:
    """Return a context that gives ``default`` where no provider is above; ``name`` stands in paths."""
    return Context(default, name)


def use_context(context: Context[T]) -> T:
    """Return the value of the nearest provider above; the component renders again when it changes."""
    fiber = frames.frame.fiber
    if fiber is None:
        raise outside("use_context")
    if not isinstance(context, Context):
        raise RenderError(f"use_context takes what create_context returned, got {type(context).__name__}")
    at = fiber.cursor
    hooks = fiber.hooks
    if hooks is None or at >= len(hooks):
        reading = Reading(fiber, context)
        keep(fiber, reading)
    else:
        found = hooks[at]
        if not isinstance(found, Reading):
            raise mismatch(fiber, at, "context")
        if found.context is not context:
            # The defining cell was run again, so the context is another object.
            found.unmount()
            hooks[at] = found = Reading(fiber, context)
        reading = found
    fiber.cursor = at + 1
    return cast("T", reading.current)
