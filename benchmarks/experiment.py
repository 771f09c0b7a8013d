"""What an experiment adds to a model's answers: a thousand trials in one process, and ten thousand taken up again.

The model answers at once, so what is measured is the rest: a fork, its tree, one tick, the score, and the store.
Each figure is of a process of its own, whose memory is the most that it had. What stands under the cell of such a run has to be
made, and to be kept in the notebook's file.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession import App, Section, System, Timeline, component, use_knob
from nbsession.experiment import Case, Experiment, contains
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.experiment import Run
    from nbsession.stores import SessionStore

TONES = ["friendly", "terse"]
FACTS = "Some facts about the capitals of Europe. " * 10


@component
def Teacher() -> Any:
    tone, _ = use_knob("tone", "friendly", options=TONES)
    return [System(f"You are {tone}."), Section(FACTS, id="facts", title="Facts"), Timeline()]


class Instant(ScriptedModel):
    """Answers at once, and keeps nothing."""

    async def _next(self, context: CompiledContext) -> Any:
        self.contexts.clear()
        return ["Paris" if context.system[0].text.endswith("terse.") else "I am not sure."]


def asked(cases: int, repeat: int, store: SessionStore | None, executor: Any = None) -> tuple[Run, float]:
    """Run an experiment of two arms; return it and the seconds it took."""
    given = [Case(f"What is the capital of country {n}?", "Paris", str(n)) for n in range(cases)]
    app = App(Teacher, model=Instant())

    async def running() -> Run:
        return await Experiment(app, given, knobs={"tone": TONES}, repeat=repeat, score=contains).run(
            store=store, executor=executor
        )

    started = time.perf_counter()
    run = asyncio.run(running())
    return run, time.perf_counter() - started


def measure(cases: str, repeat: str, url: str, where: str) -> None:
    """Print what a run takes in this process: seconds, seconds of the processor, MB at most, trials from the store."""
    store = SqlStore(url) if url else None
    if where == "dask":
        from distributed import Client, LocalCluster

        here = "127.0.0.1:0"
        cluster = LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=here,
            worker_dashboard_address=here,
        )
        with cluster, Client(cluster) as client:
            run, taken = asked(int(cases), int(repeat), store, client)
    else:
        run, taken = asked(int(cases), int(repeat), store)
    how = run.progress
    assert how.done == how.total, run
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(taken, time.process_time(), most, how.reused, *shown(run))


def shown(run: Run) -> tuple[float, float]:
    """Return the seconds that a run takes to be laid out for a notebook, and the MB that it takes in the file."""
    from nbsession.notebook.experiment import sheet

    started = time.perf_counter()
    made = sheet.bundle(sheet.sheet(run))
    return time.perf_counter() - started, len(json.dumps(made)) / 1e6


def elsewhere(cases: int, repeat: int, url: str = "", where: str = "") -> list[float]:
    command = [sys.executable, "-m", "benchmarks.experiment", str(cases), str(repeat), url, where]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(figure) for figure in done.stdout.split()]


def show(what: str, figures: list[float], bound: str = "") -> None:
    taken, busy, most, reused, laid_out, size = figures
    print(
        f"{what:<52} {taken:7.2f} {busy:7.2f} {most:6.0f} {reused:7.0f} {laid_out:7.2f} {size:7.3f}   {bound}"
    )


def main() -> None:
    print(f"{'':<52} {'seconds':>7} {'of CPU':>7} {'MB':>6} {'reused':>7} {'shown s':>7} {'saved MB':>7}")
    show("1,000 trials, in memory", elsewhere(500, 1), "at most 10 s, 300 MB")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'one.db'}"
        show("1,000 trials, SQLite", elsewhere(500, 1, url))
        show("the same again", elsewhere(500, 1, url))
        url = f"sqlite:///{Path(folder) / 'many.db'}"
        show("10,000 trials, each of another context, SQLite", elsewhere(5_000, 1, url))
        show("the same again", elsewhere(5_000, 1, url), "at most 2 s; shown in 1 s, in 1 MB")
        url = f"sqlite:///{Path(folder) / 'dask.db'}"
        figures = elsewhere(5_000, 1, url, "dask")
        rate = f"at most 500 MB, at least 150 a second: {10_000 / figures[0]:.0f}"
        show("10,000 trials by two workers of Dask, SQLite; the driver", figures, rate)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        measure(*sys.argv[1:])
    else:
        main()
