"""A trial: the model of a tick asked once more, in a fork before it, with one thing as it was before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nbsession.content import ToolCall
from nbsession.context import place_of
from nbsession.models.resolve import resolve
from nbsession.session.ablation import compiled_without
from nbsession.session.edit import changes_of
from nbsession.session.keeping import knobs_in
from nbsession.session.model_call import call_model
from nbsession.session.mount import STATE
from nbsession.timeline import Response, Tick, ToolRun, causes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbsession.context import Compiled, Part
    from nbsession.hooks import StateLog
    from nbsession.models.base import ModelAdapter
    from nbsession.session.core import SessionCore
    from nbsession.session.spending import Spending


class Suspect(NamedTuple):
    """What is another at a tick than at the tick before, and can be put back.

    ``kind`` is ``"knob"``, ``"state"`` or ``"part"``; ``name`` the knob's, the state's address or the part's place;
    ``old`` what it was, ``None`` where it was not there; ``said`` tells it in a sentence.
    """

    kind: Literal["knob", "state", "part"]
    name: str
    old: Any
    said: str

    def __str__(self) -> str:
        return self.said


def suspects_of(state: StateLog, before: Tick, tick: Tick) -> list[Suspect]:
    """Return what differs between two ticks and can be put back: knobs, state, then parts that neither explains."""
    then, now = state.at(before.state_before), state.at(tick.state_before)
    told = {(cause.kind, cause.name): str(cause) for cause in tick.causes}
    suspects = list(_knobs(knobs_in(then), knobs_in(now), told))
    suspects += _state(then, now, tick)
    diff = tick.context.diff(before.context)
    pairs: list[tuple[Part | None, Part]] = [(None, part) for part in diff.added]
    pairs += [(change.old, change.new) for change in diff.changed]
    for old, new in pairs:
        known = {cause.kind for cause in causes_of(new.path, tick.causes)}
        if new.kind in ("message", "tool") or known & {"knob", "state"}:
            continue
        why = tick.why(new) or ("it entered" if old is None else "its text changed")
        text = None if old is None else old.text
        suspects.append(Suspect("part", place_of(new), text, f"{new.path}: {why}"))
    return suspects


def _knobs(
    then: Mapping[str, Any], now: Mapping[str, Any], told: Mapping[tuple[Any, str], str]
) -> Iterator[Suspect]:
    for name, value in now.items():
        old = then.get(name)
        if old != value:
            said = told.get(("knob", name)) or f"knob `{name}` was set to {value!r}"
            yield Suspect("knob", name, old, said)


def _state(then: Mapping[str, Any], now: Mapping[str, Any], tick: Tick) -> Iterator[Suspect]:
    for address, value in now.items():
        if address.startswith(STATE) and then.get(address, ...) != value:
            name = address.removeprefix(STATE)
            path = name.rpartition("#")[0]
            causes = [cause for cause in tick.causes if cause.kind == "state" and cause.path == path]
            said = "; ".join(map(str, causes)) or f"state {name} changed"
            yield Suspect("state", name, then.get(address), said)


def model_asked(fork: SessionCore, tick: Tick) -> ModelAdapter | None:
    """Return the model that a tick was sent to, where that was asked for with the message; else ``None``.

    Raises ``ModelError`` where its name leads to none.
    """
    fork.render()
    chosen = fork.compiled().model
    return None if chosen is not None and chosen.name == tick.asked else resolve(tick.asked)


async def asked_again(
    fork: SessionCore, tick: Tick, suspect: Suspect | None, model: ModelAdapter | None = None
) -> Tick:
    """Ask the model of ``tick`` in a fork that stands before it, with a suspect put back; no tool and no effect runs.

    ``model`` is asked in place of the tree's and the session's. Raises ``BudgetError`` before anything is sent that a budget does not allow, and ``ModelError``.
    """
    return await ask(_with_put_back(fork, tick, suspect, model), tick, fork.spending, fork.record.has_call)


async def ask(
    compiled: Compiled[ModelAdapter], tick: Tick, spending: Spending, has_call: Callable[[str], bool]
) -> Tick:
    """Send what was compiled in place of a tick to its model, and charge it; no tool runs. Raises as ``asked_again``."""
    model = compiled.model
    assert model is not None  # chosen by what ``choose`` returned
    prepare = getattr(model, "prepare", None)
    if prepare is not None:
        await prepare()
    spending.check(compiled.context, model.name)
    made = Tick(tick.number, tick.execution, compiled.context, model.name, model.name, model.source)
    response = Response()
    try:
        await call_model(model, made.context, made, response, _unheard, has_call)
    finally:
        made.response = response.content()
        made.tool_calls = [ToolRun(block) for block in made.response if isinstance(block, ToolCall)]
        spending.charge(made, response)
        made.ended = time.time()
    return made


def _with_put_back(
    fork: SessionCore, tick: Tick, suspect: Suspect | None, model: ModelAdapter | None
) -> Compiled[ModelAdapter]:
    if suspect is not None and suspect.kind == "state":
        restore = fork.mount.root.restore  # the tree is not mounted yet
        restore.pop(suspect.name, None)
        if suspect.old is not None:
            restore[suspect.name] = suspect.old
    fork.render()
    if suspect is not None and suspect.kind == "knob":
        fork.knobs.reset(suspect.name) if suspect.old is None else fork.knobs.set(suspect.name, suspect.old)
        fork.render()
    elif suspect is not None and suspect.kind == "part":
        if suspect.old is None:
            return compiled_without(fork, [suspect.name.rpartition("#")[0]], model)
        fork.edit(changes_of(tick.context, {suspect.name: suspect.old}))
    return fork.compiled(model)


def _unheard(_event: object) -> None:
    """Let an event go: nobody follows a trial."""
