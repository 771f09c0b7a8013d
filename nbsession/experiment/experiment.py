"""An experiment: cases under arms, so many times, and how good the answers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.experiment.archive import Archive
from nbsession.experiment.arm import arms_of
from nbsession.experiment.batch import BatchEngine
from nbsession.experiment.bench import Bench
from nbsession.experiment.case import cases_of
from nbsession.experiment.design import Design, Means
from nbsession.experiment.engine import counted
from nbsession.experiment.engines import engine_of
from nbsession.experiment.ledger import Ledger
from nbsession.experiment.plan import Plan, plan_of
from nbsession.experiment.run import Run
from nbsession.experiment.scoring import scorers_of
from nbsession.experiment.tasks import tasks_of
from nbsession.session.spending import Spending
from nbsession.stores import MemoryStore
from nbsession.tree import Component
from nbsession.usage import Budget

if TYPE_CHECKING:
    from nbsession.app import App
    from nbsession.stores.base import SessionStore

CONCURRENCY = 8
"""Trials that are under way at once for each provider, where nothing else is said."""
MOST_TRIALS = 100_000
"""Trials of an experiment: more are most likely a slip, and a bill."""


class Experiment:
    """Every case under every arm, ``repeat`` times, each in a fork of one session of the app.

    ``cases`` is a list of messages or ``Case``s, a data frame (columns ``message``, ``expected``, ``id``; the rest is
    metadata), or the path of a file of JSON lines. ``knobs`` is a mapping of names to lists of values, of which all
    combinations are arms, or a list of mappings of names to values; ``models`` are names or adapters, each of
    which makes every arm once more. ``score`` is a function of a result and its case, sync or async, or several; each
    gives True or False, a number, a dict of these, or ``None``. ``held_out`` is the share of the cases that the
    report keeps apart, always the same ones. ``name`` (default: the root component's) is what the store keeps it
    under: who asks there again what was asked under that name gets it from there. Raises, before anything is sent, what says
    what does not fit.
    """

    def __init__(
        self,
        app: App,
        cases: Any,
        *,
        knobs: Any = None,
        models: Any = (),
        repeat: int = 1,
        score: Any = (),
        held_out: float = 0.0,
        name: str | None = None,
    ) -> None:
        root = app.root if isinstance(app.root, Component) else app.root.type
        self.app = app
        self.name = name or root.name
        self.cases = cases_of(cases, held_out=held_out)
        self.arms = arms_of(knobs, models)
        self.repeat = counted("repeat", repeat)
        self.scorers = scorers_of(score)
        self._memory: MemoryStore | None = None
        if self.design.size > MOST_TRIALS:
            raise SessionError(
                f"the experiment would have {self.design.size:,} trials, and at most {MOST_TRIALS:,} are possible; give "
                "fewer cases, values or repetitions"
            )

    @property
    def design(self) -> Design:
        """What it asks."""
        return Design(self.cases, self.arms, self.repeat, self.scorers)

    def plan(self, *, store: SessionStore | None = None, concurrency: int = CONCURRENCY) -> Plan:
        """Say what ``run`` would ask with these options: calls, tokens, cost and time, by arm; nothing is sent to a model.

        What a run's batches hold already is told apart. Raises what a run would raise before it sends anything: ``KnobError`` where a value does not fit, and what a
        context fails with.
        """
        counted("concurrency", concurrency)
        bench = Bench(self.app, self.arms)
        bench.prepare_now()
        tasks = bench.home.call(lambda: list(tasks_of(bench, *self.design)))
        ledger = Ledger(self._store(store), self.name)
        kept = ledger.read({task.key for task in tasks})
        sent = {key for batch in ledger.submissions() if batch.id for key in batch.contexts}
        return plan_of(bench, self.arms, self.cases[0], tasks, kept, sent, concurrency)

    def run(
        self,
        *,
        store: SessionStore | None = None,
        concurrency: int = CONCURRENCY,
        budget: Any = None,
        executor: Any = None,
        batch: bool = False,
    ) -> Run:
        """Ask every trial that is not in the store so far, and score; start at once.

        ``store`` keeps them, else the app's, else this experiment's memory: started again with the same one, it
        asks only what is missing there, failed, or would be sent another context, model or tool; where a scorer or what
        a case expects is another one, scores alone are worked out anew. At most ``concurrency`` trials are under way for each
        provider, fewer where it refuses so many. ``budget`` (US dollars, or ``{"tokens": n}``) bounds all of
        them together, those in the store included, with the models that score them: a trial that would pass it is refused,
        and a judge that would gives no score before a run with more. A tool that asks for confirmation is denied.
        ``executor`` does the trials elsewhere: a Dask ``Client``, an ipyparallel ``Client`` or view, the module ``ray``, an
        executor of ``concurrent.futures``, or an ``Engine`` of your own. Functions of notebook cells travel, models and cases
        too; the sessions come back, and are stored here. What changes elsewhere, as a list that a scorer fills, stays there.
        ``batch=True`` sends them through Anthropic's batches, for half the price and
        answered within a day: trials of one tick, without tools that run here. A run that was stopped or killed leaves its batches where
        they are, and the next one with ``batch=True`` takes up their answers and sends none of that again.
        Raises ``KnobError`` where a value does not fit, and ``SessionBusyError`` where another run goes on. Awaiting it raises
        ``SessionError`` for an arm that has no batch, for a cluster that is not there and for what cannot be sent to it,
        before anything is asked.
        """
        if batch and executor is not None:
            raise SessionError(
                "batch=True sends the trials away itself; give it no executor=, or leave it out"
            )
        engine = engine_of(executor, concurrency)
        limit = Budget.of(budget)
        kept = self._store(store)
        account = Spending((), None, None, unit="experiment")
        bench = Bench(self.app, self.arms, account)
        app = self.app if kept is self.app.store else self.app.like(self.app.root, store=kept)
        ledger = Ledger(kept, self.name)
        if batch:
            engine = BatchEngine(ledger, concurrency)
        run = Run(self.design, Means(bench, engine, ledger, Archive(app, ledger), account, limit))
        run.start()
        return run

    def _store(self, store: SessionStore | None) -> SessionStore:
        if store is not None:
            return store
        if self.app.store is not None:
            return self.app.store
        self._memory = self._memory or MemoryStore()
        return self._memory

    def __repr__(self) -> str:
        return (
            f"<Experiment {self.name!r}: {len(self.cases)} cases × {len(self.arms)} arms"
            f"{f' × {self.repeat}' if self.repeat > 1 else ''}>"
        )
