"""Leaving components out: what would be sent without them, and what a fork without them begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.context import LEFT_OUT, Part, Withheld, fragment_of
from nbsession.errors import SessionError, did_you_mean
from nbsession.tree import Fiber

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.context import Compiled
    from nbsession.models.base import ModelAdapter
    from nbsession.session.core import SessionCore


def compiled_without(
    core: SessionCore, components: Sequence[Any], model: ModelAdapter | None = None
) -> Compiled[ModelAdapter]:
    """Compile a rendered tree as it would be without some components; see ``Session.without``."""
    return _compiled(core, _found(core, components), model)


def left_out_of(core: SessionCore, components: Sequence[Any]) -> list[Withheld]:
    """Return what a fork leaves out, with the tokens it has now; what cannot be left out is an error."""
    found = _found(core, components)
    _compiled(core, found)
    return list(map(_left_out, found))


def listed(components: Any) -> Sequence[Any]:
    """Return what was given as one component or several as several."""
    return [components] if isinstance(components, (str, Part, Withheld)) else list(components)


def _compiled(
    core: SessionCore, fibers: Sequence[Fiber], model: ModelAdapter | None = None
) -> Compiled[ModelAdapter]:
    return core.mount.preview(
        core.knobs.values(),
        without=fibers,
        left_out=tuple(map(_left_out, fibers)),
        needs_timeline=bool(len(core.record)),
        tools=core.tools,
        sent=core.sent,
        choose=core.model_for(model),
        room=core.room,
        edits=core.edits,
    )


def _left_out(fiber: Fiber) -> Withheld:
    inner = fragment_of(fiber)
    tools = sum(use.part.tokens for use in inner.tools if use.tool.audience != "user")
    return Withheld(fiber.path, LEFT_OUT, tokens=inner.tokens + tools)


def _found(core: SessionCore, components: Sequence[Any]) -> list[Fiber]:
    """Find components by their paths; one that stands inside another goes with that."""
    if not components:
        raise SessionError('name what to leave out by its path: session.without("Agent/Plan.1")')
    mounted = dict(_components(core.mount.root.fiber))
    found: dict[str, Fiber] = {}
    for given in components:
        path = given.path if isinstance(given, (Part, Withheld)) else given
        if not isinstance(path, str):
            raise SessionError(
                f"a component is named by its path, or by a part of it, got {type(path).__name__}: {path!r}"
            )
        if path not in mounted:
            hint = did_you_mean(path, mounted) or "; the parts of session.compile() name theirs"
            raise SessionError(f"no component stands at {path!r}{hint}")
        if mounted[path].parent is core.mount.root.fiber:
            raise SessionError(f"{path} is the root: without it there is nothing; leave out something inside")
        found[path] = mounted[path]
    return [
        fiber
        for path, fiber in found.items()
        if not any(path.startswith(f"{other}/") for other in found if other != path)
    ]


def _components(top: Fiber) -> Iterator[tuple[str, Fiber]]:
    """Give the elements that are mounted below a root's top fiber, by path."""
    stack = [(top, "")]
    while stack:
        fiber, lead = stack.pop()
        for child in fiber.children:
            if isinstance(child, Fiber):
                path = lead + child.segment
                if not child.segment.isdecimal():
                    yield path, child
                stack.append((child, f"{path}/"))
