"""Where trials are made: the app with a base session, and a template of each arm to fork from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from nbsession import threads
from nbsession.content import Message, Text, new_id
from nbsession.context import context_of
from nbsession.errors import KnobError, ModelError, NbsessionError
from nbsession.experiment.outcome import Figures, Outcome, Task
from nbsession.experiment.pace import LIMITED
from nbsession.experiment.probe import Probe
from nbsession.experiment.scoring import score
from nbsession.experiment.words import failure
from nbsession.models import request_for
from nbsession.session.options import Options
from nbsession.session.result import StopReason, result_of
from nbsession.session.unattended import unattended
from nbsession.stores import MemoryStore
from nbsession.timeline.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nbsession.app import App
    from nbsession.context import CompiledContext
    from nbsession.experiment.arm import Arm
    from nbsession.experiment.case import Case
    from nbsession.experiment.pace import Pace
    from nbsession.models.base import ModelAdapter
    from nbsession.session import Result, Session
    from nbsession.session.spending import Spending
    from nbsession.stores.base import Row

_CONTENTS = ("messages", "input", "system", "instructions", "tools")
"""What of a provider's request is the context, which counts by itself."""
TRIES = 6
"""How often a trial is asked where the provider says that it is too much at once."""
_FAILED = {
    StopReason.paused: "it waits for a person, and nobody is asked during an experiment",
    StopReason.context_window: "its context does not fit the model's window",
    StopReason.aborted: "it was stopped",
}


class Scratch(MemoryStore):
    """Keeps a session while it is made, and gives all of it away when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._digests: dict[str, set[str]] = {}

    def append(
        self,
        session: str,
        rows: Sequence[Row],
        texts: Mapping[str, str] | None = None,
        *,
        revision: int,
        token: int | None = None,
    ) -> int:
        self._digests.setdefault(session, set()).update(texts or ())
        return super().append(session, rows, texts, revision=revision, token=token)

    def take(self, session: str) -> tuple[list[Row], dict[str, str]]:
        """Return the rows and texts of a session, and keep them no longer."""
        rows = self.load(session)
        texts = self.texts(self._digests.pop(session, ()))
        if rows is not None:
            self.delete([session])
        return rows or [], texts


class Bench:
    """Makes the trials of some arms in one process, each in a session of its own that is closed when it has ended.

    The sessions are forks of one base session, with an arm's knobs and model; they are kept nowhere until
    whoever asked for them stores what their outcome has. ``account`` is what all of them spend from, if anything. An engine
    that works elsewhere makes one there, of ``app`` and ``arms``.
    """

    def __init__(self, app: App, arms: Sequence[Arm], account: Spending | None = None) -> None:
        self.app, self.arms, self.account = app, arms, account
        self._scratch = Scratch()
        self._app = app.like(app.root, store=self._scratch)
        self.home = self._app.home
        self._base = self._app.session()
        self._templates = {arm.name: _template(self._base, arm) for arm in arms}
        self._probes = {arm.name: Probe(self._templates[arm.name], arm.model) for arm in arms}
        self._stamps: dict[str, str] = {}

    async def aclose(self) -> None:
        """Close what the trials were forked from; none can be made any more."""
        for session in (*self._templates.values(), self._base):
            await session.aclose()

    def values(self, arm: Arm) -> dict[str, Any]:
        """Return the value of every knob under an arm."""
        return self._templates[arm.name].knobs.values()

    def model(self, arm: Arm) -> ModelAdapter:
        """Return the model that is asked under an arm."""
        model = self.home.call(lambda: self._templates[arm.name]._core.compiled(arm.model).model)
        assert model is not None  # chosen by the session
        return model

    async def prepare(self) -> None:
        """Let the models that have to learn from their servers what they take, so that contexts are compiled for that."""
        for learn in self._learning():
            await learn()

    def prepare_now(self) -> None:
        """Prepare, and wait for it; where nothing may block, models stay what they are assumed to be."""
        if self._learning() and threads.can_start():
            self.home.run(self.prepare)

    def _learning(self) -> list[Callable[[], Awaitable[object]]]:
        """Return what lets models learn that can."""
        models = {id(model): model for model in map(self.model, self.arms)}
        prepares = [getattr(model, "prepare", None) for model in models.values()]
        return [prepare for prepare in prepares if prepare is not None]

    def compile(self, arm: Arm, case: Case) -> CompiledContext:
        """Compile what a case is sent as under an arm; nothing is sent."""
        try:
            return self.home.call(lambda: self._probes[arm.name].compile(case.message))
        except NbsessionError as error:
            error.add_note(f"in case {case.name!r} under arm {arm.name!r}")
            raise

    def key(self, arm: Arm, context: CompiledContext, copy: int, repeat: int) -> str:
        """Return what tells a trial from all that are another one; ``copy`` counts cases with the same context.

        That is what is sent to which model, the knobs, what the tools do, and the app's limits.
        """
        if arm.name not in self._stamps:
            self._stamps[arm.name] = self._stamp(arm)
        told = json.dumps([self._stamps[arm.name], context.hash, context.model, copy, repeat])
        return _digest(told)

    def _stamp(self, arm: Arm) -> str:
        app, template = self._app, self._templates[arm.name]
        compiled = self.home.call(lambda: template._core.compiled(arm.model))
        tools = {name: fingerprint(tool.handler) for name, tool in compiled.toolbox.items()}
        own_label = arm.label if arm.model is not None and arm.label != arm.model.name else ""
        told = [self.values(arm), tools, _options(compiled.model), own_label, app.max_ticks]
        policies = [fingerprint(policy) for policy in app.policies]
        return _digest(json.dumps([*told, policies], sort_keys=True, default=repr))

    async def perform(self, task: Task, pace: Pace) -> Outcome:
        """Do a task, and score what came of it; only being cancelled is raised."""
        session = self._templates[task.arm.name].fork(id=new_id("tr"))
        if self.account is not None:
            session._core.spending.parent, session._core.spending.paid = self.account, task.paid
        outcome = Outcome(task.number, "failed", session.id)
        try:
            await self._ask(session, task, pace, outcome)
        finally:
            try:
                await session.aclose()
            except Exception as error:  # noqa: BLE001  # a clean-up that fails takes back no answer, and stops nobody
                outcome.error = outcome.error or failure(error)
            rows, outcome.texts = self._scratch.take(session.id)
            outcome.rows = [_born(row, task) for row in rows]
        return outcome

    async def _ask(self, session: Session, task: Task, pace: Pace, outcome: Outcome) -> None:
        try:
            result = await _answered(session, task, pace)
        except Exception as error:  # noqa: BLE001  # a trial's failure is its own, and is kept in it
            outcome.error = failure(error)
            outcome.figures = Figures.of(whole(session))
            return
        outcome.figures = Figures.of(result)
        if result.stop_reason is StopReason.budget:
            outcome.status, outcome.error = "refused", result.reason
        elif result.stop_reason in _FAILED:
            outcome.error = result.reason or _FAILED[result.stop_reason]
        else:
            outcome.status = "done"
            outcome.scored = await score(task.scorers, result, task.case, self.home.user_loop, self.account)


def whole(session: Session) -> Result:
    """Return what a trial's session gave in all: one that was asked again has more than one execution."""
    executions = session.executions
    last = executions[-1].partial if executions else result_of((), StopReason.aborted, "")
    if len(executions) < 2:
        return last
    answered = [tick for tick in session.ticks if tick.error is None]
    return result_of(answered, last.stop_reason, last.reason)


