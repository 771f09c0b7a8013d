"""The live form of what runs, above all of an execution: a page of named slots, and the widget that carries its changes.

The page renders fragments from the same templates as the static form and
gathers them until they are sent; the script puts them in place. Everything
can be had at once, for a view that was just opened, or reloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbsession.content import markdown, visible
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.look import look
from nbsession.notebook.view.pieces import Call, Prose

if TYPE_CHECKING:
    from collections.abc import Callable

    from anywidget import AnyWidget
    from markupsafe import Markup

    from nbsession.notebook.view.ledger import Choice
    from nbsession.notebook.view.pieces import Piece
    from nbsession.notebook.view.transcript import Touched, Transcript

Op: TypeAlias = tuple[Literal["put", "add", "txt"], str, str]


class Ui:
    """How a template is to write: live with slots or static, what is unfolded, how prose is shown.

    ``choice`` is the view of contexts that the reader chose; ``place`` tells this output's folds
    from those of others in the same page, ``root`` are the attributes by which a desk knows it, ``post`` is
    what it calls the output where questions wait in it.
    """

    def __init__(
        self, *, live: bool = False, quiet: bool = False, raw: bool = False, place: str = ""
    ) -> None:
        self.live = live
        self.quiet = quiet
        self.raw = raw
        self.choice: Choice = "list"
        self.open: dict[str, bool] = {}
        self.root: Markup | str = ""
        self.post = ""
        self.place = place

    def static(self) -> Ui:
        """Return the same for the static form; what the reader unfolded stays so."""
        ui = Ui(quiet=self.quiet, raw=self.raw, place=self.place)
        ui.open, ui.choice, ui.root, ui.post = self.open, self.choice, self.root, self.post
        return ui

    def slot(self, name: str) -> Markup:
        """Name a place that later fragments go to."""
        return _markup(f" data-s={name}" if self.live else "")

    def fold(self, key: str, default: bool) -> Markup:
        """Write the attributes of a ``details`` element."""
        is_open = self.open.get(key, look.unfolds(default))
        return _markup((f" data-d={key}" if self.live else "") + (" open" if is_open else ""))

    def view(self, key: str, which: Choice) -> Markup:
        """Write the attributes of one of the two views of a context, of which one at a time is unfolded."""
        both = _markup(f" name={self.place}{key}" if self.place else "")
        return both + self.fold(f"{key}:{which}", which == self.choice)

    def markdown(self, text: str) -> Markup:
        """Render untrusted Markdown, as far as it is shown."""
        return _markup(markdown.render(bounded(text, ANSWER_CHARACTERS)))

    def finished(self, prose: Prose) -> Markup:
        """Give the finished blocks of a growing text."""
        return _markup(prose.stream.finished)

    def tail(self, prose: Prose) -> Markup:
        """Give the unfinished end of a growing text."""
        return _markup(prose.stream.tail)


class Page:
    """A transcript on the screen: what was touched becomes a few fragments when it is flushed."""

    def __init__(self, run: Transcript, ui: Ui) -> None:
        self._run = run
        self._ui = ui
        self._ops: list[Op] = []
        self._dirty: dict[str, Piece] = {}
        self._state_is_new = False

    def touch(self, touched: Touched) -> None:
        """Take note of a change."""
        self._state_is_new = self._state_is_new or touched.what != "piece"
        tick, piece = touched.tick, touched.piece
        if touched.what == "tick":
            self._ops.append(("add", "ticks", _macro("shell")(self._ui, tick, self._run.scale)))
        elif touched.what == "context" and tick is not None:
            self._ops.append(("put", f"{tick.key}h", _macro("header")(self._ui, tick, self._run.scale)))
        elif touched.what == "heading" and tick is not None and tick.card is not None and not self._ui.quiet:
            # The context under it stays as it was sent: it may be long.
            self._ops.append(("put", f"{tick.key}l", _macro("heading")(tick, self._run.scale)))
        elif touched.what == "new" and tick is not None:
            self._ops.append(("add", f"{tick.key}b", _macro("piece")(self._ui, piece)))
        elif touched.what == "piece" and piece is not None:
            self._dirty[piece.key] = piece

    def flush(self) -> list[Op]:
        """Return what changed since the last flush."""
        ops, self._ops = self._ops, []
        for piece in self._dirty.values():
            if isinstance(piece, Prose):
                ops.extend(self._prose(piece))
            elif isinstance(piece, Call):
                ops.extend(self._call(piece))
            else:
                ops.append(("put", piece.key, _macro("note")(self._ui, piece)))
        self._dirty.clear()
        if self._state_is_new:
            ops.append(("put", "state", _macro("state")(self._run)))
            self._state_is_new = False
        return ops

    def html(self) -> str:
        """Return the whole page as it stands after a flush."""
        return str(_macro("page")(self._ui, self._run))

    def _prose(self, prose: Prose) -> list[Op]:
        text = "".join(prose.fresh)
        prose.fresh.clear()
        tail = f"{prose.key}t"
        if prose.kind != "text" or self._ui.raw:
            return [("txt", tail, visible(text))] if text else []
        ops: list[Op] = []
        if text:
            update = prose.stream.add(text)
            ops += [("add", f"{prose.key}f", update.finished)] if update.finished else []
            ops.append(("txt", tail, update.text) if update.tail is None else ("put", tail, update.tail))
        if prose.finished and (ended := prose.stream.end()) is not None:
            ops.append(("put", tail, ended))
        return ops

    def _call(self, call: Call) -> list[Op]:
        text = "".join(call.fresh)
        call.fresh.clear()
        if call.input is None and text:
            return [("txt", f"{call.key}a", visible(text))]
        return [("put", call.key, _macro("call")(self._ui, call))]


def widget() -> AnyWidget:
    """Make the widget; its module is loaded at the first use, with what it needs."""
    from anywidget import AnyWidget

    global _LiveView
    if _LiveView is None:
        script, *sheets = (
            templates.source(name)
            for name in ("view.js", "view.css", "form.css", "live.css", "tables.css", "sweep.css")
        )
        _LiveView = type("LiveView", (AnyWidget,), {"_esm": script, "_css": "".join(sheets)})
    made: AnyWidget = _LiveView()
    return made


_LiveView: Any = None


def _macro(name: str) -> Callable[..., str]:
    return templates.macro("execution", name)


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  # keys are ours, prose comes sanitised from markdown.render
