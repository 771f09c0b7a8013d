"""A mounted tree and its kept state: settle it, compile it, preview it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from nbsession.context import LEAVES, LEFT_OUT, NO_EDITS, UNKNOWN, ToolUse, Withheld, compiler
from nbsession.errors import RenderError, SessionError
from nbsession.hooks import (
    GONE,
    CallbackCell,
    KnobCell,
    StateLog,
    call_cell,
    call_hook,
    check_hook,
    encode,
    gates_in,
    hook_of,
    revive,
)
from nbsession.session.causes import causes_in
from nbsession.session.outline import Outline, outline_of, sources_in
from nbsession.tree import GONE as TREE_GONE
from nbsession.tree import Fiber, Root, Trace, unchanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from nbsession.context import Compiled, Edits, Room, Sent
    from nbsession.hooks import DataCell, Environment, Gate
    from nbsession.models.base import ModelAdapter
    from nbsession.timeline import Cause
    from nbsession.tree import Source

STATE = "state:"
HOOK = "hook:"
WITHOUT = "without:"
ROUNDS = 25
CALLED = (
    "effect",
    "on_message",
    "on_execution_start",
    "on_execution_end",
    "on_tick_start",
    "on_tick_end",
    "after_compile",
    "continuation",
)
"""The kinds of hooks whose functions are called while an execution runs."""


class Mount:
    """A tree in an environment, with the log of its kept state.

    Kept state is taken from ``state`` when a component mounts, by component path
    and hook.
    """

    def __init__(
        self,
        node: Any,
        environment: Environment,
        state: StateLog,
        *,
        carry: Any = None,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        kept = {
            address.removeprefix(STATE): value
            for address, value in state.current.items()
            if address.startswith(STATE)
        }
        begun = {
            address.removeprefix(HOOK): hook
            for address, hook in state.current.items()
            if address.startswith(HOOK)
        }
        self.environment = environment
        self.state = state
        self.mounted = False
        self.waiting: tuple[str, ...] = ()
        self.refused: dict[str, SessionError] = {}
        self.root = Root(
            node,
            leaves=LEAVES,
            environment=environment,
            carry=carry,
            restore=kept,
            revive=revive,
            fits=lambda address, kind, initial: check_hook(begun.get(address), hook_of(kind, initial)),
            check=_encoded,
            on_change=on_change,
        )
        self.root.trace = Trace()
        self.leave_out(left_out_in(state.current))

    def leave_out(self, components: tuple[Withheld, ...]) -> None:
        """Mount without these components; before the first ``flush``."""
        self.left_out = components
        self.root.left_out = frozenset(item.path for item in components)
        inside = tuple(mark for item in components for mark in (f"{item.path}#", f"{item.path}/"))
        for address in [address for address in self.root.restore if address.startswith(inside)]:
            del self.root.restore[address]  # it is not lost: the log has it

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates that are mounted, by name."""
        return gates_in(self.root.cells("use_gate"))

    def own(self) -> None:
        """Make the calling thread the one on which the tree changes."""
        self.root.owner = threading.get_ident()

    def flush(self) -> None:
        """Render until nothing is dirty and run effects; swap components that were defined anew."""
        self.root.refresh()
        self.root.flush()
        self.mounted = True
        self._check()

    def render(self) -> None:
        """Render until nothing is dirty, without running effects."""
        self.root.refresh()
        self.root.render()
        self.mounted = True
        self._check()

    def _check(self) -> None:
        """Refuse a knob or a gate that two places mean differently."""
        self.environment.knobs.check()
        gates_in(self.root.cells("use_gate"))

    async def settle(self, session: Any = None) -> None:
        """Flush, run mount and unmount callbacks and await pending data, until nothing is left to do."""
        for _ in range(ROUNDS):
            self.flush()
            busy = await self._left(session)
            for cell in self._cells("on_mount"):
                if not cell.fired:
                    busy = True
                    await _mounted(cell, session)
            pending = [cell for cell in self.root.cells("use_data") if cell.pending]
            if pending:
                busy = True
                await _fetched(pending)
            if not busy and not self.root.dirty:
                return
        names = ", ".join(sorted({cell.fiber.path for cell in self._cells("on_mount")}) or ["the tree"])
        raise RenderError(f"the tree did not settle in {ROUNDS} rounds of rendering and mounting: {names}")

    @property
    def calls_back(self) -> bool:
        """Whether any function of the author's is called while an execution runs, besides components and tools."""
        return any(self.root.kinds.get(kind) for kind in CALLED)

    def callbacks(self, kind: str) -> list[Callable[..., Any]]:
        """Return the life-cycle callbacks of one kind, children first, in their latest closures."""
        return [cell.callback for cell in self._cells(kind)]

    async def fire(self, kind: str, *arguments: Any) -> None:
        """Call the life-cycle callbacks of one kind, children first, one after another."""
        for cell in self._cells(kind):
            await call_cell(cell, *arguments)

    async def fire_settled(self, kind: str, settle: Callable[[], Awaitable[None]], *arguments: Any) -> None:
        """Settle and call the callbacks of one kind, and also those of what mounts by that, each of them once."""
        called: set[CallbackCell] = set()
        for _ in range(ROUNDS):
            await settle()
            new = [cell for cell in self._cells(kind) if cell not in called]
            if not new:
                return
            called.update(new)
            for cell in new:
                await call_cell(cell, *arguments)
        raise RenderError(
            f"use_{kind} callbacks mounted others, {ROUNDS} times over; set state only when it differs"
        )

    async def fire_all(self, kind: str, *arguments: Any) -> None:
        """Call the callbacks of one kind, each of them even where one before it raised; the first error goes up."""
        first: BaseException | None = None
        for cell in self._cells(kind):
            try:
                await call_cell(cell, *arguments)
            except BaseException as error:  # noqa: BLE001  # raised again when all were called
                first = first or error
        if first is not None:
            raise first

    def _cells(self, kind: str) -> list[CallbackCell]:
        return self.root.cells(kind)

    async def _left(self, session: Any) -> bool:
        left = self.environment.unmounted
        called = bool(left)
        while left:
            await call_hook(left.pop(0), session)
        return called

    def compile(
        self,
        *,
        tools: Iterable[ToolUse] = (),
        sent: Sequence[Sent] = (),
        needs_timeline: bool = False,
        settings: Mapping[str, Any] | None = None,
        choose: Callable[[Any], ModelAdapter] | None = None,
        fresh: Container[str] = (),
        room: Room = UNKNOWN,
        edits: Edits = NO_EDITS,
    ) -> Compiled[ModelAdapter]:
        """Compile the tree as it stands; see ``compiler.compile``."""
        return compiler.compile(
            self.root.fiber,
            tools=tools,
            sent=sent,
            needs_timeline=needs_timeline,
            pending=self.pending,
            settings=settings,
            choose=choose,
            fresh=fresh,
            room=room,
            edits=edits,
            left_out=self.left_out,
            after=self.environment.gates.fragment(self.gates),
        )

    @property
    def pending(self) -> tuple[str, ...]:
        """What has not come: the keys of data that was asked for, and policies that have to be awaited."""
        return self.waiting + tuple(str(cell.key) for cell in self.root.cells("use_data") if cell.pending)

    def preview(
        self,
        values: Mapping[str, Any],
        *,
        stale: Iterable[Fiber] = (),
        without: Iterable[Fiber] = (),
        left_out: tuple[Withheld, ...] = (),
        needs_timeline: bool = False,
        tools: Iterable[ToolUse] = (),
        sent: Sequence[Sent] = (),
        choose: Callable[[Any], ModelAdapter] | None = None,
        room: Room = UNKNOWN,
        edits: Edits = NO_EDITS,
    ) -> Compiled[ModelAdapter]:
        """Compile the tree as it would be under other knob values, and leave it as it is.

        What is ``stale`` renders again, whatever the knobs; the components at ``without``, none
        of them inside another, are left out, which ``left_out`` tells.
        """
        knobs = self.environment.knobs.overlay(values)
        present = self.environment.knobs
        again: dict[Any, None] = dict.fromkeys(
            holder
            for name, value in values.items()
            if name in present and not unchanged(present[name], value)
            for holder in present.holders(name)
        )
        again.update(dict.fromkeys(self.environment.knob_watchers) if again else {})
        again.update(dict.fromkeys(stale))
        environment = self.environment.preview(knobs)

        def more(gone: Sequence[Fiber]) -> list[Fiber]:
            """Render what lists the knobs again, where others are declared now."""
            for fiber in gone:
                for cell in fiber.hooks or ():
                    if isinstance(cell, KnobCell):
                        knobs.retract(cell.name, fiber)
                        environment.knob_watchers.marked = True
            if not environment.knob_watchers.marked:
                return []
            environment.knob_watchers.marked = False
            watching = (*self.environment.knob_watchers, *environment.knob_watchers)
            return [fiber for fiber in watching if fiber not in set(gone)]

        fiber = self.root.preview(environment, list(again), more=more, without=without)
        pending = dict.fromkeys((*self.pending, *environment.asked))
        return compiler.compile(
            fiber,
            tools=tools,
            sent=sent,
            needs_timeline=needs_timeline,
            pending=tuple(pending),
            choose=choose,
            room=room,
            edits=edits,
            left_out=(*self.left_out, *left_out),
            after=self.environment.gates.fragment(self.gates),
        )

    def take_causes(self, sent: Mapping[str, Any]) -> tuple[Cause, ...]:
        """Tell what made the tree another one since the last call; ``sent`` are the knobs' values then."""
        trace, self.root.trace = self.root.trace, Trace()
        assert trace is not None
        return causes_in(trace, self.environment, sent)

    def drain(self) -> list[tuple[str, Any]]:
        """Return what changed in the tree's kept state since the last call.

        ``refused`` says, by address, what cannot be kept, until another value is set there.
        """
        changes: list[tuple[str, Any]] = []
        for address, value in self.root.drain_changes():
            self.refused.pop(address, None)
            try:
                kept = GONE if value is TREE_GONE else _encoded(address, value)
            except SessionError as error:
                self.refused[address] = error
            else:
                changes.append((STATE + address, kept))
        for address, cell in self.root.drained.items():
            changes.append((HOOK + address, hook_of(cell.kind, getattr(cell, "initial", type(None)))))
        return changes

    def sources(self) -> dict[str, Source]:
        """Say where each of the author's components is written."""
        return sources_in(self.root.fiber)

    def outline(self) -> Outline:
        """Return the tree as its author wrote it."""
        return outline_of(self.root.fiber)

    async def unmount(self, session: Any = None) -> None:
        """Take the tree down: clean-ups, then unmount callbacks."""
        self.root.unmount()
        await self._left(session)


def left_out_in(state: Mapping[str, Any]) -> tuple[Withheld, ...]:
    """Return what a session's state says is left out of its tree, with the tokens that it had."""
    return tuple(
        Withheld(address.removeprefix(WITHOUT), LEFT_OUT, tokens=tokens)
        for address, tokens in state.items()
        if address.startswith(WITHOUT)
    )


def _encoded(address: str, value: Any) -> Any:
    """Return a hook's value as it is kept; what cannot be kept is a ``SessionError``."""
    path, _, hook = address.rpartition("#")
    return encode(value, f"state {hook} of {path}")


async def _mounted(cell: CallbackCell, session: Any) -> None:
    """Call a mount callback; one that fails, or is cut, is called again in the next execution."""
    cell.fired = True  # before: it may settle the tree itself
    try:
        await call_cell(cell, session)
    except BaseException:
        cell.fired = False
        raise


async def _fetched(cells: Sequence[DataCell]) -> None:
    """Await data, all of it at once; the first failure is raised when none is under way any more."""
    outcomes = await asyncio.gather(*[cell.fetch() for cell in cells], return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
