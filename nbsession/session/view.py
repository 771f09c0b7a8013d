"""A session as it may be looked at: what it is, what it has said and used, and what its tree shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbsession.errors import SessionError
from nbsession.export import save
from nbsession.hooks import encode
from nbsession.record import altered
from nbsession.session.export import Export
from nbsession.session.freeze import frozen_of
from nbsession.session.knobs import SessionKnobs
from nbsession.session.options import checked_ticks

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from nbsession.context import Withheld
    from nbsession.events import Event
    from nbsession.hooks import Gate, SessionUsage
    from nbsession.session.breakpoints import Breakpoints
    from nbsession.session.closing import Closing
    from nbsession.session.core import SessionCore
    from nbsession.session.execution import Execution
    from nbsession.session.feed import Observer
    from nbsession.session.freeze import Frozen
    from nbsession.session.notes import Notes
    from nbsession.session.outline import Outline
    from nbsession.session.permissions import Permissions
    from nbsession.session.sweep import Sweep
    from nbsession.timeline import Record, Tick
    from nbsession.tools import Question
    from nbsession.tree import Source


class SessionView:
    """The part of a session that is read, with the settings that are properties."""

    id: str
    metadata: dict[str, Any]
    parent: str | None
    _core: SessionCore
    _props: dict[str, Any]
    _closing: Closing
    _notes: Notes

    @property
    def status(self) -> str:
        """``"idle"``, ``"running"`` or ``"closed"``."""
        return self._core.status

    @property
    def superseded(self) -> bool:
        """Whether another process has gone on with it, so that what is here can be looked at and forked only."""
        return self._core.current is None and self._core.journal.superseded

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
        """The latest executions, at most 256, the oldest first; of earlier processes, too.

        The ``status`` of one whose process ended while it ran is ``"interrupted"``.
        """
        return cast("list[Execution]", self._core.line.remembered)

    @property
    def current(self) -> Execution | None:
        """The execution that runs now."""
        return cast("Execution | None", self._core.current)

    @property
    def line(self) -> list[Execution]:
        """The executions that wait for their turn, the next first."""
        return cast("list[Execution]", [*self._core.line.waiting])

    def sent(self, request_id: str) -> Execution | None:
        """Return the execution of what was sent under a request id, ``None`` where nothing was."""
        return cast("Execution | None", self._core.requests.known(request_id))

    def observe(self, observe: Callable[[str, str], Observer] | None) -> None:
        """Have what ``observe`` gives for its id and its root's name called with its durable events as they happen.

        On the home loop, in the task and the context where each happens; it must neither wait nor raise. ``None``
        ends it. To read along, at one's own pace, there is ``subscribe``.
        """
        observer = None if observe is None else observe(self.id, self._root().type.name)

        def observing() -> None:
            self._core.feed.observer = observer

        self._core.home.call(observing)

    def _root(self) -> Any:
        """Return the element at the top of its tree."""
        raise NotImplementedError

    @property
    def sequence(self) -> int:
        """The number of its last event, 0 before the first."""
        return self._core.feed.sequence

    @property
    def stored(self) -> int:
        """The number of the last event that is durable; without a store, of the last event."""
        outbox = self._core.outbox
        return outbox.stored if outbox.keeps else self.sequence

    @property
    def held(self) -> bool:
        """Whether it is this process that holds it, so that no other one can have written it."""
        return self._core.journal.held

    @property
    def outdated(self) -> bool:
        """Whether another process has written it since it was read here; open it again to go on from there."""
        return self._core.current is None and self._core.journal.outdated

    @property
    def waiting(self) -> list[Question]:
        """What waits for a person's word, also since before a restart; ``answer(id, value)`` goes on."""
        return self._core.home.call(lambda: self._core.questions.waiting)

    @property
    def permissions(self) -> Permissions:
        """The rules over its tool calls, each with who made it: to be listed, ``add``ed to and ``remove``d from."""
        return self._core.permissions

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates of its components, each with ``open`` and ``reason``; an open one keeps an execution from ending."""

        def read() -> tuple[Gate, ...]:
            core = self._core if self._core.mount.mounted else self._mounted()
            return tuple(core.mount.gates.values())

        return self._core.home.call(read)

    @property
    def breakpoints(self) -> Breakpoints:
        """Where an execution is to stop before it calls the model: ``session.breakpoints.add(tool="search")``."""
        return self._core.breakpoints

    @property
    def sweeps(self) -> list[Sweep]:
        """The sweeps that were made of it, as far as somebody holds them."""
        return list(self._core.sweeps)

    @property
    def usage(self) -> SessionUsage:
        """Tokens and cost so far."""
        return self._core.spending.so_far()

    @property
    def knobs(self) -> SessionKnobs:
        """The knobs, to be read and set."""
        return SessionKnobs(self._core, self._mounted)

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
    def max_ticks(self) -> int:
        """How many ticks an execution may take, where ``send(max_ticks=)`` says nothing else."""
        return self._core.max_ticks

    @max_ticks.setter
    def max_ticks(self, max_ticks: int) -> None:
        self._core.max_ticks = checked_ticks(max_ticks)

    @property
    def state(self) -> dict[str, Any]:
        """The kept component state, by component path and hook (``"Notepad#1"``), as JSON data.

        Before the first message it is what was kept, or, in a new session, what the
        components begin with.
        """
        return self._core.home.call(self._core.kept_state)

    @property
    def left_out(self) -> tuple[Withheld, ...]:
        """The components that its tree leaves out, by path, with the tokens they had; see ``fork(without=)``."""
        return self._core.mount.left_out

    @property
    def notes(self) -> list[str]:
        """What the tree, the knobs and the store had to say: state that did not fit, values that were replaced, what may not stay kept."""
        return self._notes.untold

    def take_notes(self) -> list[str]:
        """Give the notes that were not given before."""
        return self._notes.take()

    async def keep(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Store what waits, also of a session that nothing was sent to; returns when it is durable.

        ``metadata``, where it is given, takes the place of what was there. Raises ``SessionBusyError``
        where another process holds the session. Without a store nothing is kept.
        """
        self._open()
        known = None if metadata is None else encode(metadata, "keep(metadata=)")

        async def keeping() -> None:
            outbox = self._core.outbox
            self._core.keeper.tree()  # a result is never kept without the state that its tool set
            await outbox.keep(None if known is None else outbox.description(known, self.parent))
            if known is not None:
                self.metadata = known

        await self._core.home.carry(keeping)

    def withdraw(self, reason: str) -> None:
        """End the executions that wait for their turn: nothing of them is in the timeline, and each may be sent again."""
        self._core.home.call(lambda: self._core.line.withdraw(reason))

    def outline(self) -> Outline:
        """Return the mounted components with their keys, state, knobs and tools, to be shown or printed."""

        def read() -> Outline:
            return self._mounted().mount.outline()

        return self._core.home.call(read)

    def sources(self) -> Mapping[str, Source]:
        """Return where each component of the author's is written: its file and line, by its path in the tree."""

        def read() -> Mapping[str, Source]:
            return self._mounted().mount.sources()

        return self._core.home.call(read)

    def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the session's events, from a sequence number on and then as they come, to any number of readers.

        There is no gap and no duplicate between the stored and the live. A reader that
        rests holds nobody up and costs no memory: it goes on from the store, or, in a
        session without one, gets a ``SessionError`` once what it missed is gone. So does
        one that asks for what is gone by its number, 0 for all; without a number it
        begins with the first event that is kept.
        """
        if after is not None and not isinstance(after, int):
            raise SessionError(f"subscribe(after=) takes the sequence number of an event, got {after!r}")
        return self._core.feed.subscribe(after)

    def freeze(
        self, knobs: Mapping[str, Iterable[Any]] | None = None, **knob_values: Iterable[Any]
    ) -> Frozen:
        """Work out the context under every combination of knob values, for a panel that needs no kernel.

        ``knobs`` and ``knob_values`` give the values by knob, as in ``freeze(tone=["terse"], depth=range(1, 6))``;
        without any, all of the choices, switches and bounded whole numbers. It renders over copies, as
        ``preview`` does: no model call, no fetch, and nothing changes. Raises ``KnobError`` for a name or value
        that does not fit, and ``SessionError`` beyond 1,000 combinations or 2,000,000 bytes.
        """
        asked = {**(knobs or {}), **knob_values}
        return self._core.home.call(lambda: frozen_of(self._mounted(), asked))

    def export(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the conversation on the path to the head to a file, as its ending says.

        ``.html`` is one page with a scrubber over all ticks, which needs no network and no kernel; ``.ipynb`` a
        notebook of the messages with their finished outputs; ``.py`` a script that says it all again, and
        ``test_….py`` a test for pytest that holds contexts and answers to what they were, each with its recording
        beside it (``.jsonl``), while tools run again; ``.md`` text; ``.json`` all of it as data. Raises
        ``SessionError`` for another ending, a folder that is not there, or, without ``force``, a file that is.
        """
        taken = self._core.home.call(lambda: Export.of(self._mounted(), self._props))
        save(taken.files(path), force=force)

    def verify(self) -> list[int]:
        """Read every tick's context from the store and work its hash out anew; return the numbers that differ.

        Those whose context is not there to be read are among them. Without a store it is an empty list.
        """
        store = self._core.journal.store
        return altered(store, self.id, self.ticks) if store is not None else []

    def _open(self) -> None:
        self._closing.refuse()

    def _mounted(self) -> SessionCore:
        """Render what waits to be rendered; effects wait for the next execution."""
        self._open()
        core = self._core
        core.render()
        return core