def _template(base: Session, arm: Arm) -> Session:
    template = base.branch()
    try:
        template.knobs.set_many(arm.knobs)
    except KnobError as error:
        raise KnobError(f"arm {arm.name!r}: {error}", knob=error.knob) from error
    if arm.model is not None:
        template.model = arm.model
    return template


def _options(model: Any) -> dict[str, Any]:
    """Return what a model's adapter asks of its provider, whatever the context is: limits, thinking and the like."""
    try:
        request = request_for(model, context_of(messages=[Message("user", (Text("?"),))]))
    except ModelError:  # no provider answers it
        return {}
    return {name: value for name, value in request.items() if name not in _CONTENTS}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


async def _answered(session: Session, task: Task, pace: Pace) -> Result:
    """Send a case's message; where the provider says that it is too much at once, go on from there later."""
    for further in range(TRIES):
        async with pace.turn() as began:
            try:
                result = await _undisturbed(session, task, further)
            except ModelError as error:
                if error.kind not in LIMITED or further == TRIES - 1:
                    raise
                pace.slow_down(began, error)
                continue
        pace.went_well()
        return whole(session) if further else result
    raise AssertionError("the last try returns or raises")


async def _undisturbed(session: Session, task: Task, further: int) -> Result:
    if further:
        # The message stands in the timeline, and so do its tool calls: none runs twice.
        execution = session._enqueue([], Options(task.arm.model), brought=False)
    else:
        execution = session.send(task.case.message, model=task.arm.model)
    return await unattended(execution, during="an experiment")


def _born(row: Row, task: Task) -> Row:
    """Let the first row of a trial's session say what it is: it stands by itself, its template is kept nowhere."""
    if row.kind != "session":
        return row
    metadata = {"trial": task.key, "case": task.case.name, "arm": task.arm.name}
    data = {name: value for name, value in row.data.items() if name != "forked"}
    return row._replace(data={**data, "metadata": metadata, "parent": None})
