"""What the hooks of a mounted tree can reach, and what marks them when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import HookError
from nbsession.hooks.gates import Gates
from nbsession.hooks.watchers import Watchers
from nbsession.tree import Cell, Fiber, current
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.content import Entry
    from nbsession.context import ToolUse
    from nbsession.knobs import Knobs
    from nbsession.timeline import Record


class Environment:
    """What the hooks of one mounted tree can reach.

    ``session`` (a ``Session``) is ``None`` in a tree without one; ``set_knob`` hands a value over
    to whoever owns the knobs and does not wait; ``gates`` say how the gates stand. ``shown`` are the entries that
    policies left of the timeline, ``None`` without policies; ``asked`` are the keys
    of the data that a preview would fetch.
    """

    def __init__(
        self,
        *,
        knobs: Knobs,
        record: Record,
        session: object = None,
        usage: Callable[[], SessionUsage] | None = None,
        usage_watchers: Watchers | None = None,
        set_knob: Callable[[str, Any], None] | None = None,
        gates: Gates | None = None,
    ) -> None:
        self.knobs = knobs
        self.record = record
        self.session = session
        self.usage = usage or SessionUsage
        self.set_knob = set_knob or knobs.set
        self.gates = gates or Gates()
        self.timeline_watchers = Watchers()
        self.knob_watchers = Watchers()
        self.usage_watchers = usage_watchers or Watchers()
        self.shown: tuple[Entry, ...] | None = None
        self.unmounted: list[Callable[..., Any]] = []
        self.asked: list[str] = []
        self.collapsed: dict[Fiber, tuple[str, Callable[[Any], Any]]] = {}
        self.expand: ToolUse | None = None

    def preview(self, knobs: Knobs) -> Environment:
        """Return the same environment with other knobs, for a tree that is thrown away."""
        overlaid = Environment(
            knobs=knobs,
            record=self.record,
            session=self.session,
            usage=self.usage,
            set_knob=_ignore,
            gates=self.gates,
        )
        overlaid.shown = self.shown
        overlaid.expand = self.expand
        return overlaid


class SessionUsage:
    """Tokens and cost of a session so far.

    ``context_tokens`` are those of the last context, as the model counted them, or
    estimated where it did not. ``window`` is the model's window in tokens or ``None``;
    ``share`` is the share of it that the last context took, between 0 and 1, or ``None``. ``cost`` is in
    US dollars, ``None`` where a price is not known.
    """

    __slots__ = ("context_tokens", "cost", "total", "window")

    def __init__(
        self,
        total: Usage | None = None,
        *,
        cost: float | None = 0.0,
        window: int | None = None,
        context_tokens: int = 0,
    ) -> None:
        self.total = total or Usage()
        self.cost = cost
        self.window = window
        self.context_tokens = context_tokens

    @property
    def input_tokens(self) -> int:
        """Input tokens so far, cached ones included."""
        return self.total.input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens so far."""
        return self.total.output_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output tokens so far."""
        return self.total.total_tokens

    @property
    def share(self) -> float | None:
        """How full the window was at the last tick, between 0 and 1."""
        return self.context_tokens / self.window if self.window else None

    def __repr__(self) -> str:
        cost = "–" if self.cost is None else f"${self.cost:.4g}"
        share = "" if self.share is None else f", {self.share:.0%} of the window"
        return f"<SessionUsage {self.input_tokens:,} tokens in, {self.output_tokens:,} out, {cost}{share}>"


def environment() -> Environment:
    """Return the environment of the tree that renders now."""
    found = current().root.environment
    if not isinstance(found, Environment):
        raise HookError(
            "this hook needs a session; mount the tree with App(...).session() or testing.render()"
        )
    return found


class Watch(Cell):
    """Marks its fiber when what it watches changes."""

    __slots__ = ("fiber", "watchers")

    def __init__(self, kind: str, fiber: Fiber, watchers: Watchers) -> None:
        self.kind = kind
        self.fiber = fiber
        self.watchers = watchers
        watchers.add(fiber)

    def unmount(self) -> None:
        self.watchers.discard(self.fiber)

    def clone(self, fiber: Fiber) -> Watch:
        return Watch(self.kind, fiber, Watchers())


def _ignore(*_: Any) -> None:
    return None
