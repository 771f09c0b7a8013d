"""What a change of knobs would do to the context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.tree import unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import CompiledContext, ContextDiff
    from nbsession.session.core import SessionCore


class Preview:
    """What a change of knobs would do: ``context`` as it would be sent, ``diff`` to what it replaces.

    ``knobs`` are the values that differ from those last sent, as ``name: (old,
    new)``. No model was called, and nothing was changed.
    """

    __slots__ = ("context", "diff", "knobs")

    def __init__(
        self, context: CompiledContext, diff: ContextDiff, knobs: Mapping[str, tuple[Any, Any]]
    ) -> None:
        self.context = context
        self.diff = diff
        self.knobs = knobs

    def __repr__(self) -> str:
        return f"<Preview {self.diff!r}>"

    def __str__(self) -> str:
        return str(self.diff) or "no change"


def preview_of(core: SessionCore, asked: Mapping[str, Any]) -> Preview:
    """Render the tree twice, over copies: under the knobs asked for, and under those last sent."""
    wanted = {**core.knobs.values(), **asked}
    before = last_sent(core)
    new, old = compiled_under(core, wanted), compiled_under(core, before)
    values = core.knobs.overlay(wanted).values()
    changed = {
        name: (before[name], value)
        for name, value in values.items()
        if not unchanged(before.get(name, value), value)
    }
    return Preview(new, new.diff(old), changed)


def last_sent(core: SessionCore) -> dict[str, Any]:
    """Return the values of the present knobs as they were last sent."""
    present = core.knobs.values()
    return {**present, **{name: value for name, value in core.baseline().items() if name in present}}


def compiled_under(core: SessionCore, values: Mapping[str, Any]) -> CompiledContext:
    """Compile the tree as it would be under knob values, over copies: nothing changes."""
    return core.mount.preview(
        values,
        tools=core.tools,
        sent=core.sent,
        choose=core.model_for(None),
        room=core.room,
        edits=core.edits,
    ).context
