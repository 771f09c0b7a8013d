"""What may not stand in a tree, and what to say about it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from nbsession.errors import RenderError
from nbsession.tree.element import Component, Element, Host, Node
from nbsession.tree.fiber import Cell, Fiber, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


UNPACK = "use_state and use_knob give a value and its setter: value, set_value = use_…(…)"
"""What to write where the pair that a hook gives was taken for its value."""


def refused(node: Node, parent: Fiber) -> RenderError:
    """Return the error of something that is no node."""
    path = parent.path
    where = (
        f"{shorten(path)} returned"
        if isinstance(parent.type, Component)
        else f"{shorten(path) or 'the root'} got"
    )
    name = type(node).__name__
    if isinstance(node, (Component, Host)):
        return RenderError(f"{where} {node.name} itself; call it for an element: {node.name}()", path=path)
    if isinstance(node, Cell):
        return RenderError(f"{where} a hook's setter; {UNPACK}", path=path)
    if inspect.iscoroutine(node):
        node.close()
        remedy = "rendering is synchronous: fetch with use_data, or in an effect"
    elif inspect.isgenerator(node) or inspect.isasyncgen(node) or isinstance(node, (map, filter, zip, range)):
        remedy = "it can be read only once: collect it in a list"
    elif isinstance(node, dict):
        remedy = "return its text, for example json.dumps(...), or a list of nodes"
    elif isinstance(node, (set, frozenset)):
        remedy = "it has no order: use a list, for example sorted(...)"
    elif inspect.ismethod(node) and not inspect.isfunction(node.__func__):
        remedy = f"it is a class method around a {type(node.__func__).__name__}: write its decorator above @classmethod"
    elif callable(node):
        remedy = "mark it @component and call it, or @tool if the model is to call it"
    else:
        remedy = "return text (str(...)), an element, a tool, None, or a list of those"
    return RenderError(f"{where} {_article(name)} {name}, which is no node; {remedy}", path=path)


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"


def duplicate_keys(parent: Fiber, slots: Iterable[Any], nodes: Sequence[Node]) -> None:
    """Raise a ``RenderError`` if two siblings have one key."""
    keys = [entry.key for entry in slots if entry.__class__ is Fiber and entry.key is not None]
    if len(set(keys)) == len(keys):
        return
    seen: dict[str, Element] = {}
    for node in nodes:
        if isinstance(node, Element) and node.key is not None:
            first = seen.setdefault(node.key, node)
            if first is not node or sum(other is node for other in nodes) > 1:
                path = parent.path
                word = _key_word(first) if _key_word(first) == _key_word(node) else "key"
                raise RenderError(
                    f"two children of {shorten(path) or 'the root'} have the {word} {node.key!r}: {first!r} and {node!r}; "
                    f"give each sibling {_article(word)} {word} of its own",
                    path=path,
                )


def _key_word(element: Element) -> str:
    """Return what the author gave as the key: a property that stands for it, or ``key``."""
    word = element.type.key_prop if isinstance(element.type, Host) else None
    return word if word is not None and str(element.props.get(word)) == element.key else "key"


def describe(fibers: Iterable[Fiber]) -> str:
    """Return the paths of a few fibers, for a message."""
    paths = list(dict.fromkeys(shorten(fiber.path) for fiber in fibers))
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
