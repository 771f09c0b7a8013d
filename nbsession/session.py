"""A session: an identity, a mounted tree with its state, and a timeline that last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from nbsession.content import ToolCall, new_id
from nbsession.core import KNOB, SessionCore
from nbsession.errors import SessionClosedError, SessionError, ToolError, did_you_mean
from nbsession.execution import Execution, Options, Result
from nbsession.fragment import ToolUse
from nbsession.journal import Journal, Past, StoredContext, restore_ticks
from nbsession.message import drafts_of
from nbsession.mount import STATE
from nbsession.state import GONE, StateLog
from nbsession.stores.base import Row
from nbsession.timeline import Record
from nbsession.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from nbsession.app import App
    from nbsession.context import CompiledContext, ContextDiff
    from nbsession.events import Event
    from nbsession.hooks import SessionUsage
    from nbsession.knobs import By, KnobSpec
    from nbsession.tick import Tick

T = TypeVar("T")


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


class SessionKnobs:
    """The knobs of a session, for any thread. ``knobs[name]`` reads, ``knobs[name] = value`` sets."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def _on_home(self, fn: Callable[[SessionCore], T]) -> T:
        def carried() -> T:
            core = self._session._mounted()
            return fn(core)

        return self._session._core.home.call(carried)

    def __getitem__(self, name: str) -> Any:
        return self._on_home(lambda core: core.knobs[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return self._on_home(lambda core: name in core.knobs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs())

    def __len__(self) -> int:
        return len(self.specs())

    def specs(self) -> dict[str, KnobSpec]:
        """Return the specs of the knobs that are mounted, by name."""
        return self._on_home(lambda core: dict(core.knobs.specs()))

    def values(self) -> dict[str, Any]:
        """Return the present values, by name."""
        return self._on_home(lambda core: dict(core.knobs.values()))

    def set(self, name: str, value: Any, by: By = "program") -> None:
        """Set a knob; returns when it is validated. ``by`` is ``"program"``, ``"user"`` or ``"model"``.

        Raises ``KnobError`` for an unknown name or a value outside the spec.
        """
        self._on_home(lambda core: core.knobs.set(name, value, by=by))

    def set_many(self, values: Mapping[str, Any], by: By = "program") -> None:
        """Set several knobs, all of them or none."""
        self._on_home(lambda core: core.knobs.set_many(values, by=by))

    def reset(self, *names: str, by: By = "program") -> None:
        """Set knobs (all, where none is named) back to their defaults."""
        self._on_home(lambda core: core.knobs.reset(*names, by=by))

    @property
    def history(self) -> Sequence[Any]:
        """Who set what, when: the latest settings, oldest first."""
        return self._on_home(lambda core: tuple(core.knobs.history))

    def __repr__(self) -> str:
        return f"<knobs {self.values()!r}>"


class Session:
    """A live conversation with an agent; made by ``app.session()``.

    Its methods may be called from any thread or loop.
    """

    def __init__(
        self,
        app: App,
        id: str,
        *,
        tools: Sequence[ToolUse] = (),
        metadata: Mapping[str, Any] | None = None,
        props: Mapping[str, Any] | None = None,
        model: Any = None,
        past: Past | None = None,
        copy: tuple[Record, StateLog, list[Tick]] | None = None,
        parent: str | None = None,
        node: Any = None,
    ) -> None:
        self.id = id
        self.app = app
        self.metadata: dict[str, Any] = {**(past.metadata if past else {}), **(metadata or {})}
        self.parent = past.parent if past else parent
        self._status = "idle"
        self._props = dict(props or {})
        self._node = node
        record, state, ticks = copy or (Record(), StateLog(), [])
        if past is not None:
            record.restore(past.entries, past.head)
            state.record(past.changes)
            assert app.store is not None
            ticks = restore_ticks(past, record, app.store)
        self._core = SessionCore(
            self,
            self._root(),
            home=app.home,
            journal=Journal(app.store, id, revision=past.revision if past else 0),
            record=record,
            state=state,
            ticks=ticks,
            tools=(*tools, *app.tool_uses),
            model=model if model is not None else app.model,
            max_ticks=app.max_ticks,
            budget=app.budget,
        )
        if app.store is not None and past is None:
            self._core._rows.add(
                Row("session", id, {"metadata": self.metadata, "parent": self.parent, "created": time.time()})
            )
            if copy is not None:
                self._core._rows.rows.extend(_copied_rows(record, state))

    # Looking

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``."""
        if self._status == "closed":
            return "closed"
        return "idle" if self._core.current is None else "running"

    @property
    def timeline(self) -> Record:
        """The conversation: the entries on the path to the head."""
        return self._core.record

    @property
    def ticks(self) -> list[Tick]:
        """Every tick so far; ``ticks[n].number == n``."""
        return self._core.ticks

    @property
    def executions(self) -> list[Execution]:
        """The executions of this process, the oldest first."""
        return list(self._core.executions)

    @property
    def current(self) -> Execution | None:
        """The execution that runs now."""
        return self._core.current

    @property
    def usage(self) -> SessionUsage:
        """Tokens and cost so far."""
        return self._core._session_usage()

    @property
    def knobs(self) -> SessionKnobs:
        """The knobs, to be read and set."""
        return SessionKnobs(self)

    @property
    def model(self) -> Any:
        """The session's model (a name, an adapter, or ``None``: the app's or the environment's)."""
        return self._core.model

    @model.setter
    def model(self, model: Any) -> None:
        if model is not None:
            from nbsession.models import resolve

            model = resolve(model)
        self._core.model = model

    @property
    def state(self) -> dict[str, Any]:
        """The kept component state, by component path and hook (``"Notepad#1"``), as JSON data."""

        def read() -> dict[str, Any]:
            core = self._core
            if core.mount.mounted:
                core._drain()
            current = core.state.current
            return {key.removeprefix(STATE): value for key, value in current.items() if key.startswith(STATE)}

        return self._core.home.call(read)

    @property
    def notes(self) -> list[str]:
        """What the tree and the knobs had to say: state that did not fit, values that were replaced."""
        core = self._core
        lost = [f"kept state at {address} fits no component now" for address in core.mount.root.unrestored]
        return [*core.mount.root.notes, *core.knobs.notes, *(lost if core.mount.mounted else [])]

    def compile(self) -> CompiledContext:
        """Compile what would be sent now. No model is called."""

        def compiled() -> CompiledContext:
            core = self._mounted()
            return core.mount.compile(
                tools=core.tools, sent=core.sent, needs_timeline=bool(len(core.record))
            ).context

        return self._core.home.call(compiled)

    def preview(self, **knobs: Any) -> Preview:
        """Say what the context would be under these knob values, and how it differs from what was last sent.

        Renders over copies of the tree's state: no effects, no fetches, no model
        call, and nothing changes. It compares with the same timeline under the
        knobs as last sent. Raises ``KnobError`` for a name or value that does not
        fit.
        """

        def previewed() -> Preview:
            core = self._mounted()
            present = core.knobs.values()
            wanted = {**present, **knobs}
            before = {
                name: (core.last_sent or {}).get(name, value)
                for name, value in _before(core, present).items()
            }
            new = core.mount.preview(wanted, tools=core.tools, sent=core.sent).context
            old = core.mount.preview(_fitting(core, before), tools=core.tools, sent=core.sent).context
            values = core.knobs.overlay(wanted).values()
            changed = {
                name: (before[name], value) for name, value in values.items() if before.get(name) != value
            }
            return Preview(new, new.diff(old), changed)

        return self._core.home.call(previewed)

    def subscribe(self, after: int | None = None) -> AsyncIterator[Event]:
        """Give the session's events, from a sequence number on and then as they come, to any number of readers."""
        return self._core.feed.read(after)

    # Doing

    def send(
        self,
        message: Any,
        *,
        model: Any = None,
        max_ticks: int | None = None,
        tools: Sequence[Any] = (),
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        output: Any = None,
    ) -> Execution:
        """Send a message and start at once; while an execution runs, queue the next one.

        ``message`` is a string, an entry, a list of content (text, images, frames,
        figures), ``{"role", "content"}``, or a list of those. Raises ``SessionError``
        for a malformed one. Await the execution for its ``Result``, or iterate it
        for its events.
        """
        uses = tuple(ToolUse(tool, "send") for tool in tools)
        options = Options(
            self._checked(model), _positive(max_ticks), uses, metadata or {}, request_id, output
        )
        return self._enqueue(drafts_of(message), options)

    def render(self, **props: Any) -> Execution:
        """Run without a new message; ``props`` replace those of the root component."""
        return self._enqueue([], Options(), props)

    def run(self, message: Any, **options: Any) -> Result:
        """Send a message and wait for its result, from a program without a loop or inside a running one."""

        async def sending() -> Result:
            return await self.send(message, **options)

        self._open()
        return self._core.home.run(sending)

    def queue(self, message: Any) -> None:
        """Let a message wait: for the end of the tick that would be the last, or for the next ``send``."""
        drafts = drafts_of(message)
        self._open()
        self._core.home.post(lambda: self._core.queued.extend(drafts))

    def steer(self, message: Any) -> None:
        """Put a message into the running execution at its next tick; while idle it waits for the next ``send``."""
        drafts = drafts_of(message)
        self._open()
        self._core.home.post(lambda: self._core.steered.extend(drafts))

    def interrupt(self, message: Any = None) -> Execution | None:
        """Stop the running execution; with a message, send that next, before all that is queued."""
        drafts = None if message is None else drafts_of(message)
        core = self._core
        self._open()
        execution = None if drafts is None else Execution(self, core, drafts, Options())

        def interrupting() -> None:
            running = core.current
            if execution is not None and running is not None:
                core.line.appendleft(execution)
            elif execution is not None:
                core.enqueue(execution)
            if running is not None:
                running.abort("interrupted")

        if execution is not None:
            core.home.settle()
        core.home.post(interrupting)
        return execution

    def stop(self) -> None:
        """Stop the running execution, if there is one."""
        running = self._core.current
        if running is not None:
            running.abort()

    async def dispatch(self, tool: str, **input: Any) -> Any:
        """Call a tool of the tree by name, user-only ones included, and return its value.

        Raises ``ToolError`` with the result's text where the tool failed.
        """
        core = self._core
        core.home.settle()
        await core.mount.settle(self)
        compiled = core.mount.compile(tools=core.tools)
        found = compiled.toolbox.get(tool)
        if found is None:
            raise ToolError(f"there is no tool {tool!r}{did_you_mean(tool, compiled.toolbox)}")
        call = ToolCall(new_id("call"), found.name, input)
        handle = Execution(self, core, [], Options())
        outcome = await run_tool(found, call, core.tool_context(handle, call), user_loop=core.home.user_loop)
        if outcome.result.is_error:
            raise ToolError(outcome.result.text)
        return outcome.value

    def spawn(self, element: Any, message: Any, **options: Any) -> Execution:
        """Send a message to an isolated session of its own, mounted with ``element``; return its execution."""
        from nbsession.app import App

        app = App(element, model=options.pop("model", self.model), max_ticks=self._core.max_ticks)
        app.home = self._core.home
        return app.session().send(message, **options)

    def rewind(self, entry: str | None) -> None:
        """Stand at an entry (its id; ``None``: before the first) and go on from there; nothing is deleted."""
        self._open()

        def rewinding() -> None:
            if self._core.current is not None:
                raise SessionError(f"session {self.id!r} is running; stop it before rewinding")
            self._core.move_head(entry)

        self._core.home.call(rewinding)

    def fork(self, at: int | None = None, *, before: bool = False, id: str | None = None) -> Session:
        """Return a new session that shares this one's past.

        From now, or from tick ``at``: standing after its tool results, or, with
        ``before``, exactly as it was compiled, so that compiling gives the tick's
        hash.
        """
        self._open()
        return self._core.home.call(lambda: self._forked(at, before, id))

    def _forked(self, at: int | None, before: bool, id: str | None) -> Session:
        core = self._core
        if at is None:
            core._drain()
            head, state, ticks = core.record.head, dict(core.state.current), list(core.ticks)
        else:
            if not -len(core.ticks) <= at < len(core.ticks):
                raise SessionError(f"there is no tick {at}; session {self.id!r} has {len(core.ticks)} ticks")
            tick = core.ticks[at]
            head = tick.head_before if before else tick.head_after
            state = core.state.at(tick.state_before if before else tick.state_after)
            ticks = core.ticks[: tick.number + (0 if before else 1)]
        record = Record()
        record.restore(core.record.all(), head)
        forked = Session(
            self.app,
            id or new_id("se"),
            metadata=self.metadata,
            props=self._props,
            model=core.model,
            tools=core.tools,
            copy=(record, StateLog(state), list(ticks)),
            parent=self.id,
            node=self._node,
        )
        return self.app.adopt(forked)

    def verify(self) -> list[int]:
        """Work the hash of every stored tick's context out anew; return the numbers of those that differ."""
        wrong = []
        for tick in self.ticks:
            context = tick.context
            if isinstance(context, StoredContext) and context.recomputed_hash() != context.hash:
                wrong.append(tick.number)
        return wrong

    async def aclose(self) -> None:
        """Stop what runs, unmount the tree and let go of the store."""
        if self._status == "closed":
            return
        core = self._core
        self._status = "closed"
        for execution in (*core.line, *([core.current] if core.current else [])):
            execution.abort("the session was closed")
        if core.current is not None:
            await core.current._settled()
        await core.mount.unmount(self)
        await core.keep()
        core.feed.close()
        core.journal.close()
        self.app.forget(self)

    def close(self) -> None:
        """Stop what runs, unmount the tree and let go of the store. Waits, except on the home loop itself."""
        home = self._core.home
        if home.here:
            home.settle().create_task(self.aclose())
        else:
            home.run(self.aclose)

    # Inside

    def _root(self) -> Any:
        return self._node if self._node is not None else self.app.element(self._props)

    def _open(self) -> None:
        if self._status == "closed":
            raise SessionClosedError(
                f"session {self.id!r} is closed; open it again with app.session({self.id!r})"
            )

    def _mounted(self) -> SessionCore:
        """Render what waits to be rendered; effects wait for the next execution."""
        self._open()
        core = self._core
        core.mount.render()
        return core

    def _checked(self, model: Any) -> Any:
        if model is None:
            return None
        from nbsession.models import resolve

        return resolve(model)

    def _enqueue(self, drafts: Any, options: Options, props: Mapping[str, Any] | None = None) -> Execution:
        self._open()
        core = self._core
        core.home.settle()
        execution = Execution(self, core, drafts, options)

        def enqueue() -> None:
            if props:
                self._props = {**self._props, **props}
                core.mount.root.update(self._root())
            core.enqueue(execution)

        core.home.post(enqueue)
        return execution

    def __repr__(self) -> str:
        return f"<Session {self.id!r} {self.status}, {len(self.timeline)} entries, {len(self.ticks)} ticks>"


def _before(core: SessionCore, present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they were before anything was sent: at first those the session began with."""
    if core.last_sent is not None:
        return dict(present)
    specs = core.knobs.specs()
    began = core.state.at(0)
    return {name: began.get(KNOB + name, specs[name].default) for name in present}


def _fitting(core: SessionCore, values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out values that a knob does not take any more."""
    specs = core.knobs.specs()
    return {name: value for name, value in values.items() if name in specs}


def _positive(max_ticks: int | None) -> int | None:
    if max_ticks is not None and max_ticks < 1:
        raise SessionError(f"max_ticks must be at least 1, got {max_ticks}")
    return max_ticks


def _copied_rows(record: Record, state: StateLog) -> list[Row]:
    """Return the rows with which a forked session begins."""
    rows = [Row("entry", entry.id, entry.to_dict()) for entry in record.all()]
    rows.append(Row("head", "", {"head": record.head}))
    changes = [[address, value] for address, value in state.current.items() if value is not GONE]
    rows.append(Row("state", str(state.version), {"changes": changes}))
    return rows
