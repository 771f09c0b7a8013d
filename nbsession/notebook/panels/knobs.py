"""What stands beside the conversation: the knobs' controls, the compiled context, sweeps and tables.

A panel of knobs is two outputs, the controls and a static table; a style
sheet shows exactly one of them, so that a notebook that is read without its
kernel still says where the knobs stood.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import visible
from nbsession.errors import KnobError, NbsessionError
from nbsession.export import panel_part
from nbsession.notebook import kernel
from nbsession.notebook.panels import tables
from nbsession.notebook.panels.asking import Asking
from nbsession.notebook.panels.controls import control, label, place
from nbsession.notebook.panels.names import names
from nbsession.notebook.panels.wanted import Wanted
from nbsession.notebook.sweep import pair
from nbsession.notebook.sweep import table as sweep_table
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.cards import Row, broken_by, card, changes
from nbsession.notebook.view.live import Ui

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipywidgets import Widget

    from nbsession.context import CompiledContext, ContextDiff
    from nbsession.knobs import By, KnobSpec
    from nbsession.notebook.panels.tables import Table, Tree
    from nbsession.session import Execution, Frozen, Preview, Session, Sweep

SMOOTH_SECONDS = 0.05
"""A slider previews while it moves if that takes no longer than this; beyond, when it is let go."""

MOVING = frozenset({"knob_set", "tick_end", "execution_start", "execution_end"})
"""Events after which a panel may have to show something else."""

SET: Mapping[By, str] = {"user": "set by you", "program": "set by the program", "model": "set by the model"}
COMPILED = "Compiled context"


def rows(shown: Table | Tree) -> None:
    """Display a table or a tree."""
    from IPython.display import display

    display(tables.bundle(shown), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


def sweep(shown: Sweep) -> None:
    """Display a sweep as it stands."""
    from IPython.display import display

    display(sweep_table.bundle(shown), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it
    pair.show(shown)


def frozen(shown: Frozen) -> None:
    """Display the panel that works without a kernel."""
    from IPython.display import display

    display(frozen_bundle(shown), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


def frozen_bundle(shown: Frozen) -> dict[str, str]:
    """Return the panel as HTML, which is text where no scripts run, and as plain text."""
    return {"text/html": panel_part(shown.to_dict()), "text/plain": visible(str(shown))}


def context(shown: CompiledContext, older: CompiledContext | None = None, title: str = COMPILED) -> None:
    """Display a compiled context, with what changed since ``older``."""
    from IPython.display import display

    bundle = context_bundle(shown, older, title)
    display(bundle, raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


def context_bundle(
    shown: CompiledContext, older: CompiledContext | None = None, title: str = COMPILED
) -> dict[str, str]:
    """Return a compiled context as HTML and plain text, all of it written out."""
    laid_out = card(shown, older)
    html = templates.macro("panels", "context")(Ui(), laid_out, title)
    said = str(shown) if older is None else f"{shown}\n\nWhat changed:\n{shown.diff(older) or 'nothing'}"
    return {
        "text/html": f"{templates.style()}{html}",
        "text/plain": bounded(visible(said), ANSWER_CHARACTERS),
    }


def knobs(session: Session) -> None:
    """Display controls for the session's knobs.

    Moving one sets the knob and shows at once what that changes in the context;
    no model is called. A panel that the same cell showed before is closed.
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if not kernel.shows_widgets(shell):
        display(static(session), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it
        return
    panel = Panel(session)
    place = (session.id, kernel.cell_id(shell) or "")
    earlier = _panels.pop(place, None)
    if earlier is not None:
        earlier.close()
    if place[1]:
        _panels[place] = panel
    for bundle in panel.bundles():
        display(bundle, raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it
    panel.follow()


_panels: dict[tuple[str, str], Panel] = {}


def static(session: Session) -> dict[str, str]:
    """Return the table of where the knobs stand, which needs no widget."""
    values, setters = session.knobs.values(), last_setters(session)
    rows = [
        (name, values[name], spec.description, spec.group, setters.get(name, ""))
        for name, spec in session.knobs.specs().items()
    ]
    table = templates.macro("panels", "table")(session.id, rows)
    plain = [f"{name} = {value!r}" + (f"  ({who})" if who else "") for name, value, *_, who in rows]
    return {
        "text/html": f"{templates.style()}{templates.style('panels')}{table}",
        "text/plain": "\n".join(plain) or "no knobs",
    }


def last_setters(session: Session) -> dict[str, str]:
    """Say of each knob that was set who did it last."""
    return {setting.name: SET[setting.by] for setting in session.knobs.history}


class Change(NamedTuple):
    """What moving knobs would change, laid out; ``tokens`` are those of the new context."""

    knobs: Mapping[str, tuple[Any, Any]]
    tokens: int
    diff: ContextDiff
    rows: tuple[Row, ...]
    broken_by: str

    @classmethod
    def of(cls, preview: Preview) -> Change:
        """Lay out a preview."""
        diff = preview.diff
        return cls(preview.knobs, preview.context.tokens, diff, changes(diff), broken_by(diff))


class Panel:
    """The controls of one session's knobs, and what moving them would change.

    Values arrive on whichever thread the kernel handles messages on. They are
    kept, the latest of each knob only, and taken up on the session's home loop;
    there the knobs are set, the preview rendered and the controls moved.
    """

    def __init__(self, session: Session) -> None:
        import ipywidgets as widgets

        self._session = session
        self._home = session.app.home
        self._wanted = Wanted()
        self._specs: dict[str, KnobSpec] = {}
        self._controls: dict[str, Widget] = {}
        self._setters: dict[str, Widget] = {}
        self._follower: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._smooth = True
        self._behind = False
        self.reset = widgets.Button(
            description="Reset", tooltip="Bring back the values last sent", layout={"width": "max-content"}
        )
        self.reset.on_click(lambda _: self._home.post(self._bring_back))
        self.asking = Asking(session, self._show)
        self._preview = widgets.HTML()
        self._rows = widgets.VBox()
        buttons = widgets.HBox([self.asking.button, self.reset]).add_class("nbs-do")
        self._box = widgets.VBox([self._rows, self._preview, self.asking.field, buttons, names()])
        self._box.add_class("nbs-knobs")
        self._build()
        self._show()

    @property
    def controls(self) -> Mapping[str, Widget]:
        """The controls by the knobs' names."""
        return self._controls

    @property
    def preview(self) -> str:
        """The HTML under the controls."""
        return str(self._preview.value)

    def setter(self, name: str) -> str:
        """What stands beside a control: who set its knob last."""
        return str(self._setters[name].value)

    def bundles(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the two outputs: the widget, and what stands there where no widget can."""
        live = {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self._box.model_id,
            },
            "text/plain": "",
        }
        return live, static(self._session)

    def follow(self) -> None:
        """Begin to move the controls when the knobs are set elsewhere."""

        def start() -> None:
            self._follower = asyncio.get_running_loop().create_task(self._follow())

        self._home.settle().call_soon_threadsafe(start)

    def close(self) -> None:
        """Stop following and close the widgets."""
        follower = self._follower
        if follower is not None:
            self._home.post(follower.cancel)
        self._box.close()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        async for event in self._session.subscribe():
            # The first events are those of the past, all at once: they make one change.
            if event.type in MOVING and not self._behind:
                self._behind = True
                loop.call_soon(self._catch_up)
            current = self._session.current
            if event.type == "execution_end" and current is not None:
                # It is stored before the session is idle again.
                self._ending = loop.create_task(self._see_end(current))

    async def _see_end(self, execution: Execution) -> None:
        async for _ in execution:
            pass
        self._catch_up()

    def _catch_up(self) -> None:
        """Take over values, and knobs, that changed elsewhere."""
        self._behind = False
        if self._session.status == "closed":
            return
        if self._session.knobs.specs() != self._specs:
            self._build()
        moved = self._move()
        if moved or self._session.status != "running":
            self._show()

    def _move(self) -> bool:
        """Let the controls stand where the knobs do, and say who set them; return whether one had to move."""
        moved = False
        for name, value in self._session.knobs.values().items():
            if name in self._controls and self._wanted.stand(name, value):
                moved = True
                self._stand(name, value)
        for name, who in last_setters(self._session).items():
            if name in self._setters:
                self._setters[name].value = who
        return moved

    def _build(self) -> None:
        """Make the controls anew, grouped as the specs say."""
        import ipywidgets as widgets

        self._specs = self._session.knobs.specs()
        values, setters = self._session.knobs.values(), last_setters(self._session)
        for name in self._specs:
            self._wanted.stand(name, values[name])
        self._controls = {name: control(spec, values[name]) for name, spec in self._specs.items()}
        self._setters = {name: label(setters.get(name, "")).add_class("nbs-who") for name in self._specs}
        rows: list[Widget] = []
        for group in dict.fromkeys(["", *(spec.group for spec in self._specs.values())]):
            if group:
                rows.append(label(group).add_class("nbs-group"))
            rows.extend(
                widgets.HBox([self._controls[name], self._setters[name]]).add_class("nbs-knob")
                for name, spec in self._specs.items()
                if spec.group == group
            )
        for name, made in self._controls.items():
            trait = "index" if self._specs[name].kind == "choice" else "value"
            made.observe(lambda change, name=name: self._moved(name, change["new"]), trait)
        self._rows.children = rows or [label("This session has no knobs.")]

    def _stand(self, name: str, value: Any) -> None:
        made, spec = self._controls[name], self._specs[name]
        if spec.kind == "choice":
            made.index = place(spec, value)
        else:
            made.value = value

    def _moved(self, name: str, given: Any) -> None:
        spec = self._specs[name]
        if self._wanted.note(name, spec.options[given] if spec.kind == "choice" else given):
            self._home.post(self._take_up)

    def _take_up(self) -> None:
        """Set what the user wanted last, and show what it changes."""
        began = time.perf_counter()
        complaint = ""
        for name, value in self._wanted.take().items():
            try:
                self._session.knobs.set(name, value, by="user")
            except KnobError as error:
                complaint = str(error)
        self._show(complaint)
        self._pace(time.perf_counter() - began)

    def _bring_back(self) -> None:
        """Set the knobs to the values last sent."""
        complaint = ""
        try:
            changed = self._session.preview().knobs
            self._session.knobs.set_many({name: old for name, (old, _) in changed.items()}, by="user")
        except NbsessionError as error:
            complaint = str(error)
        self._move()
        self._show(complaint)

    def _show(self, complaint: str = "") -> None:
        macro = templates.macro("panels", "preview")
        running = self._session.status == "running"
        preview = None
        if not running and not complaint:
            try:
                preview = self._session.preview()
            except NbsessionError as error:
                complaint = str(error)
        change = Change.of(preview) if preview is not None else None
        self._preview.value = str(macro(Ui(), change, complaint, running))
        self.reset.disabled = preview is not None and not preview.knobs

    def _pace(self, took: float) -> None:
        smooth = took <= SMOOTH_SECONDS
        if smooth == self._smooth:
            return
        self._smooth = smooth
        for made in self._controls.values():
            if made.has_trait("readout"):
                made.continuous_update = smooth
