"""What stands beside the conversation: the knobs' controls, and the compiled context.

A panel of knobs is two outputs, the controls and a static table; a style
sheet shows exactly one of them, so that a notebook that is read without its
kernel still says where the knobs stood.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.errors import KnobError, NbsessionError
from nbsession.export import panel_part
from nbsession.notebook import kernel
from nbsession.notebook.panels import tables
from nbsession.notebook.panels.controls import control, label
from nbsession.notebook.sweep import table as sweep_table
from nbsession.notebook.view import templates
from nbsession.notebook.view.cards import card, changes
from nbsession.notebook.view.live import Ui

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipywidgets import Widget

    from nbsession.context import CompiledContext
    from nbsession.knobs import KnobSpec
    from nbsession.notebook.panels.tables import Table, Tree
    from nbsession.session import Frozen, Session, Sweep

SMOOTH_SECONDS = 0.05
"""A slider previews while it moves if that takes no longer than this; beyond, when it is let go."""


COMPILED = "Compiled context"


def rows(shown: Table | Tree) -> None:
    """Display a table or a tree."""
    from IPython.display import display

    display(tables.bundle(shown), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


def sweep(shown: Sweep) -> None:
    """Display a sweep as it stands."""
    from IPython.display import display

    display(sweep_table.bundle(shown), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


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
    return {"text/html": f"{templates.style()}{html}", "text/plain": visible(str(shown))}


def knobs(session: Session) -> None:
    """Display controls for the session's knobs.

    Moving one sets the knob and shows at once what that changes in the context;
    no model is called. A panel that the same cell showed before is closed.
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    panel = Panel(session)
    if kernel.of(shell) is None:
        display(panel.bundles()[1], raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it
        return
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
        self._wanted: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._specs: dict[str, KnobSpec] = {}
        self._controls: dict[str, Widget] = {}
        self._follower: asyncio.Task[None] | None = None
        self._smooth = True
        self._behind = False
        self.reset = widgets.Button(
            description="Reset", tooltip="Bring back the values last sent", layout={"width": "max-content"}
        )
        self.reset.on_click(lambda _: self._home.post(self._bring_back))
        self._preview = widgets.HTML()
        self._rows = widgets.VBox()
        self._box = widgets.VBox([self._rows, self.reset, self._preview])
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

    def bundles(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the two outputs: the widget, and what stands there where no widget can."""
        rows = [
            (spec.name, self._known[name], spec.description, spec.group) for name, spec in self._specs.items()
        ]
        table = templates.macro("panels", "table")(self._session.id, rows)
        live = {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self._box.model_id,
            },
            "text/plain": "",
        }
        plain = "\n".join(f"{name} = {value!r}" for name, value, *_ in rows) or "no knobs"
        return live, {
            "text/html": f"{templates.style()}{templates.style('panels')}{table}",
            "text/plain": plain,
        }

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
            if event.type in ("knob_set", "tick_end", "execution_end") and not self._behind:
                self._behind = True
                loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Take over values, and knobs, that changed elsewhere."""
        self._behind = False
        if self._session.status == "closed":
            return
        if self._session.knobs.specs() != self._specs:
            self._build()
        moved = False
        for name, value in self._session.knobs.values().items():
            if name in self._controls and name not in self._wanted and value != self._known[name]:
                moved = True
                self._known[name] = value
                self._controls[name].value = value
        if moved or self._session.status != "running":
            self._show()

    def _build(self) -> None:
        """Make the controls anew, grouped as the specs say."""
        self._specs = self._session.knobs.specs()
        values = self._session.knobs.values()
        self._known = {name: values[name] for name in self._specs}
        self._controls = {name: control(spec, values[name]) for name, spec in self._specs.items()}
        rows: list[Widget] = []
        for group in dict.fromkeys(["", *(spec.group for spec in self._specs.values())]):
            if group:
                rows.append(label(group).add_class("nbs-group"))
            rows.extend(self._controls[name] for name, spec in self._specs.items() if spec.group == group)
        for name, made in self._controls.items():
            made.observe(lambda change, name=name: self._moved(name, change["new"]), "value")
        self._rows.children = rows or [label("This session has no knobs.")]

    def _moved(self, name: str, value: Any) -> None:
        # A value set here by _catch_up is known already: only the user's own go on.
        if value == self._known.get(name):
            return
        waiting = bool(self._wanted)
        self._wanted[name] = value
        if not waiting:
            self._home.post(self._take_up)

    def _take_up(self) -> None:
        """Set what the user wanted last, and show what it changes."""
        began = time.perf_counter()
        wanted, self._wanted = self._wanted, {}
        complaint = ""
        for name, value in wanted.items():
            try:
                self._session.knobs.set(name, value, by="user")
            except KnobError as error:
                complaint = str(error)
            else:
                self._known[name] = self._session.knobs[name]
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
        for name, value in self._session.knobs.values().items():
            if name in self._controls:
                self._known[name] = value
                self._controls[name].value = value
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
        rows = changes(preview.diff) if preview is not None else ()
        self._preview.value = str(macro(Ui(), preview, rows, complaint, running))
        self.reset.disabled = preview is not None and not preview.knobs

    def _pace(self, took: float) -> None:
        smooth = took <= SMOOTH_SECONDS
        if smooth == self._smooth:
            return
        self._smooth = smooth
        for made in self._controls.values():
            if made.has_trait("readout"):
                made.continuous_update = smooth
