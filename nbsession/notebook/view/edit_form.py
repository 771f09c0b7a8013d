"""The form of *Edit and re-run*: the parts of a tick that have a text, the knobs, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import KnobError, SessionError
from nbsession.notebook.view import templates
from nbsession.notebook.view.cards import broken_by, changes
from nbsession.notebook.view.fields import Field, fields_of, texts_in
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import CompiledContext
    from nbsession.knobs import KnobSpec
    from nbsession.session import Session

KNOB = "knob:"


class Form(NamedTuple):
    """What can be edited at a tick; ``left_out`` counts the older messages."""

    tick: int
    fields: tuple[Field, ...]
    knobs: tuple[KnobSpec, ...]
    left_out: int


def form_of(session: Session, tick: int) -> Form:
    """List what can be edited of what was sent at a tick."""
    fields, left_out = fields_of(session.ticks[tick].context)
    return Form(tick, fields, tuple(session.knobs.specs().values()), left_out)


def read(session: Session, fields: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the texts by part, and the knobs' values, of the fields that the reader changed.

    Raises ``KnobError`` for what is no number where there is to be one, and ``SessionError`` where nothing was changed.
    """
    texts = texts_in(fields)
    specs = session.knobs.specs()
    knobs = {
        name: _value(specs[name], value)
        for name, value in ((key.removeprefix(KNOB), value) for key, value in fields.items())
        if name in specs
    }
    if not texts and not knobs:
        raise SessionError("nothing was changed: change a text or a knob's value")
    return texts, knobs


def difference(context: CompiledContext, older: CompiledContext) -> str:
    """Show what an edit would send, beside what was sent."""
    diff = context.diff(older)
    shown = templates.macro("panels", "difference")(Ui(), changes(diff), diff, broken_by(diff))
    notes = [item for item in context.withheld if item not in older.withheld]
    return templates.macro("desk", "compared")(shown, notes)


def answer_of(session: Session, tick: int) -> Transcript:
    """Return what came of a tick: the rest of its execution."""
    ticks = session.ticks[tick:]
    return Transcript.of([one for one in ticks if one.execution == ticks[0].execution])


def _value(spec: KnobSpec, written: Any) -> Any:
    if spec.kind == "choice":
        return spec.options[int(written)]
    if spec.kind == "text":
        return str(written)
    try:
        return json.loads(str(written))
    except ValueError:
        raise KnobError(f"knob {spec.name!r} takes a {spec.kind}, got {written!r}", knob=spec.name) from None
