"""Readers of a mounted tree, as a compiler would be."""

from __future__ import annotations

from typing import Any

from nbsession.tree import Fiber, Root


def texts(fiber: Fiber) -> list[str]:
    """Return the strings and leaves below a fiber, in order."""
    found: list[str] = []
    stack: list[Any] = [fiber]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Fiber):
            stack.extend(reversed(entry.children))
        else:
            found.append(str(entry))
    return found


def mounted(node: Any, **options: Any) -> Root:
    """Return a root that is mounted."""
    root = Root(node, **options)
    root.flush()
    return root


def shown(root: Root) -> str:
    """Flush, and return what is shown, with spaces between."""
    root.flush()
    return " ".join(texts(root.fiber))


def compiled(top: Fiber) -> str:
    """Return the text below a fiber by way of the outputs, working out only what was dropped."""
    stack = [top]
    while stack:
        fiber = stack[-1]
        missing = [c for c in fiber.children if isinstance(c, Fiber) and c.output is None]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        parts = [c.output if isinstance(c, Fiber) else str(c) for c in fiber.children]
        note = fiber.element.props.get("note")
        fiber.output = "".join([f"({note}" if note else "(", *parts, ")"])
    output: str = top.output
    return output


def all_fibers(top: Fiber) -> list[Fiber]:
    """Return every mounted fiber, hidden ones too."""
    found: list[Fiber] = []
    stack: list[Any] = [top]
    while stack:
        fiber = stack.pop()
        found.append(fiber)
        stack.extend(child for child in reversed(fiber.slots) if isinstance(child, Fiber))
    return found


def picture(root: Root) -> list[Any]:
    """Return everything a preview may not change, comparable."""
    fibers = [
        (
            fiber,
            id(fiber.type),
            id(fiber.element),
            fiber.parent,
            fiber.index,
            fiber.status,
            fiber.cursor,
            fiber.output,
            tuple(map(id, fiber.slots)),
            tuple(map(id, fiber.children)),
            id(fiber.scope),
            [
                (
                    id(cell),
                    [(name, repr(getattr(cell, name))) for name in _slots(cell) if hasattr(cell, name)],
                )
                for cell in fiber.hooks or ()
            ],
        )
        for fiber in all_fibers(root.fiber)
    ]
    tree = {name: repr(value) for name, value in vars(root).items()}
    return [fibers, tree]


def _slots(cell: object) -> list[str]:
    return [name for kind in type(cell).__mro__ for name in getattr(kind, "__slots__", ())]
