"""What a store knows of an experiment: a row for each trial that ended, found by what it asked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession import threads
from nbsession.errors import SessionBusyError, SessionClosedError, StoreError
from nbsession.experiment.outcome import Figures, Outcome, Task
from nbsession.experiment.scoring import Scores
from nbsession.record.lease import Lease
from nbsession.stores.base import Row
from nbsession.stores.lease import this_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from nbsession.experiment.scoring import Scored
    from nbsession.stores.base import SessionStore

TRIAL, SCORES, PAIR, BATCH = "trial", "scores", "pair", "batch"
LONG = 400
"""Characters of an answer that stand in its row; a longer one is kept apart."""


class Kept(NamedTuple):
    """A trial that a store has: its session, how it ended and its figures, and its scores by scorer."""

    session: str
    status: str
    figures: Figures
    scored: Scored
    error: str


@dataclass(slots=True)
class Submission:
    """A batch of requests, noted under ``key`` before it is sent, at a ``time`` (seconds since the epoch).

    ``contexts`` are the hashes of what its requests send, by their trials' keys, and ``requests`` how many there were; ``id`` is the
    provider's, ``""`` where it is not known: it was sent at most.
    """

    key: str
    time: float
    requests: int
    contexts: dict[str, str]
    id: str = ""


class Ledger:
    """The trials of one experiment in a store, as rows of a session of its own that only one run writes at a time.

    A trial's session is stored before its row: one without a row was not ended, and is asked again. A later row
    of a trial takes the place of the one before.
    """

    def __init__(self, store: SessionStore, experiment: str) -> None:
        self.store = store
        self.id = f"experiment-{experiment}"
        self._experiment = experiment
        self._lease = Lease(store, self.id)
        self._revision = 0
        self._writer: concurrent.futures.ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Take it for a run, until ``close``. Raises ``SessionBusyError`` where another run has it."""
        holder = self.store.holder(self.id)
        if holder:
            where = "here already" if holder == this_owner() else f"by {holder}"
            raise SessionBusyError(
                f"experiment {self._experiment!r} is being run {where}: await that run, or stop it; another name= makes it "
                "another experiment"
            )
        self._revision, self._lease = self.store.revision(self.id), Lease(self.store, self.id)
        token = self._lease.hold(self._revision)
        if not self._revision:
            born = Row("session", self.id, {"metadata": {"experiment": self._experiment}, "parent": None})
            self._revision = self.store.append(self.id, [born], revision=0, token=token)

    def close(self) -> None:
        """Let another run have it."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)
            self._writer = None
        self._lease.release()

    def read(self, keys: Collection[str] | None = None) -> dict[str, Kept]:
        """Return the trials that are there, by their keys, of ``keys`` alone where they are given."""
        found: dict[str, Kept] = {}
        for _, row in self.store.rows(self.id, kinds=(TRIAL, SCORES)):
            if keys is not None and row.key not in keys:
                continue
            if row.kind == TRIAL:
                found[row.key] = _kept(row.data)
            elif row.key in found:
                found[row.key] = found[row.key]._replace(scored=_scored(row.data))
        return found

    async def keep(self, ended: Sequence[tuple[Task, Outcome]]) -> None:
        """Store the sessions of trials that ended, and then that they did; returns when they are durable."""
        await self._write(lambda: self._keep(ended))

    async def rescore(self, key: str, scored: Scored) -> None:
        """Store other scores of a trial that is there."""
        await self._write(lambda: self._append([Row(SCORES, key, _told(scored))]))

    def pairs(self) -> dict[str, Mapping[str, Any]]:
        """Return what judges of pairs decided, by key."""
        return {row.key: row.data for _, row in self.store.rows(self.id, kinds=(PAIR,))}

    async def decide(self, key: str, decision: Mapping[str, Any]) -> None:
        """Store what a judge decided of a pair."""
        await self._write(lambda: self._append([Row(PAIR, key, decision)]))

    async def submit(self, batch: Submission) -> None:
        """Store that a batch is about to be sent."""
        data = {"time": batch.time, "contexts": dict(batch.contexts)}
        await self._write(lambda: self._append([Row(BATCH, batch.key, data)]))

    async def submitted(self, batch: Submission) -> None:
        """Store the id that a batch has at the provider."""
        await self._write(lambda: self._append([Row(BATCH, batch.key, {"id": batch.id})]))

    def submissions(self) -> list[Submission]:
        """Return the batches, each with the ``contexts`` of trials that did not end since, and were not sent again."""
        found: dict[str, Submission] = {}
        last: dict[str, Submission] = {}
        for _, row in self.store.rows(self.id, kinds=(BATCH, TRIAL)):
            if row.kind == BATCH and "id" in row.data:
                found[row.key].id = row.data["id"]
                continue
            keys = row.data["contexts"] if row.kind == BATCH else (row.key,)
            for key in keys:
                if (before := last.pop(key, None)) is not None:
                    del before.contexts[key]
            if row.kind == BATCH:
                batch = Submission(row.key, row.data["time"], len(keys), dict(row.data["contexts"]))
                found[row.key] = batch
                last.update(dict.fromkeys(keys, batch))
        return list(found.values())

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        """Return long answers, by digest."""
        return self.store.texts(digests)

    def _keep(self, ended: Sequence[tuple[Task, Outcome]]) -> None:
        rows, texts = [], {}
        for task, outcome in ended:
            if outcome.rows:
                self.store.append(outcome.session, outcome.rows, outcome.texts, revision=0)
            outcome.rows, outcome.texts = (), {}
            figures = outcome.figures
            if len(figures.text) > LONG:
                figures.digest = hashlib.sha256(figures.text.encode("utf-8", "surrogatepass")).hexdigest()
                texts[figures.digest], figures.text = figures.text, figures.text[:LONG]
            rows.append(Row(TRIAL, task.key, outcome.row(task)))
        self._append(rows, texts)

    def _append(self, rows: Sequence[Row], texts: Mapping[str, str] | None = None) -> None:
        try:
            token = self._lease.hold(self._revision)
            self._revision = self.store.append(self.id, rows, texts, revision=self._revision, token=token)
        except (SessionBusyError, SessionClosedError) as error:
            raise StoreError(
                f"experiment {self._experiment!r} cannot go on, since another process has taken it over or deleted it: {error}"
            ) from error

    async def _write(self, write: Callable[[], None]) -> None:
        if not self.store.blocking or not threads.can_start():
            write()
            return
        if self._writer is None:
            self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="nbsession-experiment")
        writing = asyncio.wrap_future(self._writer.submit(write))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise


def _told(scored: Scored) -> dict[str, Any]:
    return {name: list(scores) for name, scores in scored.items()}


def _scored(data: Mapping[str, Any]) -> Scored:
    return {name: Scores(*scores) for name, scores in data.items()}


def _kept(data: Mapping[str, Any]) -> Kept:
    figures = Figures(**{name: data[name] for name in Figures.__slots__ if name in data})
    return Kept(
        data["session"], data["status"], figures, _scored(data.get("scored", {})), data.get("error", "")
    )
