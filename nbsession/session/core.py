"""What a session is made of, for the loop that runs it: touched on the home loop only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakSet

from nbsession.content import Block, Entry, Role, ToolResult, new_id
from nbsession.errors import SessionError
from nbsession.events import EntryCommitted, KnobSet, ToolEnd
from nbsession.hooks import GONE, Environment, Gates, StateLog
from nbsession.knobs import Knobs, Setting
from nbsession.models.resolve import chooser
from nbsession.record import Outbox
from nbsession.session.breakpoints import Breakpoints
from nbsession.session.edit import edits_in
from nbsession.session.feed import Feed
from nbsession.session.keeping import KNOB, Keeper, knobs_in, sent_in
from nbsession.session.line import Line
from nbsession.session.mail import Mail
from nbsession.session.mount import STATE, WITHOUT, Mount, left_out_in
from nbsession.session.permissions import Permissions
from nbsession.session.questions import Questions, unanswered
from nbsession.session.request_ids import RequestIds
from nbsession.session.room import FACTOR, SessionRoom
from nbsession.session.spending import Spending
from nbsession.timeline import Policies, ToolRun, interrupted, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from nbsession.content import Draft
    from nbsession.context import Compiled, CompiledContext, ToolUse, Withheld
    from nbsession.events import Event
    from nbsession.models.base import ModelAdapter
    from nbsession.record import EventLog, Journal
    from nbsession.session.door import Door, Turn
    from nbsession.session.home import Home
    from nbsession.session.result import Result
    from nbsession.timeline import Cause, Policy, Record, Tick
    from nbsession.tools import Rule
    from nbsession.usage import Budget

WINDOW = "window"
SPAWNED = "spawned"


class Spawned(NamedTuple):
    """A session that another one spawned, and the execution that did, if one ran."""

    session: Door
    by: Turn | None


class SessionCore:
    """The parts of one session and what the loop does with them.

    Everything here runs on the home loop; ``Session`` is the door for everybody else.
    """

    def __init__(
        self,
        session: Door,
        node: Any,
        *,
        forget: Callable[[], None],
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
        permissions: Sequence[Rule] = (),
    ) -> None:
        self.session = session
        self.forget = forget
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
        self.children: list[Spawned] = []
        self.sweeps: WeakSet[Any] = WeakSet()
        self.line = Line()
        self.requests = RequestIds()
        self.breakpoints = Breakpoints()
        self.feed = Feed(self.outbox, record, ticks)
        self.spending = Spending(ticks, budget, state.current.get(WINDOW), state.current.get(SPAWNED))
        self._next_window = self.spending.window
        self.keeper = Keeper(self)
        self.mail = Mail(state.current, self.keeper.note)
        self.questions = Questions(state.current, self.keeper.changes, session.id)
        self.permissions = Permissions(permissions, state.current, self.keeper, home)
        self.sent = sent_in(state.current)
        self.room = SessionRoom(state, ticks)
        self._left: Mapping[str, Any] = {}
        self.knobs = Knobs(on_set=self._knob_was_set, values=knobs_in(state.current))
        self.environment = Environment(
            knobs=self.knobs,
            record=record,
            session=session,
            usage=self.spending.so_far,
            usage_watchers=self.spending.watchers,
            set_knob=self._set_knob_later,
            gates=Gates(state.current, self.keeper.note, home.post, self._tell),
        )
        self.policies = Policies(
            policies, remember=self.outbox.policy, recall=self.outbox.answers if journal.keeps else None
        )
        self.mount = self._mount_of(node)
        self.last_sent = knobs_in(state.at(ticks[-1].state_before) if ticks else state.current)
        self._compiled_at = (record.head, state.version, self.last_sent)
        self._causes: tuple[Cause, ...] = ()
        self.edits = edits_in(state.current)
        self._announced = len(record)
        self.closed = False

    # Knobs

    def _knob_was_set(self, setting: Setting) -> None:
        self.keeper.changes([(KNOB + setting.name, setting.value)])
        self.environment.knob_watchers.mark()
        self._tell(KnobSet(setting.name, setting.value, setting.by))
        self.keeper.soon()

    def _tell(self, event: Event) -> None:
        self.feed.emit(event, self.current.log if self.current else None)

    def _set_knob_later(self, name: str, value: Any) -> None:
        def apply() -> None:
            present = self.knobs[name]
            self.knobs.set(name, value(present) if callable(value) else value, by="program")

        self.home.post(apply)

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
        self.questions.withdraw("the session was rewound", self.feed.emit)
        self.questions.drop_results()
        self.move_head(head)
        self.keeper.drain()
        then = self._state_at(head)
        now = self.state.current
        gone = [(address, GONE) for address in now if address.startswith(STATE) and address not in then]
        self.keeper.changes([*gone, *then.items()])
        self.mount.root.unmount()
        self.mount = self._mount_of(node)

    def _mount_of(self, node: Any) -> Mount:
        return Mount(node, self.environment, self.state, carry=self.home.post, on_change=self.keeper.soon)

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

    async def announce(self, session: Door) -> None:
        """Call ``use_on_message`` callbacks for the entries that were committed since the last call."""
        while self._announced < len(self.record):
            entry = self.record[self._announced]
            self._announced += 1
            await self.mount.fire("on_message", entry, session)

    def heal(self, known: Mapping[str, ToolResult | None] | None = None, log: EventLog | None = None) -> None:
        """Answer tool calls that were left open, so that the next request is valid.

        ``known`` are the calls that had started, with their results where there is one.
        """
        if not len(self.record) or not self.record[-1].tool_calls:
            return
        if self.questions.open:
            self._withdraw("another message was sent", log)
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

    def _withdraw(self, reason: str, log: EventLog | None) -> None:
        """Answer the calls of a tick that waited for somebody, since the conversation goes on without."""
        tick = self.ticks[-1]
        self.questions.withdraw(reason, lambda event: self.feed.emit(event, log))
        for run in tick.tool_calls:
            if run.result is None:
                run.result = unanswered(run, reason)
                self.feed.emit(ToolEnd(run.result))
        self.append("tool", tuple(run.result for run in tick.tool_calls if run.result is not None))
        self.questions.drop_results()
        self.finish_tick(tick)
        self.outbox.add(self.outbox.tick_ended(tick))
        self.end_cut_execution()

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
                self.heal(log=log)
            self.append(draft.role, draft.content, log=log, metadata=metadata)
        self.heal()

    def deliver(self, log: EventLog) -> None:
        """Move steered and queued messages into the timeline."""
        for draft in self.mail.take():
            self.append(draft.role, draft.content, log=log)

    @property
    def waiting(self) -> bool:
        """Whether messages wait for the next tick."""
        return bool(self.mail)

    # Executions, one at a time

    @property
    def current(self) -> Turn | None:
        """The execution that runs now."""
        return self.line.current

    def enqueue(self, execution: Turn) -> None:
        """Run an execution now, or after those before it."""
        try:
            self.home.settle()
        except SessionError as error:
            execution.refuse(error)
            return
        self.mount.own()
        if not execution.done:
            self.line.enqueue(execution)

    def stop_children(self, execution: Turn) -> None:
        """Stop the sessions that an execution spawned and that still run."""
        for child in self.children:
            if child.by is execution:
                child.session.stop()

    async def end_execution(self, result: Result) -> None:
        """Call the end hooks, each of them, reset momentary knobs and let go of trailing context.

        One that is paused goes on from exactly there, so nothing of that is let go of.
        """
        try:
            try:
                await self.announce(self.session)
            finally:
                await self.mount.fire_all("on_execution_end", result, self.session)
            self.mount.flush()
        finally:
            if not self.questions.open:
                self.knobs.reset_momentary()
                self._let_go_of_sent()
            self.keeper.drain()

    def end_cut_execution(self) -> None:
        """Do what is left of it for an execution whose process ended: nothing is mounted, and no hook hears of it."""
        self._let_go_of_sent()
        self.knobs.end_momentary()

    def _let_go_of_sent(self) -> None:
        self.sent = ()
        self.keeper.sent(self.sent)
        self.environment.gates.end()

    # Ticks

    def compile(
        self,
        tools: Sequence[ToolUse] = (),
        *,
        needs_timeline: bool = False,
        settings: Mapping[str, Any] | None = None,
        choose: Callable[[Any], ModelAdapter] | None = None,
        fresh: Container[str] = (),
    ) -> Compiled[ModelAdapter]:
        """Compile the settled tree for a tick; its trailing context and the moment are remembered."""
        room = self.room.renewed()
        compiled = self.mount.compile(
            tools=(*tools, *self.tools),
            sent=self.sent,
            needs_timeline=needs_timeline,
            settings=settings,
            choose=choose,
            fresh=fresh,
            room=room,
            edits=self.edits,
        )
        self._next_window = None if compiled.model is None else compiled.model.capabilities.window
        self.keeper.sent(self.sent)
        self.keeper.drain()
        if compiled.fitted is not None and (name := getattr(compiled.model, "name", None)):
            self.keeper.changes([(FACTOR + name, room.factor(name))])  # this tick's budgets went by it
        # Now: a hook after the compile may set state and knobs, which this tick is not sent.
        self._compiled_at = (self.record.head, self.state.version, self.knobs.values())
        self._causes += self.mount.take_causes(self.baseline())
        self.sent = compiled.sent
        self._left = {} if compiled.fitted is None else compiled.fitted.decisions()
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
        tick.causes, self._causes = self._causes, ()
        self.ticks.append(tick)
        self.keeper.sent(self.sent)
        self.keeper.changes(self.room.decided(self._left))
        if self._next_window != self.spending.window:
            # From here on: what was compiled for this tick did not know it.
            self.spending.window = self._next_window
            self.keeper.changes([(WINDOW, self._next_window)])

    def finish_tick(self, tick: Tick) -> None:
        """Close a tick: its end, the state and timeline after it."""
        try:
            self.keeper.drain()
        finally:
            if (spawned := self.spending.spawned) is not None:
                self.keeper.changes([(SPAWNED, spawned)])
            tick.ended = tick.ended or time.time()  # one that waited for somebody ended then
            tick.head_after, tick.state_after = self.record.head, self.state.version

    def baseline(self) -> dict[str, Any]:
        """Return the knob values as last sent; before anything was sent, those the session began with."""
        return {**{name: spec.default for name, spec in self.knobs.specs().items()}, **self.last_sent}

    def look(self, model: Any = None, head: str | None = None) -> CompiledContext:
        """Return the context that would be sent; see ``compiled``."""
        return self.compiled(model, head).context

    def compiled(self, model: Any = None, head: str | None = None) -> Compiled[ModelAdapter]:
        """Compile what would be sent; nothing is remembered of it. What stands behind ``head`` is new."""
        return self.mount.compile(
            tools=self.tools,
            sent=self.sent,
            needs_timeline=bool(len(self.record)),
            choose=self.model_for(model),
            fresh=self.record.since(head),
            room=self.room,
            edits=self.edits,
        )

    def edit(self, changes: list[tuple[str, Any]]) -> None:
        """Send other texts in place of parts from now on; see ``edit.changes_of``."""
        self.keeper.changes(changes)
        self.edits = edits_in(self.state.current)
        self.keeper.soon()

    def leave_out(self, components: Sequence[Withheld]) -> None:
        """Mount the tree without some components, and keep it so; before it is mounted."""
        self.keeper.changes([(WITHOUT + item.path, item.tokens) for item in components])
        self.mount.leave_out(left_out_in(self.state.current))

    def model_for(self, asked: ModelAdapter | None) -> Callable[[Any], ModelAdapter]:
        """Choose the model of a tick: ``send(model=)``, tree, session and app, environment."""
        return chooser(asked, lambda: self.model)

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``."""
        if self.closed:
            return "closed"
        return "idle" if self.current is None else "running"

    def kept_state(self) -> dict[str, Any]:
        """Return the kept component state by component path and hook, as JSON data."""
        if not self.closed and not self.mount.mounted and not self.state.version:
            self.render()
        if self.mount.mounted:
            self.keeper.drain()
        current = self.state.current
        return {key.removeprefix(STATE): value for key, value in current.items() if key.startswith(STATE)}
