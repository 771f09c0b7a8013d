"""Gates: what has to be settled before an execution may end, and how it stands."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nbsession.content import bounded
from nbsession.context import Fragment, Part, ToolUse, mode_of
from nbsession.errors import ToolError, did_you_mean
from nbsession.events import GateChanged
from nbsession.hooks.watchers import Watchers
from nbsession.tools import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.events import Event
    from nbsession.tree import Fiber

GATE = "gate:"
REASON = 500
"""Characters of a model's reason that are kept."""

DUE = "due"
"""Where the state log has which gates the next tick is shown, and how often one was in this execution."""


class GateState(NamedTuple):
    """How a gate stands; one that is ``put_off`` is open, and lets this execution end. ``reason`` is what was last said."""

    open: bool
    put_off: bool = False
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether it keeps an execution from ending."""
        return self.open and not self.put_off

    @property
    def word(self) -> Literal["open", "closed", "put off"]:
        """How it stands, in a word."""
        return "closed" if not self.open else "put off" if self.put_off else "open"

    def __str__(self) -> str:
        word: str = self.word
        if word == "open" and self.reason:
            word = "open, put off before"
        return f"{word}: {self.reason}" if self.reason else word


class Gate:
    """A gate of the session, as ``use_gate`` gives it; it may be opened and closed from anywhere."""

    __slots__ = ("_fiber", "_gates", "_initial", "name", "text")

    def __init__(self, gates: Gates, fiber: Fiber, name: str, text: str, initial: bool) -> None:
        self._gates = gates
        self._fiber = fiber
        self._initial = initial
        self.name = name
        self.text = text

    @property
    def state(self) -> GateState:
        """How it stands now."""
        return self._gates.states.get(self.name, GateState(self._initial))

    @property
    def open(self) -> bool:
        """Whether it is open, also where it was put off."""
        return self.state.open

    @property
    def reason(self) -> str:
        """Why it was put off or closed, as whoever did it said; ``""`` where nothing was said."""
        return self.state.reason

    @property
    def path(self) -> str:
        """The component that has it."""
        return self._fiber.path

    def open_(self) -> None:
        """Open it: from now on no execution ends before it is closed or put off."""
        self._set(GateState(True))

    def close(self, reason: str = "") -> None:
        """Close it."""
        self._set(GateState(False, reason=reason))

    def _set(self, state: GateState) -> None:
        if not self._fiber.root.previewing:
            self._gates.carry(lambda: self._gates.set(self.name, state))

    def same(self, other: Gate) -> bool:
        """Say whether two places mean one gate."""
        return (self.text, self._initial) == (other.text, other._initial)

    def part(self, asked: int) -> Part:
        """Return what the model is shown of it, the time that it is asked."""
        body = f"{self.text}\n\nThis gate is open, so your turn does not end yet: settle it, or use resolve_gate."
        if self.reason:
            body += f" It was put off before: {self.reason}"
        title = f"Gate: {self.name}"
        if mode_of(self._fiber) == "xml":
            text = f'<section id="gate-{escape(self.name)}" title="{escape(title)}">\n{body}\n</section>'
        else:
            text = f"## {title}\n\n{body}"
        return Part("section", self.path, text, key=f"gate {self.name} {asked}", title=title, body=body)

    def __repr__(self) -> str:
        return f"<Gate {self.name!r}, {self.state}>"


class Gates:
    """How the gates of one session stand. Its owner calls it on one loop; ``carry`` brings a change there, ``tell`` hears of it.

    ``due`` are those that were shown, since the tick before would have been the last but for them, and are not
    settled yet: their text stays where it was shown, and ``resolve_gate`` is there.
    """

    def __init__(
        self,
        kept: Mapping[str, Any] | None = None,
        note: Callable[[list[tuple[str, Any]]], object] | None = None,
        carry: Callable[[Callable[[], None]], object] | None = None,
        tell: Callable[[Event], object] | None = None,
    ) -> None:
        kept = kept or {}
        self.states: dict[str, GateState] = {
            address.removeprefix(GATE): GateState(*state)
            for address, state in kept.items()
            if address.startswith(GATE)
        }
        self.carry = carry or (lambda change: change())
        self.watchers = Watchers()
        self._note = note
        self._tell = tell
        self.due, self._asked = kept.get(DUE, [[], 0])
        self._tool = ToolUse(_tool_of(self), "use_gate")

    def set(self, name: str, state: GateState) -> None:
        """Let a gate stand so."""
        if self.states.get(name) != state:
            self.states[name] = state
            self.watchers.mark()
            self._keep(GATE + name, list(state))
            if self._tell is not None:
                self._tell(GateChanged(name, state.word, state.reason))

    def reopen(self) -> None:
        """Open those again that were put off, as an execution begins."""
        for name, state in tuple(self.states.items()):
            if state.put_off:
                self.set(name, state._replace(put_off=False))

    def show(self, names: Sequence[str]) -> None:
        """Let the next tick be shown these gates; without any, those shown before stay due until they are settled."""
        if names:
            self._due(list(names), self._asked + 1)
        elif self.due:
            due = [name for name in self.due if self.states.get(name, GateState(True)).holds]
            if due != self.due:
                self._due(due, self._asked)

    def end(self) -> None:
        """Show none any more, since the execution ends."""
        if self.due or self._asked:
            self._due([], 0)

    def fragment(self, gates: Mapping[str, Gate]) -> Fragment | None:
        """Return what the next tick is shown, ``None`` where no gate is due."""
        due = [gates[name] for name in self.due if name in gates and gates[name].state.holds]
        if not due:
            return None
        return Fragment(tuple(gate.part(self._asked) for gate in due), tools=(self._tool,))

    def _due(self, names: list[str], asked: int) -> None:
        self.due, self._asked = names, asked
        self._keep(DUE, [names, asked])

    def _keep(self, address: str, value: Any) -> None:
        if self._note is not None:
            self._note([(address, value)])


def holding(gates: Mapping[str, Gate]) -> list[str]:
    """Name the gates that keep an execution from ending."""
    return [name for name, gate in gates.items() if gate.state.holds]


def _tool_of(gates: Gates) -> Any:
    @tool(thread=False)
    def resolve_gate(name: str, action: Literal["close", "defer"], reason: str = "") -> str:
        """Close a gate that keeps your turn from ending, or put it off.

        Close it when what it asks for is done. Put it off only where that cannot be done now; it is open again in
        the next turn.

        Args:
            name: The gate's name, as its title says.
            action: "close", or "defer" to put it off.
            reason: What was done, or why it cannot be done now; needed to put it off.
        """
        if name not in gates.due:
            raise ToolError(f"no gate {name!r} is open here{did_you_mean(name, gates.due)}")
        if action == "defer" and not reason.strip():
            raise ToolError(f"to put {name!r} off, say in reason= why it cannot be done now")
        put_off = action == "defer"
        gates.set(name, GateState(put_off, put_off, bounded(reason.strip(), REASON)))
        return f"{name} is {'put off' if put_off else 'closed'}."

    return resolve_gate
