"""What one asks of a session to find out about its context: nothing here changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import drafts_of
from nbsession.errors import SessionError
from nbsession.session.ablation import compiled_without
from nbsession.session.bisect import CALLS, Bisection, bisection_of, judge
from nbsession.session.check import Findings, check_of
from nbsession.session.diff import SessionDiff, Ticked
from nbsession.session.explain import REPEAT, Explanation, explanation_of
from nbsession.session.forecast import Forecast, forecast_of
from nbsession.session.fork import tick_at
from nbsession.session.prediction import WITHIN, Prediction
from nbsession.session.preview import Preview, preview_of
from nbsession.session.rehearsal import rehearsed
from nbsession.session.view import SessionView
from nbsession.timeline import History

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.context import CompiledContext, Part
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Owner
    from nbsession.timeline import Tick


class SessionInquiry(SessionView):
    """The part of a session that tells what would be sent, what was, and why."""

    app: Owner

    def _forked(self, at: int | None, before: bool, id: str | None, *, stored: bool = True) -> Any:
        """Return a fork; with ``stored`` false, one that nothing keeps."""
        raise NotImplementedError

    def compile(self, message: Any = None, *, model: Any = None) -> CompiledContext:
        """Compile what would be sent now, or with a message, to the session's model or another one.

        No model is called, and nothing changes. What the model does not take is listed in
        ``withheld``; a picture or document in the message itself stays.
        """
        drafts = None if message is None else drafts_of(message)
        asked = self._checked(model)

        def compiled() -> CompiledContext:
            core = self._mounted()
            head = core.record.head
            if drafts is None:
                return core.look(asked, head)
            fork: SessionCore = self._forked(None, False, None, stored=False)._core
            fork.take(drafts)
            fork.render()
            return fork.look(asked, head)

        return self._core.home.call(compiled)

    def preview(self, **knobs: Any) -> Preview:
        """Say what the context would be under these knob values, and how it differs from what was last sent.

        Renders over copies of the tree's state: no effects, no fetches, no model
        call, and nothing changes. It compares with the same timeline under the
        knobs as last sent. Raises ``KnobError`` for a name or value that does not
        fit.
        """
        return self._core.home.call(lambda: preview_of(self._mounted(), knobs))

    def without(self, *components: str | Part) -> CompiledContext:
        """Compile what would be sent now if some components were left out of the tree; nothing changes.

        Each is named by its path, or by a part of the context that it makes. The others stay where they
        are; what is left out stands in ``withheld`` as ``"left out"``, with the tokens it had. No effects, no
        fetches, no model call; ``fork(without=…)`` sends it. Raises ``SessionError`` for a path at
        which nothing stands, and ``CompileError`` where no ``Timeline`` is left for the conversation.
        """
        return self._core.home.call(lambda: compiled_without(self._mounted(), components).context)

    def rehearse(self, tick: int | Tick, texts: Mapping[Any, str], **knobs: Any) -> CompiledContext:
        """Compile what ``edit`` and these knob values would have sent at a tick. Nothing is kept or sent."""
        return self._core.home.call(lambda: rehearsed(self._forked, self._core, tick, texts, knobs))

    def check(self) -> Findings:
        """Say what is doubtful about what would be sent now, before anything is sent; nothing changes.

        The gravest comes first: what would be refused (no ``Timeline``, tools or pictures that the model
        does not take, more than its window), what costs or misleads (a text said twice, one before the
        conversation that is another one at each render, so that the provider's cache is lost; a tool
        without a description; a rule of the permissions that matches no tool; what a ``Fit`` has no room for), and what may be meant (an empty section,
        a knob that nobody reads). A clock is found once it shows another time than when it was mounted.
        """

        def checking() -> Findings:
            self._open()
            return check_of(self._core)

        return self._core.home.call(checking)

    def forecast(self, tick: int | Tick | None = None) -> Forecast:
        """Say what of the next request the provider may read from its cache, by component; nothing is sent.

        Of a ``tick`` it is what could be told before it was sent, beside what the provider then
        reported, with its own diagnosis where it gives one. It compares with what was last sent to the same model; whether a provider still holds
        that (mostly some minutes), and from which length on it caches, nobody can know before.
        """

        def forecasting() -> Forecast:
            if tick is None:
                self._open()
            return forecast_of(self._core, tick)

        return self._core.home.call(forecasting)

    def predict(self, *, within: float = WITHIN, **guesses: Any) -> Prediction:
        """Note what is expected of the next message, to be compared with what comes of it; nothing is sent.

        ``tool``: the tools that are called, in order (a name, several, or ``"none"``). ``enters``, ``leaves``,
        ``changes``: a part of the last context, by path, title or component. ``tokens``: about how many that
        context has, ``within`` a share of them. ``calls``: how many model calls there are. What enters, leaves or changes is
        told from the last context before that message, wherever it is sent from. Send, then ask for
        ``prediction.grade()``. Raises ``SessionError`` for a guess of another kind.
        """

        def path(head: str | None) -> set[str]:
            return {entry.id for entry in self._core.record.path(head)}

        def predicting() -> Prediction:
            return Prediction(
                guesses,
                within,
                lambda: tuple(self.ticks),
                lambda head: self._core.home.call(lambda: path(head)),
            )

        return self._core.home.call(predicting)

    def history(self) -> History:
        """Return the tree of forks that this session belongs to, from what is open and what is kept."""
        return self._core.home.call(lambda: History(self.app.branches(self), self.id))

    def bisect(
        self, predicate: Callable[[Tick], object], *, calls: int = CALLS, budget: Any = None
    ) -> Bisection:
        """Find the tick from which on a session behaves otherwise, and what did it.

        ``predicate(tick)`` judges a tick; what it returns counts as true or false. Every tick that happened
        is judged at once, which calls no model. The ``Bisection`` tells the first tick that differs and
        what changed there: knobs, state, components. Await it to try these: the model is asked in forks
        that nothing keeps, at most ``calls`` times and within ``budget`` (US dollars, or ``{"tokens": n}``);
        a trial's tick has the answer, and tool calls without results, since no tool is run. This
        session does not change. Raises ``SessionError`` where the predicate fails, or with less than two ticks.
        """
        self._open()
        judgements = judge(tuple(self.ticks), predicate)

        def fork(tick: Tick) -> SessionCore:
            forked: SessionCore = self._forked(tick.number, True, None, stored=False)._core
            return forked

        return self._core.home.call(
            lambda: bisection_of(self._core, predicate, judgements, fork, calls=calls, budget=budget)
        )

    def explain(
        self,
        tick: int | Tick,
        *,
        components: Sequence[str | Part] = (),
        repeat: int = REPEAT,
        score: Callable[[Tick], Any] | None = None,
        budget: Any = None,
    ) -> Explanation:
        """Say what each component is worth to the answer of a tick, against the noise of sampling.

        Each is left out by itself, and the model of that tick asked ``repeat`` times without it, and twice as often
        with all of them, in forks that nothing keeps; no tool runs, and this session does not change. Nothing is sent
        before the ``Explanation`` is awaited: its ``plan`` has the calls, tokens and ≈ cost. ``score(tick)``, sync or
        async, gives a number or a bool for an answer; without it the effect is how far the answers lie from those
        of the full context, beside how far these lie apart. ``components`` names those to leave out, by default
        all that wrote a part of the context. ``budget`` (US dollars, or ``{"tokens": n}``) bounds it, with the models that
        ``score`` asks. What two components say alike has no effect left out singly. Raises ``SessionError`` for a tick or
        component that is not there, and where ``score`` fails at the tick itself.
        """
        self._open()

        def explaining() -> Explanation:
            at = tick_at(self._core, getattr(tick, "number", tick))
            fork: SessionCore = self._forked(at.number, True, None, stored=False)._core
            return explanation_of(self._core, fork, at, components, repeat=repeat, score=score, budget=budget)

        return self._core.home.call(explaining)

    def request(self, tick: int | Tick | None = None, *, model: Any = None) -> dict[str, Any]:
        """Return the body of the provider's request as JSON data: what would be sent now, or was at a tick.

        It is what the adapter makes of the context, without keys and headers. ``model`` (a name or an adapter)
        is by default the one that would be, or was, asked. Nothing is sent. Raises ``ModelError`` for one that
        no provider answers (simulated, recorded), and ``SessionError`` for a tick that is not there.
        """
        from nbsession.models import request_for, resolve

        asked = self._checked(model)

        def requesting() -> dict[str, Any]:
            if tick is None:
                compiled = self._mounted().compiled(asked)
                assert compiled.model is not None  # chosen by what ``choose`` returned
                return request_for(compiled.model, compiled.context)
            at = tick_at(self._core, getattr(tick, "number", tick))
            own = self._core.model
            chosen = (
                asked
                if asked is not None
                else own
                if getattr(own, "name", "") == at.asked
                else resolve(at.asked)
            )
            return request_for(chosen, at.context)

        return self._core.home.call(requesting)

    def compare(self, other: Ticked) -> SessionDiff:
        """Set this session beside another one, mostly a fork, or a trace, and say where they part.

        Ticks are paired by number and parts by path and key. It is read from what happened: no model is called.
        """
        if not isinstance(other, Ticked):
            raise SessionError(f"compare takes another session, got {type(other).__name__}: {other!r:.80}")
        return SessionDiff(self.id, other.id, tuple(self.ticks), tuple(other.ticks))

    def _checked(self, model: Any) -> Any:
        if model is None:
            return None
        from nbsession.models import resolve

        return resolve(model)
