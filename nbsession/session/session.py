"""A session: an identity, a mounted tree with its state, and a timeline that last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbsession.content import Draft, digest_of, drafts_of, new_id
from nbsession.context import ToolUse, tools_given
from nbsession.errors import SessionError
from nbsession.hooks import encode
from nbsession.session.ablation import left_out_of, listed
from nbsession.session.birth import core_of, spawned
from nbsession.session.closing import Closing
from nbsession.session.dispatch import dispatched
from nbsession.session.edit import changes_of
from nbsession.session.execution import Execution
from nbsession.session.fork import Fork, fork_of, tick_at
from nbsession.session.inquiry import SessionInquiry
from nbsession.session.notes import Notes
from nbsession.session.options import Options, checked_ticks
from nbsession.session.sweep import CONCURRENCY, Executor, Sweep, sweep_of
from nbsession.tools import Output
from nbsession.usage import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.context import Part
    from nbsession.record import Past
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Owner
    from nbsession.session.questions import Answer
    from nbsession.session.result import Result
    from nbsession.session.spending import Spending
    from nbsession.timeline import Tick

MOST_LEVELS = 10
"""How deep spawned sessions may spawn."""


class Session(SessionInquiry):
    """A live conversation with an agent; made by ``app.session()``.

    Its methods may be called from any thread or loop.
    """

    def __init__(
        self,
        app: Owner,
        id: str,
        *,
        tools: Sequence[ToolUse] = (),
        metadata: Mapping[str, Any] | None = None,
        props: Mapping[str, Any] | None = None,
        model: Any = None,
        past: Past | None = None,
        fork: Fork | None = None,
        parent: str | None = None,
        node: Any = None,
        stored: bool = True,
    ) -> None:
        self.id = id
        self.app = app
        self.metadata: dict[str, Any] = {**(past.metadata if past else {}), **(metadata or {})}
        self.parent = past.parent if past else parent
        self.forked = fork.point if fork is not None else past.fork_point if past is not None else None
        self.swept_by: Sweep | None = None
        self._props = dict(props or {})
        self._node = node
        self._core = core_of(
            self,
            self._root(),
            tools=tuple(dict.fromkeys((*tools, *app.tool_uses))),
            model=model if model is not None else app.model,
            store=app.store if stored else None,
            past=past,
            fork=fork,
        )
        self._closing = Closing(self._core)
        self._notes = Notes(self._core)

    @property
    def children(self) -> list[Session]:
        """The sessions that it spawned, the oldest first."""
        return [cast("Session", child.session) for child in self._core.children]

    def edit(self, tick: int | Tick, texts: Mapping[Any, str], *, id: str | None = None) -> Session:
        """Return a fork before a tick, with other texts in place of parts of what was sent there.

        ``texts`` has the new text, as it is to be sent, by part: one of ``tick.context.parts``, its
        path, or ``path#key``. The parts are marked ``edited`` wherever the fork shows them; an edit
        stays for as long as the tree has that part as it was. ``fork.render()`` asks again. Raises
        ``SessionError`` for a part that is not there or has no text of its own; there is no fork then.
        """
        self._open()

        def editing() -> Session:
            at = tick_at(self._core, getattr(tick, "number", tick))
            changes = changes_of(at.context, texts)
            fork = self._forked(at.number, True, id)
            fork._core.edit(changes)
            return fork

        return self._core.home.call(editing)

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
        budget: Any = None,
    ) -> Execution:
        """Send a message and start at once; while an execution runs, queue the next one.

        ``message`` is a string, an entry, a list of content (text, images, frames,
        figures), ``{"role", "content"}``, or a list of those. Raises ``SessionError``
        for a malformed one. ``budget`` (US dollars, or ``{"tokens": n}``) bounds this
        execution; ``output`` is what to answer with: a pydantic model, a dataclass, a
        ``TypedDict``, ``list[…]``, a union, an enum or a plain type. With a ``request_id``
        the same message is sent once in this session, also after a restart, and has the
        options and the outcome of the first time; another message under its id is a
        ``SessionError``. Where nothing went to a model it may be sent again, and stands in the
        timeline once: what did not compile or render, a missing key, a budget, a stop before
        the first request, a store without room, a session that another process held. Await the execution for its ``Result``, or iterate it for its events.
        """
        uses = tools_given(tools, "send")
        options = Options(
            self._checked(model),
            None if max_ticks is None else checked_ticks(max_ticks),
            uses,
            encode(metadata or {}, "send(metadata=)"),
            request_id,
            None if output is None else Output(output),
            Budget.of(budget),
        )
        drafts = drafts_of(message)
        brought = not self._core.home.here
        if request_id is None:
            return self._enqueue(drafts, options, brought=brought)
        if type(request_id) is not str or not request_id.strip():
            raise SessionError(f"request_id= takes a non-empty string, got {request_id!r}")
        return self._core.home.call(lambda: self._once(request_id, drafts, options, brought=brought))

    def answer(self, id: str, value: Any) -> Execution:
        """Answer a question of ``session.waiting`` and go on from exactly there; the execution that does is returned.

        ``value`` is what its ``schema`` takes, or an instance of the type that was asked for; for a confirmation
        ``True``, ``False``, the input to use instead, or ``"always"``. The call that waited runs once. With other
        questions open it ends as *paused* again. Raises ``SessionError`` for a value that does not fit (the question
        waits on) and for a second answer, saying what the first one was.
        """

        def answering() -> Execution:
            core = self._core
            answer = core.questions.give(id, value)
            if core.current is not None and core.current.take_answer(answer):
                return cast("Execution", core.current)
            options = core.line.options_of(core.ticks[-1].execution)
            return self._enqueue([], options, brought=brought, answer=answer)

        self._open()
        brought = not self._core.home.here
        return self._core.home.call(answering)

    def render(self, **props: Any) -> Execution:
        """Run without a new message; ``props`` replace those of the root component."""
        return self._enqueue([], Options(), props, brought=not self._core.home.here)

    def run(self, message: Any, **options: Any) -> Result:
        """Send a message and wait for its result, from a program without a loop or inside a running one.

        From several threads at once, too: the runs of one app share a loop, those of one
        session take turns.
        """

        async def sending() -> Result:
            return await self.send(message, **options)

        self._open()
        return self._core.home.run(sending)

    def queue(self, message: Any) -> None:
        """Let a message wait, stored: for the end of the tick that would be the last, or for the next ``send``."""
        drafts = drafts_of(message)
        self._open()
        self._core.home.call(lambda: self._core.mail.post(drafts, steered=False))

    def steer(self, message: Any) -> None:
        """Put a message into the running execution at its next tick; while idle it waits, stored, for the next ``send``."""
        drafts = drafts_of(message)
        self._open()
        self._core.home.call(lambda: self._core.mail.post(drafts, steered=True))

    def interrupt(self, message: Any = None) -> Execution | None:
        """Stop the running execution; with a message, send that next, before all that is queued."""
        drafts = None if message is None else drafts_of(message)
        core = self._core
        self._open()
        execution = None if drafts is None else Execution(self, core, drafts, Options())

        def interrupting() -> None:
            running = core.current
            if execution is not None and running is not None:
                core.line.push_in(execution)
            elif execution is not None:
                core.enqueue(execution)
            if running is not None:
                running.abort("interrupted")

        if execution is not None:
            core.home.settle(None if core.home.here else execution.outcome)
        core.home.post(interrupting)
        return execution

    def stop(self) -> None:
        """Stop the running execution, if there is one."""
        if (running := self._core.current) is not None:
            running.abort()

    async def dispatch(self, tool: str, /, **input: Any) -> Any:
        """Call a tool of the tree by name, user-only ones included, and return its value.

        Raises ``ToolError`` with the result's text where the tool failed.
        """
        self._open()
        handle = Execution(self, self._core, [], Options())
        return await self._core.home.carry(lambda: dispatched(self._core, handle, tool, input))

    def spawn(self, element: Any, message: Any, **options: Any) -> Execution:
        """Send a message to an isolated session of its own, mounted with ``element``; return its execution.

        Its usage counts towards this session's, it is stopped with the execution
        that spawned it and closed with this session. ``options`` are those of
        ``send``. Raises ``SessionError`` beyond ten levels.
        """
        self._open()
        core = self._core
        if core.depth >= MOST_LEVELS:
            raise SessionError(
                f"session {self.id!r} is spawned {core.depth} levels deep; the limit is {MOST_LEVELS}"
            )
        drafts_of(message)
        child = core.home.call(lambda: self._spawned(element))
        return child.send(message, **options)

    def sweep(
        self,
        message: Any = None,
        knobs: Mapping[str, Sequence[Any]] | None = None,
        *,
        repeat: int = 1,
        context_only: bool = False,
        executor: Executor | None = None,
        concurrency: int = CONCURRENCY,
        budget: Any = None,
        **knob_values: Sequence[Any],
    ) -> Sweep:
        """Send a message under every combination of knob values, each in a fork of its own; start at once.

        Without a message the last one of the user is asked again, from the moment before it. ``knobs`` and
        ``knob_values`` give the values by knob; ``repeat`` sends each combination so many times. With ``context_only``
        nothing is sent: the rows have the contexts alone, at no cost. ``executor(session, message)`` takes the sending
        over. At most ``concurrency`` rows are asked at a time; a tool that asks for confirmation is denied, since nobody
        sits before each row. ``budget`` (US dollars, or ``{"tokens": n}``) bounds all of them together, and so does the
        app's, of which this session's use so far counts as used: a row that would pass it stops with
        ``StopReason.budget``. This session does not change, and what the rows use does not count for it. Raises
        ``KnobError`` before anything is sent where a value does not fit, and ``SessionError`` beyond 1,000 rows.
        """
        self._open()
        values = {**(knobs or {}), **knob_values}

        def sweeping() -> Sweep:
            sweep = sweep_of(
                self,
                self._core,
                self._branched,
                message,
                values,
                repeat=repeat,
                context_only=context_only,
                executor=executor,
                concurrency=concurrency,
                budget=budget,
            )
            self._core.sweeps.add(sweep)
            if brought and not context_only:
                self._core.home.settle(sweep.outcome)
            return sweep

        brought = not self._core.home.here
        if not context_only:
            self._core.home.settle()
        return self._core.home.call(sweeping)

    def branch(self, at: int | None = None, *, before: bool = False) -> Session:
        """Return a fork (see ``fork``) that nothing keeps: neither the app nor the store."""
        self._open()
        return self._core.home.call(lambda: self._forked(at, before, None, stored=False))

    def _branched(self, account: Spending) -> Session:
        fork = self._forked(None, False, None, stored=False)
        fork._core.spending.parent = account
        return fork

    def rewind(self, entry: str | None) -> None:
        """Stand at an entry (its id; ``None``: before the first) and go on from there; nothing is deleted.

        Component state goes back to what it was then; knobs stay as they are, so that
        the same message can be tried under other values.
        """
        self._open()

        def rewinding() -> None:
            if self._core.current is not None:
                raise SessionError(f"session {self.id!r} is running; stop it before rewinding")
            self._core.rewind(entry, self._root())
            self._core.keeper.soon()

        self._core.home.call(rewinding)

    def fork(
        self,
        at: int | None = None,
        *,
        before: bool = False,
        id: str | None = None,
        without: str | Part | Sequence[str | Part] = (),
    ) -> Session:
        """Return a new session that shares this one's past.

        From now, or from tick ``at``: standing after its tool results, or, with
        ``before``, exactly as it was compiled, so that compiling gives the tick's
        hash. Forked from now while a tick runs, the fork has that tick as interrupted.
        ``without`` are components that its tree leaves out from here on, as ``Session.without``
        does: they are not mounted, and its contexts list them in ``withheld`` as ``"left out"``.
        """
        self._open()
        if id is not None and self.app.knows(id):
            raise SessionError(
                f"there is a session {id!r} already; give the fork another id, or none for a new one"
            )

        def forking() -> Session:
            left_out = left_out_of(self._standing(at, before), listed(without)) if without else ()
            forked = self._forked(at, before, id)
            if left_out:
                forked._core.leave_out(left_out)
            forked._core.keeper.soon()
            return forked

        return self._core.home.call(forking)

    def _standing(self, at: int | None, before: bool) -> SessionCore:
        """Return the rendered core as it stands now, or of a fork at a tick that nothing keeps."""
        return self._mounted() if at is None else self._forked(at, before, None, stored=False)._mounted()

    def _forked(self, at: int | None, before: bool, id: str | None, *, stored: bool = True) -> Session:
        core = self._core
        fork = fork_of(core, at, before)
        forked = Session(
            self.app,
            id or new_id("se"),
            metadata=self.metadata,
            props=self._props,
            model=core.model,
            tools=core.tools,
            fork=fork,
            parent=self.id,
            node=self._node,
            stored=stored,
        )
        return self.app.adopt(forked) if stored else forked

    async def aclose(self) -> None:
        """Stop what runs, unmount the tree and let go of the store, from which ``app.session(id)`` opens it anew.

        Effects are cleaned up and unmount callbacks called; spawned sessions are closed
        with it. A second call waits for the first. Where not all can be stored (a full
        disk), it stays open and raises ``StoreError``: make room and close it again.
        Closing it again also gives up what still cannot be stored.
        """
        await self._closing.aclose()

    def close(self) -> None:
        """Close as ``aclose`` does, and wait; on the home loop itself, a task does it, which nobody need await.

        What was set between executions is stored when this returns, there too.
        """
        self._closing.close()

    # Inside

    def _once(self, request_id: str, drafts: list[Draft], options: Options, *, brought: bool) -> Execution:
        """Send under a request id; a second time gives the execution of the first."""
        digest = digest_of(drafts)
        known = cast("Execution | None", self._core.requests.find(request_id, digest))
        if known is None:
            known = self._enqueue(drafts, options, brought=brought)
        elif options.output is not None:
            known.read_as(options.output)
        return known

    def _spawned(self, element: Any) -> Session:
        core, node = self._core, self.app.root_of(element)
        child = Session(self.app, new_id("se"), parent=self.id, node=node, model=core.model, stored=False)
        spawned(child._core, core)
        return child

    def _root(self) -> Any:
        return self._node if self._node is not None else self.app.element(self._props)

    def _enqueue(
        self,
        drafts: Any,
        options: Options,
        props: Mapping[str, Any] | None = None,
        *,
        brought: bool,
        answer: Answer | None = None,
    ) -> Execution:
        """Put an execution into the line; one that was ``brought`` from elsewhere keeps the loop of blocking runs."""
        self._open()
        core = self._core
        if props:
            self.app.element({**self._props, **props})  # refused here, not on the home loop
        execution = Execution(self, core, drafts, options, answer)
        core.home.settle(execution.outcome if brought else None)
        core.requests.begin(execution)

        def enqueue() -> None:
            if props:
                self._props = {**self._props, **props}
                core.mount.root.update(self._root())
            core.enqueue(execution)

        core.home.post(enqueue)
        return execution

    def __repr__(self) -> str:
        return f"<Session {self.id!r} {self.status}, {len(self.timeline)} entries, {len(self.ticks)} ticks>"
