"""What a session is made of, for the loop that runs it: touched on the home loop only."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from nbsession.compiler import Compiled, Sent
from nbsession.content import Block, Entry, Role, ToolCall, ToolResult, new_id
from nbsession.environment import Environment
from nbsession.errors import SessionError
from nbsession.events import EntryCommitted, KnobSet, ToolEnd, ToolProgress
from nbsession.feed import Feed
from nbsession.knobs import Knobs, Setting
from nbsession.line import Line
from nbsession.mount import HOOK, STATE, Mount
from nbsession.outbox import Outbox
from nbsession.policies import Policies
from nbsession.request_ids import RequestIds
from nbsession.spending import Spending
from nbsession.state import GONE, StateLog, encode
from nbsession.tick import ToolRun, interrupted, unknown
from nbsession.tools import ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from nbsession.budget import Budget
    from nbsession.event_log import EventLog
    from nbsession.execution import Execution
    from nbsession.fragment import ToolUse
    from nbsession.home import Home
    from nbsession.journal import Journal
    from nbsession.message import Draft
    from nbsession.models.base import ModelAdapter
    from nbsession.policies import Policy
    from nbsession.result import Result
    from nbsession.session import Session
    from nbsession.sweep import Sweep
    from nbsession.tick import Tick
    from nbsession.timeline import Record

KNOB = "knob:"
SENT = "sent:"
WINDOW = "window"
SPAWNED = "spawned"
CLOSED = "the session was closed"


class SessionCore:
    """The parts of one session and what the loop does with them.

    Everything here runs on the home loop; ``Session`` is the door for everybody else.
    """

    def __init__(
        self,
        session: Session,
        node: Any,
        *,
        home: Home,
        journal: Journal,
        record: Record,
        state: StateLog,
        ticks: list[Tick],
        tools: Sequence[ToolUse],
        model: Any,
        max_ticks: int,
        budget: Budget | None,
        policies: Sequence[Policy] = (),
    ) -> None:
        self.session = session
        self.home = home
        self.journal = journal
        self.outbox = Outbox(journal, record, ticks)
        self.record = record
        self.state = state
        self.ticks = ticks
        self.tools = tuple(tools)
        self.model = model
        self.max_ticks = max_ticks
        self.depth = 0
        self.children: list[Session] = []
        self.sweeps: WeakSet[Sweep] = WeakSet()
        self.spawned_by: Execution | None = None
        self.line = Line()
        self.requests = RequestIds()
        self.steered: list[Draft] = []
        self.queued: list[Draft] = []
        self.feed = Feed(self.outbox, record, ticks)
        self.spending = Spending(ticks, budget, state.current.get(WINDOW), state.current.get(SPAWNED))
        self._next_window = self.spending.window
        self.sent: tuple[Sent, ...] = _sent_in(state.current)
        self._kept_sent = self.sent
        self.knobs = Knobs(on_set=self._knob_was_set, values=_values_in(state.current))
        self.environment = Environment(
            knobs=self.knobs,
            record=record,
            session=session,
            usage=self.spending.so_far,
            usage_watchers=self.spending.watchers,
            set_knob=self._set_knob_later,
        )
        self.policies = Policies(
            policies, remember=self.outbox.policy, recall=self.outbox.answers if journal.keeps else None
        )
        self.mount = self._mount_of(node)
        self.last_sent = _values_in(state.at(ticks[-1].state_before) if ticks else state.current)
        self._compiled_at = (record.head, state.version, self.last_sent)
        self._keeper: asyncio.Task[None] | None = None
        self._announced = len(record)
        self._told: set[str] = set()

    # Knobs and notes

    def _knob_was_set(self, setting: Setting) -> None:
        self._keep_state([(KNOB + setting.name, setting.value)])
        self.environment.knob_watchers.mark()
        self.feed.emit(
            KnobSet(setting.name, setting.value, setting.by), self.current.log if self.current else None
        )
        self.keep_soon()

    def _set_knob_later(self, name: str, value: Any) -> None:
        def apply() -> None:
            present = self.knobs[name]
            self.knobs.set(name, value(present) if callable(value) else value, by="program")

        self.home.post(apply)

    def take_notes(self) -> list[str]:
        """Give what happened since the last time that its user should be told: state that was lost, and why."""
        notes = self.notes
        self._told.update(self._lost())
        self.mount.root.notes.clear()
        self.knobs.notes.clear()
        return notes

    @property
    def notes(self) -> list[str]:
        """What its user should be told and has not been."""
        lost = [text for text in self._lost() if text not in self._told]
        unstored = [trouble] if (trouble := self.journal.trouble) else []
        if self.journal.held_by:
            unstored.append(
                f"{self.journal.held_by} runs session {self.session.id!r}: what is here is as of its opening; "
                "open it again to see more"
            )
        return [*self.mount.root.notes, *self.knobs.notes, *lost, *unstored]

    def _lost(self) -> list[str]:
        """Name the kept state for which no hook has mounted, and the knobs that none has declared."""
        if not self.mount.mounted:
            return []
        return [
            *[f"kept state at {address} fits no component now" for address in self.mount.root.unrestored],
            *[
                f"knob {name!r} was set to {value!r} and no component has it now"
                for name, value in self.knobs.unclaimed.items()
            ],
        ]

    # The timeline

    def append(
        self,
        role: Role,
        content: tuple[Block, ...],
        *,
        log: EventLog | None = None,
        status: Literal["complete", "interrupted"] = "complete",
        metadata: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append an entry to the timeline; it is stored at the next ``keep``."""
        entry = Entry(new_id("en"), self.record.head, role, content, status, time.time(), metadata or {})
        self.record.append(entry)
        self.environment.timeline_watchers.mark()
        self.outbox.entry(entry)
        self.feed.emit(EntryCommitted(entry), log)
        return entry

    def move_head(self, head: str | None) -> None:
        """Stand at another entry; what comes next is its child."""
        self.record.move(head)
        self._announced = min(self._announced, len(self.record))
        self.environment.timeline_watchers.mark()
        self.outbox.head(head)

    def rewind(self, head: str | None, node: Any) -> None:
        """Stand at another entry with the component state of that moment; knobs stay as they are.

        The tree is mounted anew from that state.
        """
        self.move_head(head)
        self.drain()
        then = self._state_at(head)
        now = self.state.current
        gone = [(address, GONE) for address in now if address.startswith(STATE) and address not in then]
        self._keep_state([*gone, *then.items()])
        self.mount.root.unmount()
        self.mount = self._mount_of(node)

    def _mount_of(self, node: Any) -> Mount:
        return Mount(node, self.environment, self.state, carry=self.home.post, on_change=self._state_was_set)

    def _state_was_set(self) -> None:
        """Store state that is set between executions; within one it is stored as that goes on."""
        self.keep_soon()

    def _state_at(self, head: str | None) -> dict[str, Any]:
        """Return the component state as it was when the timeline stood at an entry, the last time."""
        state: dict[str, Any] = {}
        for tick in self.ticks:
            if head is not None and tick.head_after == head:
                state = self.state.at(tick.state_after)
            elif head is not None and tick.head_before == head:
                state = self.state.at(tick.state_before)
        return {address: value for address, value in state.items() if address.startswith(STATE)}

    async def settle(self) -> None:
        """Apply the policies and settle the tree."""
        if self.policies:
            self._show(await self.policies.apply(tuple(self.record), self.session))
            self.mount.waiting = ()
        await self.mount.settle(self.session)

    def render(self) -> None:
        """Render what waits to be rendered, without awaiting anything; effects wait for an execution."""
        if self.policies:
            shown, self.mount.waiting = self.policies.look(tuple(self.record), self.session)
            self._show(shown)
        self.mount.render()

    def _show(self, entries: tuple[Entry, ...]) -> None:
        if entries != self.environment.shown:
            self.environment.shown = entries
            self.environment.timeline_watchers.mark()

    async def announce(self, session: Session) -> None:
        """Call ``use_on_message`` callbacks for the entries that were committed since the last call."""
        while self._announced < len(self.record):
            entry = self.record[self._announced]
            self._announced += 1
            await self.mount.fire("on_message", entry, session)

    def heal(self, known: Mapping[str, ToolResult | None] | None = None) -> None:
        """Answer tool calls that were left open, so that the next request is valid.

        ``known`` are the calls that had started, with their results where there is one.
        """
        if not len(self.record) or not self.record[-1].tool_calls:
            return
        known = known or {}
        results = [
            known.get(call.id) or (unknown(call) if call.id in known else interrupted(ToolRun(call)))
            for call in self.record[-1].tool_calls
        ]
        for result in results:
            if known.get(result.call_id, result) is None:
                self.feed.emit(ToolEnd(result))
        self.append("tool", tuple(results))

    def take(
        self,
        drafts: Sequence[Draft],
        *,
        log: EventLog | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit a message to the timeline; calls that were left open before it are answered first."""
        for draft in drafts:
            if draft.role != "tool":
                self.heal()
            self.append(draft.role, draft.content, log=log, metadata=metadata)
        self.heal()

    def deliver(self, log: EventLog) -> None:
        """Move steered and queued messages into the timeline."""
        drafts, self.steered, self.queued = [*self.steered, *self.queued], [], []
        for draft in drafts:
            self.append(draft.role, draft.content, log=log)

    @property
    def waiting(self) -> bool:
        """Whether messages wait for the next tick."""
        return bool(self.steered or self.queued)

    # Executions, one at a time

    @property
    def current(self) -> Execution | None:
        """The execution that runs now."""
        return self.line.current

    def enqueue(self, execution: Execution) -> None:
        """Run an execution now, or after those before it."""
        try:
            self.home.settle()
        except SessionError as error:
            execution.refuse(error)
            return
        self.mount.own()
        if not execution.done:
            self.line.enqueue(execution)

    def stop_children(self, execution: Execution) -> None:
        """Stop the sessions that an execution spawned and that still run."""
        for child in self.children:
            if child._core.spawned_by is execution:
                child.stop()

    async def end_execution(self, result: Result) -> None:
        """Call the end hooks, each of them, reset momentary knobs and let go of trailing context."""
        try:
            try:
                await self.announce(self.session)
            finally:
                await self.mount.fire_all("on_execution_end", result, self.session)
            self.mount.flush()
        finally:
            self.knobs.reset_momentary()
            self._let_go_of_sent()
            self.drain()

    def end_cut_execution(self) -> None:
        """Do what is left of it for an execution whose process ended: nothing is mounted, and no hook hears of it."""
        self._let_go_of_sent()
        self.knobs.end_momentary()

    def _let_go_of_sent(self) -> None:
        self.sent = ()
        self._keep_sent()

    # Ticks

    def compile(
        self,
        tools: Sequence[ToolUse] = (),
        *,
        needs_timeline: bool = False,
        settings: Mapping[str, Any] | None = None,
        choose: Callable[[Any], ModelAdapter] | None = None,
        fresh: Container[str] = (),
    ) -> Compiled:
        """Compile the settled tree for a tick; its trailing context and the moment are remembered."""
        compiled = self.mount.compile(
            tools=(*tools, *self.tools),
            sent=self.sent,
            needs_timeline=needs_timeline,
            settings=settings,
            choose=choose,
            fresh=fresh,
        )
        self._next_window = None if compiled.model is None else compiled.model.capabilities.window
        self._keep_sent(self.sent)
        self.drain()
        # Now: a hook after the compile may set state and knobs, which this tick is not sent.
        self._compiled_at = (self.record.head, self.state.version, self.knobs.values())
        self.sent = compiled.sent
        return compiled

    @property
    def running_tick(self) -> Tick | None:
        """The tick that was begun and has not ended."""
        tick = self.ticks[-1] if self.ticks else None
        if tick is None or tick.ended is not None or self.current is None:
            return None
        return tick if tick.execution == self.current.id else None

    def begin_tick(self, tick: Tick) -> None:
        """Number the state and the timeline as the tick was compiled."""
        tick.head_before, tick.state_before, self.last_sent = self._compiled_at
        self.ticks.append(tick)
        self._keep_sent(self.sent)
        if self._next_window != self.spending.window:
            # From here on: what was compiled for this tick did not know it.
            self.spending.window = self._next_window
            self._keep_state([(WINDOW, self._next_window)])

    def finish_tick(self, tick: Tick) -> None:
        """Close a tick: its end, the state and timeline after it."""
        try:
            self.drain()
        finally:
            if (spawned := self.spending.spawned) is not None:
                self._keep_state([(SPAWNED, spawned)])
            tick.ended = time.time()
            tick.head_after, tick.state_after = self.record.head, self.state.version

    def baseline(self) -> dict[str, Any]:
        """Return the knob values as last sent; before anything was sent, those the session began with."""
        return {**{name: spec.default for name, spec in self.knobs.specs().items()}, **self.last_sent}

    def model_for(self, asked: ModelAdapter | None) -> Callable[[Any], ModelAdapter]:
        """Choose the model of a tick: ``send(model=)``, tree, session and app, environment."""
        from nbsession.models import default_model, resolve

        def choose(in_tree: Any) -> ModelAdapter:
            # Those of send, session and app were resolved when they were given.
            if asked is not None:
                return asked
            if in_tree is not None:
                return resolve(in_tree)
            model: ModelAdapter | None = self.model
            return default_model() if model is None else model

        return choose

    def tool_context(self, execution: Execution, call: ToolCall) -> ToolContext:
        """Make what a tool with a ``ToolContext`` parameter is given."""

        def emit(data: Any) -> None:
            encode(data, f"what tool {call.name!r} emits")
            self.home.post(lambda: execution.emit(ToolProgress(call.id, data)))

        return ToolContext(
            session=self.session, call_id=call.id, emit=emit, spawn=self.session.spawn, name=call.name
        )

    # What is kept

    def _keep_state(self, changes: list[tuple[str, Any]]) -> None:
        known = self.state.current.keys()
        begun = all(address.startswith((STATE, HOOK)) and address not in known for address, _ in changes)
        new = self.state.record(changes)
        if new:
            self.outbox.changes(self.state.version, new, due=not begun)

    def _keep_sent(self, sent: tuple[Sent, ...] = ()) -> None:
        """Note the trailing parts that stay where they were sent: each by itself, for a long execution has many."""
        kept, self._kept_sent = self._kept_sent, sent
        new = [(n, item) for n, item in enumerate(sent) if n >= len(kept) or kept[n] is not item]
        gone = [(f"{SENT}{n}", GONE) for n in range(len(sent), len(kept))]
        self._keep_state([*[(f"{SENT}{n}", item.to_dict()) for n, item in new], *gone])

    def drain(self) -> None:
        """Note what changed in the tree's kept state; what cannot be kept is a ``SessionError``."""
        self.note_changes()
        for refused in self.mount.refused.values():
            raise refused

    def note_changes(self) -> None:
        """Note what changed in the tree's kept state; ``drain`` says what of it cannot be kept."""
        self._keep_state(self.mount.drain())

    def keep_soon(self) -> None:
        """Store what was changed between executions, without waiting for it."""
        if not self.outbox.keeps or self.current is not None or self._keeper is not None:
            return
        if self.home.here:
            self._keeper = asyncio.get_running_loop().create_task(self._keep_on(), name="nbsession keep")
        else:  # no loop runs: nobody else touches the session
            self.note_changes()
            self.outbox.keep_now()

    def keep_at_once(self) -> None:
        """Store what was changed between executions before this returns, and block for it."""
        if self.outbox.keeps and self.current is None:
            self.note_changes()
            self.outbox.keep_now()

    async def _keep_on(self) -> None:
        try:
            self.note_changes()
            while self.outbox:
                await self.outbox.try_keep()
                self.note_changes()
        finally:
            self._keeper = None

    async def wind_up(self) -> None:
        """Stop what runs, close what was spawned and store what waits; nothing is taken down yet."""
        self.line.withdraw(CLOSED)
        running = self.current
        if running is not None and running.stranded:
            running.bury()
        if running is not None:
            running.abort(CLOSED)
            await running.settled()
        for child in self.children:
            await child.aclose()
        for sweep in list(self.sweeps):
            await sweep.aclose()
        self.note_changes()
        await self._keep_last()

    async def close(self) -> None:
        """Unmount the tree, store what came of that and let go."""
        try:
            await self.mount.unmount(self.session)
        finally:
            try:
                self.note_changes()
                await self._keep_last()
            finally:
                self.feed.close()
                self.journal.close()
                self.session.app.forget(self.session)

    async def _keep_last(self) -> None:
        # Who only looked is not told that another process writes.
        await (self.outbox.keep() if self.outbox.due else self.outbox.try_keep())


def _sent_in(state: Mapping[str, Any]) -> tuple[Sent, ...]:
    numbers = sorted(int(address.removeprefix(SENT)) for address in state if address.startswith(SENT))
    return tuple(Sent.from_dict(state[f"{SENT}{number}"]) for number in numbers)


def _values_in(state: Mapping[str, Any]) -> dict[str, Any]:
    return {address.removeprefix(KNOB): value for address, value in state.items() if address.startswith(KNOB)}
