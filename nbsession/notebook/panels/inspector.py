"""``%session inspect``: one panel over a session, in which context, tree, tools and answer of a tick stay in step.

As the panel of knobs, it is two outputs, the widget and its static form; a style
sheet shows exactly one of them. The page asks for a tick and is sent fragments of
that tick, and then of those next to it. A second session may stand beside it, in step.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.errors import NbsessionError, SessionError
from nbsession.notebook import kernel
from nbsession.notebook.panels import tables
from nbsession.notebook.panels.ahead import Ahead
from nbsession.notebook.panels.inspection import RECENT, bar_of, moment, older_of, present
from nbsession.notebook.panels.inspector_view import inspector_view
from nbsession.notebook.panels.side_by_side import Companion, SideBySide, companion_of, others
from nbsession.notebook.panels.trial import Trial
from nbsession.notebook.view import templates
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.place import WIDGET
from nbsession.notebook.view.summary import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anywidget import AnyWidget
    from IPython.core.display_functions import DisplayHandle
    from markupsafe import Markup

    from nbsession.notebook.panels.inspection import Bar, Beside, Moment
    from nbsession.notebook.panels.tables import Tree
    from nbsession.session import Session

KEPT = 16
"""Ticks that stay laid out, for a reader who goes back and forth."""

AT_REST = 1.0
"""Seconds after the last step until the static form follows."""

SLOTS = ("figures", "asked", "tick", "tree", "said")
"""Of the page: what is another with each tick. Each is a macro of the template."""


def inspect(session: Session) -> None:
    """Display the inspector of a session; the one that the same cell showed before is closed."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    panel = Inspector(session, getattr(getattr(shell, "nbsession", None), "sessions", ()))
    if not kernel.shows_widgets(shell):
        display(panel.static(), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it
        return
    place = (session.id, kernel.cell_id(shell) or "")
    earlier = _panels.pop(place, None)
    if earlier is not None:
        earlier.close()
    if place[1]:
        _panels[place] = panel
    panel.display()


_panels: dict[tuple[str, str], Inspector] = {}


class Folds(Ui):
    """Names each fold, in finished pieces, too: the next tick is to have open what is open in this one."""

    def fold(self, key: str, default: bool) -> Markup:
        """Write the attributes of a ``details`` element."""
        from markupsafe import Markup

        is_open = self.open.get(key, default)
        return Markup(f" data-d={key}{' open' if is_open else ''}")  # noqa: S704  # keys are ours


class Inspector:
    """The panel over one session: which tick is shown, beside which other one.

    Messages arrive on whichever thread the kernel handles them on; they are taken up on
    the session's home loop. All views of the panel show the same. ``bars`` are the ticks that
    have ended, ``scale`` the tokens of the largest, ``left_out`` the paths of components that contexts are
    shown without, and ``said`` is what was refused. ``companion`` stands beside it, if one was chosen: of the
    family, or of the sessions ``named`` by the user.
    """

    def __init__(self, session: Session, named: Iterable[tuple[str, Session]] = ()) -> None:
        self._named = named
        self.companion: Companion | None = None
        self._home = session.app.home
        self._ui = Folds()
        self._ahead = Ahead()
        self._moments: dict[tuple[object, ...], Moment] = {}
        self._trials: dict[object, Trial] = {}
        self.beside: Beside = "before"
        self._is_whole = False
        self.said = ""
        self.left_out: frozenset[str] = frozenset()
        self._cell = contextvars.copy_context()
        self._widget: AnyWidget | None = None
        self._handle: DisplayHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._followers: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._behind = False
        self._begin(session)

    def _begin(self, session: Session) -> None:
        """Take a session up, at its last tick."""
        self.session = session
        self.bars: list[Bar] = []
        self.scale = 0
        self.left_out = frozenset()
        self._moments.clear()
        self._measure()
        self._number = max(len(self.bars) - 1, 0)

    @property
    def is_now(self) -> bool:
        """Whether what would be sent now is shown: it stands after the last tick, with nothing beside it."""
        return self.companion is None and self._number == len(self.bars)

    @property
    def last(self) -> int:
        """How far the scrubber goes."""
        if self.companion is None:
            return len(self.bars)
        return max(len(self.bars), len(self.companion.session.ticks) - self.companion.ahead, 1) - 1

    def display(self) -> None:
        """Make the two outputs in the calling cell, and begin to follow the session."""
        from IPython.display import display

        self._cell = contextvars.copy_context()
        self._widget = inspector_view()
        self._widget.on_msg(lambda _widget, message, _buffers: self._home.post(lambda: self.hear(message)))
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({WIDGET: view, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]  # as IPython has it
        self._handle = display(self.static(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

        self._home.settle().call_soon_threadsafe(self._start_to_follow)

    def close(self) -> None:
        """Stop following, and close the widget."""
        for waiting in (*self._followers, self._resting):
            if waiting is not None:
                self._home.post(waiting.cancel)
        if self._widget is not None:
            self._widget.close()

    def static(self) -> dict[str, str]:
        """Return the tick shown as it stands, for a notebook without its kernel."""
        sheets = ("view", "inspector", *(["side_by_side"] if self.companion is not None else []))
        style = "".join(map(templates.style, sheets))
        shown = self.shown
        said = [shown.words, as_text(shown.run)] if shown else []
        if (pair := self.pair) is not None:
            said = [pair.words, *(f"{side.session}:\n{as_text(side.run)}" for side in (pair.one, pair.other))]
        text = [f"Session {self.session.id}", *([] if self.bars else ["no ticks yet"]), *said]
        return {
            "text/html": f"{style}{_macro('static')(Ui(), self)}",
            "text/plain": visible("\n".join(text)),
        }

    def html(self) -> str:
        """Return the whole page as it stands."""
        return str(_macro("page")(self._ui, self))

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did, and answer it; on the session's home loop."""
        me, kind = message.get("me"), message.get("k")
        if kind != "go":
            self._ahead.begin_anew()
        if kind == "hello":
            self._send({"k": "all", "for": me, "edition": self._ahead.edition, "html": self.html()})
            self._send_ahead()
            return
        if kind == "open":
            self._ui.open[str(message.get("d"))] = message.get("open") is True
            return
        self.said, self._is_whole = "", False
        self._forget_now()
        before = self._number, self.beside, self.left_out, self.companion
        try:
            self._do(str(kind), message)
            answer = self.answer()
        except NbsessionError as error:
            self._number, self.beside, self.left_out, self.companion = before
            self.said = str(error)
            answer = self.answer()
        self._send({**answer, "me": me})
        self._send_ahead()
        self._rest()

    @property
    def shown(self) -> Moment | None:
        """What is shown, ``None`` where nothing could be sent now: ``said`` tells why."""
        name = (self._number, self.beside, self._is_whole, self.left_out)
        found = self._moments.pop(name, None)
        if found is None:
            recent = None if self._is_whole else RECENT
            if self.companion is not None and self._number >= len(self.bars):
                return None
            if not self.is_now:
                found = moment(self.session, self._number, self.beside, recent=recent, without=self.left_out)
            elif (found := self._present(recent)) is None:
                return None
        self._moments[name] = found
        if len(self._moments) > KEPT:
            del self._moments[next(iter(self._moments))]
        return found

    def _present(self, recent: int | None) -> Moment | None:
        try:
            return present(self.session, self.beside, recent=recent, without=self.left_out)
        except NbsessionError as error:
            self.said = str(error)
            return None

    def _forget_now(self) -> None:
        """What would be sent now may be another by now."""
        for name in [name for name in self._moments if name[0] == len(self.bars)]:
            del self._moments[name]

    @property
    def name(self) -> str:
        """What the controls call where it stands."""
        if self.shown is not None:
            return self.shown.name.capitalize()
        return "Now" if self.companion is None else f"Tick {self._number}"

    @property
    def words(self) -> str:
        """What is said of it where it is passed by."""
        pair = self.pair
        return pair.words if pair is not None else self.shown.words if self.shown is not None else ""

    @property
    def pair(self) -> SideBySide | None:
        """Both sessions at this step, ``None`` where nothing stands beside the one."""
        return self.companion.beside(self.session, self._number) if self.companion else None

    @property
    def others(self) -> Mapping[str, str]:
        """What may be set beside it, by id."""
        return others(self.session, self._named)

    @property
    def trial(self) -> Trial | None:
        """The tick shown as it was run again without what is left out, if it was."""
        return self._trials.get((self.session.id, self._number, self.left_out))

    @property
    def tried(self) -> Mapping[str, str]:
        """What each fork was made for here, by its id."""
        return {trial.fork.id: f"without {trial.without}" for trial in self._trials.values()}

    @property
    def forks(self) -> Tree:
        """The tree of forks that the session belongs to."""
        return tables.history(self.session.history())

    @property
    def marks(self) -> tuple[int, int]:
        """The numbers of the tick shown and of the one that it is compared with, −1 for none."""
        older = older_of(self.session.ticks, self._number, self.beside)
        return self._number, older.number if older is not None else -1

    def _do(self, kind: str, message: Mapping[str, Any]) -> None:
        if kind == "go":
            self._number = _between(message.get("tick"), self.last + 1)
        elif kind == "compare":
            beside = message.get("beside")
            self.beside = beside if beside in ("none", "before") else _between(beside, len(self.bars))
        elif kind == "whole":
            self._is_whole = True
        elif kind == "leave":
            path = {str(message.get("path"))}
            self.left_out = self.left_out | path if message.get("out") is True else self.left_out - path
        elif kind == "restore":
            self.left_out = frozenset()
        elif kind == "run":
            self._run_again()
        elif kind == "session":
            self._turn_to(str(message.get("id")))
        elif kind == "company":
            self._set_beside(str(message.get("id") or ""))
        elif kind == "lock" and self.companion is not None:
            self.companion.lock(self._number, not self.companion.locked)
        elif kind == "other" and self.companion is not None:
            self.companion.go(self._number, _between(message.get("tick"), len(self.companion.session.ticks)))
        elif kind == "part" and self.companion is not None:
            self._number = self.companion.to_parting(self.session, self._number)

    def _set_beside(self, id_: str) -> None:
        """Set another session beside this one, ``""`` for none."""
        self.companion = companion_of(self.session, self._named, id_) if id_ else None
        self._number = min(self._number, self.last)
        self._follow_anew()
        self._send_around()

    def _run_again(self) -> None:
        """Run the tick shown without what is left out, in a fork; the answers then stand side by side."""
        shown = self.shown
        if (
            shown is None
            or shown.tick is None
            or not shown.left_out
            or shown.refused
            or self.trial is not None
        ):
            return
        trial = Trial(self.session, self._number, shown.left_out, shown.missing)
        self._trials[self.session.id, self._number, self.left_out] = trial

        async def run() -> None:
            await trial.run()
            self._ahead.begin_anew()
            self._send(self.answer())
            self._send_around()

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _turn_to(self, fork: str) -> None:
        """Go over to another session of the family."""
        if not any(branch.id == fork for branch in self.session.history().branches):
            raise SessionError(f"there is no fork {fork!r} around session {self.session.id!r}")
        self.companion = None
        self._begin(self.session.app.session(fork))
        self._follow_anew()
        self._send_around()

    def answer(self) -> dict[str, Any]:
        """Return what the tick shown consists of, and where the controls stand now."""
        number, older = self.marks
        return {
            "k": "at",
            "edition": self._ahead.edition,
            "tick": number,
            "name": self.name,
            "last": self.last,
            "older": older,
            "beside": self.beside,
            "other": self.companion.at(number) if self.companion is not None else -1,
            "locked": self.companion is None or self.companion.locked,
            "words": self.words,
            "slots": {name: _macro(name)(self._ui, self) for name in SLOTS},
        }

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._widget is not None:
            # Published from the home loop's thread, it belongs to the cell that began it.
            self._cell.run(self._widget.send, message)

    def _send_ahead(self) -> None:
        """Send the ticks next to the one shown, each in a turn of the loop: what is asked meanwhile comes first."""
        if self._widget is None:
            return
        number, is_whole = self._number, self._is_whole
        near = self._ahead.take(number, self.last + 1 if self.companion is not None else len(self.bars))
        if near is None:
            return
        self._number, self._is_whole = near, False
        try:
            self._send({**self.answer(), "k": "ahead"})
        finally:
            self._number, self._is_whole = number, is_whole
        asyncio.get_running_loop().call_soon(self._send_ahead)

    def _measure(self) -> None:
        """Take up the ticks that have ended meanwhile."""
        for tick in self.session.ticks[len(self.bars) :]:
            if tick.ended is None:
                break
            self.bars.append(bar_of(tick))
        self.scale = max((bar.strip.tokens for bar in self.bars), default=0)

    def _send_around(self) -> None:
        """Send what is another where the sessions are others."""
        for name in ("bars", "company", "forks"):
            self._send({"k": "put", "slot": name, "html": _macro(name)(self)})

    def _follow_anew(self) -> None:
        """Follow those sessions that are shown now."""
        if self._followers:
            for follower in self._followers:
                follower.cancel()
            self._start_to_follow()

    def _start_to_follow(self) -> None:
        loop = asyncio.get_running_loop()
        shown = [self.session, *([self.companion.session] if self.companion is not None else [])]
        self._followers = [loop.create_task(self._follow(session)) for session in shown]

    async def _follow(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        async for event in session.subscribe():
            # The first events are those of the past, all at once: they make one change.
            if event.type in ("tick_end", "execution_end", "knob_set", "gate_changed") and not self._behind:
                self._behind = True
                loop.call_soon(self.take_up)

    def take_up(self) -> None:
        """Take up what came: who looked at the last tick, or at what would be sent now, sees the new one."""
        self._behind = False
        self._ahead.begin_anew()
        self._forget_now()
        known, was_now = len(self.bars), self.is_now
        self._measure()
        if len(self.bars) == known and not was_now and self.companion is None:
            return
        if known and was_now:
            self._number = len(self.bars)
        elif self._number == known - 1 or not known:
            self._number, self._is_whole = max(len(self.bars) - 1, 0), False
        self._send({"k": "put", "slot": "bars", "html": _macro("bars")(self)})
        self._send(self.answer())
        self._rest()

    def _rest(self) -> None:
        """Let the static form follow once the reader rests: it is what is saved."""
        if self._handle is None:
            return
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(AT_REST, self._settle)

    def _settle(self) -> None:
        if self._handle is not None:
            static = self.static()
            self._cell.run(self._handle.update, static, raw=True)


def _between(number: Any, count: int) -> int:
    """Return the number of a tick that is there, the nearest to the one asked for."""
    return max(0, min(int(number), count - 1)) if isinstance(number, (int, float)) else count - 1


def _macro(name: str) -> Callable[..., str]:
    return templates.macro("inspector", name)
