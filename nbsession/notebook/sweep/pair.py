"""Two rows of a sweep side by side: what differs in their contexts, and in their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.notebook import kernel
from nbsession.notebook.panels.tables import shortened
from nbsession.notebook.sweep.differences import rows_of, written
from nbsession.notebook.view import templates
from nbsession.notebook.view.difference import Line, compare
from nbsession.notebook.view.live import Ui

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.notebook.view.cards import Row
    from nbsession.session import Sweep

MOST_ROWS = 200
"""Rows that can be chosen; sweep[n].context.diff(…) compares the others."""


@dataclass(frozen=True, slots=True)
class Side:
    """A row, as it is compared: not itself, whose session would be kept from being closed; ``text`` is its answer."""

    name: str
    context: CompiledContext
    text: str | None

    @classmethod
    def of(cls, sweep: Sweep, number: int) -> Side:
        """Take down what a row has come to."""
        row = sweep[number]
        words = [f"{name} = {written(row.knobs[name])}" for name in sweep.varied]
        if any(each.run for each in sweep):
            words.append(f"run {row.run}")
        partial = row.partial
        name = shortened(f"{number}: {', '.join(words)}")
        return cls(name, row.context, partial.text if partial is not None else None)


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs between two rows; ``tokens`` is signed, ``answers`` says in words how the answers compare."""

    same: bool
    tokens: int
    rows: tuple[Row, ...]
    answers: str
    lines: tuple[Line, ...]


def compared(one: Side, other: Side) -> Compared:
    """Compare two rows, the first being what stood before."""
    diff = other.context.diff(one.context)
    answers, lines = _answers(one.text, other.text)
    return Compared(one is other, diff.tokens, tuple(rows_of(diff, "p")), answers, lines)


def _answers(before: str | None, after: str | None) -> tuple[str, tuple[Line, ...]]:
    if before is None or after is None:
        return "there are not two to compare", ()
    if before == after:
        return "the same in both", ()
    return "differs", compare(before, after)


def show(sweep: Sweep) -> None:
    """Display the choice of two rows, where there are two and somebody can choose.

    One that the same cell showed before is closed.
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if len(sweep) < 2 or not kernel.shows_widgets(shell):
        return
    pair, place = Pair(sweep), kernel.cell_id(shell)
    if place is not None:
        earlier = _pairs.pop(place, None)
        if earlier is not None:
            earlier.close()
        _pairs[place] = pair
    display(pair.bundle(), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


_pairs: dict[str, Pair] = {}


class Pair:
    """Two lists to choose a row from, and what differs between the two."""

    def __init__(self, sweep: Sweep) -> None:
        import ipywidgets as widgets

        self._sides = [Side.of(sweep, number) for number in range(min(len(sweep), MOST_ROWS))]
        options = [(side.name, number) for number, side in enumerate(self._sides)]
        self.one = widgets.Dropdown(options=options, value=0, description="compare row")
        self.other = widgets.Dropdown(options=options, value=0, description="with row")
        self._shown = widgets.HTML()
        self._box = widgets.VBox([widgets.HBox([self.one, self.other]), self._shown]).add_class("nbs-pair")
        for choice in (self.one, self.other):
            choice.style.description_width = "initial"
            choice.observe(lambda _: self._show(), "value")
        self._show()

    @property
    def html(self) -> str:
        """What is shown under the lists."""
        return str(self._shown.value)

    def bundle(self) -> dict[str, Any]:
        """Return the output."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}

    def close(self) -> None:
        """Close the widgets."""
        self._box.close()

    def _show(self) -> None:
        found = compared(self._sides[self.one.value], self._sides[self.other.value])
        self._shown.value = str(templates.macro("sweep", "compared")(Ui(), found))
