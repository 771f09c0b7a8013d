"""The pass that fits a body into its budgets of tokens.

What has the lowest priority goes first; among equals what the provider has not cached, then
the earlier. What was left out stays left out until there is reason, so that no
context changes, and no cached prefix breaks, for a few tokens to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.context.choice import Cap, Choice, cached_units
from nbsession.context.layout import Layout, Scope
from nbsession.usage import calibrated

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.context.box import BodyItem
    from nbsession.context.chunk import FlowItem
    from nbsession.context.compiled import CompiledContext
    from nbsession.context.part import Part
    from nbsession.context.sent import Sent
    from nbsession.context.target import Target
    from nbsession.context.withheld import Withheld


class Room(Protocol):
    """What is known of the room in models' windows, and what was decided before."""

    @property
    def left(self) -> Mapping[str, Any]:
        """The decisions that stand, by address; see ``Fitted.decisions``."""

    @property
    def before(self) -> CompiledContext | None:
        """The context that was sent last: what the provider may have cached."""

    def factor(self, model: str) -> float:
        """Return how many tokens of the model's own count one estimated token is."""

    def reported(self, model: str) -> int | None:
        """Return how many tokens its provider said that it takes, where it refused a request for its length."""


class _Unknown:
    """The room of a tree without a session: nothing was sent, and nothing decided."""

    left: Mapping[str, Any] = {}
    before: CompiledContext | None = None

    def factor(self, model: str) -> float:
        return calibrated(model).factor

    def reported(self, model: str) -> int | None:
        return None


UNKNOWN: Room = _Unknown()


class Fitted:
    """A body that keeps to its budgets; what was left out of it is worked out when it is asked for.

    ``sent`` is the trailing context of earlier ticks that there is room to leave where it stood.
    """

    def __init__(self, choice: Choice, caps: Sequence[Cap], limits: Mapping[str, int]) -> None:
        self.body: Sequence[FlowItem] = choice.body()
        self.sent: Sequence[Sent] = choice.standing()
        self._choice = choice
        self._caps = caps
        self._limits = limits

    def withheld(self) -> Sequence[Withheld]:
        """List what was left out."""
        return self._choice.withheld(self._caps)

    def decisions(self) -> Mapping[str, Any]:
        """Return what a later compile is to decide in the same way.

        Of ``<path>#<key>`` that is the priority under which it was left out, or how it was made smaller; of
        a ``Fit``'s path (``""`` for the window) the budget that was kept to.
        """
        decided = self._choice.decisions()
        return {**decided, **self._limits} if decided else {}


def fit(
    body: Sequence[BodyItem],
    size: Callable[[FlowItem], int],
    *,
    model: Target | None = None,
    room: Room = UNKNOWN,
    tools: Sequence[Part] = (),
    sent: Sequence[Sent] = (),
) -> Fitted:
    """Leave out of a body what its budgets have no room for.

    ``size`` gives the tokens of an item as the model is sent it; ``tools`` are all tools, ``sent`` the
    trailing parts that were sent earlier in this execution. Raises ``CompileError`` where
    what has to stay is too much.
    """
    layout = Layout(body, size)
    caps = list(_caps(layout, model, room, tools))
    limits = {_path(cap.scope): cap.tokens for cap in caps}
    return Fitted(_choose(layout, caps, limits, room, tools, sent), caps, limits)


def _caps(layout: Layout, model: Target | None, room: Room, tools: Sequence[Part]) -> Iterator[Cap]:
    """Say what each scope may take, inner ones first and the window last."""
    *fits, everything = layout.scopes
    factor = 1.0 if model is None else room.factor(model.name)
    outermost = _outermost(fits)
    windows = set()
    reserve = 0
    for scope in fits:
        box = scope.box
        assert box is not None
        if box.limit is not None:
            inside = sum([use.part.tokens for use in box.tools if use.tool.audience != "user"])
            yield Cap(scope, int(box.limit / factor), inside)
        elif scope in outermost and model is not None:
            windows.add(model.capabilities.window)
            reserve = max(reserve, box.reserve)
    if fits and model is not None:
        windows.add(room.reported(model.name))
        if known := [window for window in windows if window is not None]:
            most = max(int((min(known) - reserve) / factor), 0)
            yield Cap(everything, most, sum([part.tokens for part in tools]))


def _outermost(fits: Sequence[Scope]) -> list[Scope]:
    found: list[Scope] = []
    for scope in reversed(fits):
        if not found or scope.end <= found[-1].start:
            found.append(scope)
    return found


def _choose(
    layout: Layout,
    caps: Sequence[Cap],
    limits: Mapping[str, int],
    room: Room,
    tools: Sequence[Part],
    sent: Sequence[Sent],
) -> Choice:
    """Keep to the budgets as it was decided before, unless there is reason to decide anew.

    Reasons are another budget, and room: for all that was left out and some to spare, or for an eighth of the budget.
    """
    choice, left = Choice(layout, sent), room.left
    recalled = choice.recall(left)
    if all(choice.total(cap) <= cap.tokens for cap in caps) and not recalled:
        return choice
    cached = cached_units(choice, tools, room.before)
    for cap in caps:
        choice.keep_to(cap, cached)
    changed = any(left.get(path) != tokens for path, tokens in limits.items())
    if not recalled or not (changed or any(_free(choice, cap) >= cap.spare for cap in caps)):
        return choice
    anew = Choice(layout, sent)
    for cap in caps:
        anew.keep_to(cap, cached)
    return anew if any(_is_worth_it(choice, anew, cap, changed=changed) for cap in caps) else choice


def _is_worth_it(choice: Choice, anew: Choice, cap: Cap, *, changed: bool) -> bool:
    """Say whether what was decided anew lets enough more in that it may break the prefix."""
    before, now = choice.content(cap), anew.content(cap)
    if changed or now <= before:
        return now > before
    filled = cap.tokens - cap.spare
    everything = now <= filled and not anew.leaves_out_of(cap.scope)
    return everything or min(now, filled) - before >= cap.spare


def _free(choice: Choice, cap: Cap) -> int:
    return cap.tokens - choice.total(cap)


def _path(scope: Scope) -> str:
    return scope.box.path if scope.box is not None else ""
