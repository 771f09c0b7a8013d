"""Trials that are sent in batches: for less money, and answered within a day."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession import threads
from nbsession.content import new_id
from nbsession.errors import BudgetError, ModelError, SessionError
from nbsession.experiment.engine import LocalEngine
from nbsession.experiment.ledger import Submission
from nbsession.experiment.outcome import Outcome
from nbsession.experiment.pace import provider_of
from nbsession.models.anthropic.batches import Received, Reply
from nbsession.session.spending import Total
from nbsession.usage import Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.experiment.bench import Bench
    from nbsession.experiment.ledger import Ledger
    from nbsession.experiment.outcome import Task
    from nbsession.models.anthropic.batches import MessageBatches
    from nbsession.models.base import ModelAdapter

MOST_REQUESTS = 10_000
"""Requests of one batch: the provider takes 100,000 of 256 MB together, and here they are held in memory."""
MOST_BYTES = 32_000_000
"""Bytes of one batch, likewise."""
SENDS = 3
"""How often a request is sent in one run whose batches expire before its turn comes."""
FIRST_PAUSE = 2.0
"""Seconds between the first two looks whether a batch has ended; each further pause is half as long again."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks at most."""
PATIENCE = 20
"""Looks that may fail one after another, as where the network is away for a while."""
_SKEW, _LATEST = 300.0, 3600.0
"""Seconds by which a batch may seem to be made before and after it was noted, by another clock and a slow line."""
_AT_A_TIME = 50
"""Contexts that are compiled before others get their turn on the loop."""


def against_a_batch(context: CompiledContext, model: ModelAdapter) -> str:
    """Say why a batch cannot ask a context of a model; ``""`` where it can."""
    own = [tool.name for tool in context.tools if tool.options is None]
    if own:
        return f"it has the tools {', '.join(own)}, and a batch has one tick: it cannot answer a call"
    if provider_of(model.name) != "anthropic" or not hasattr(model, "batches"):
        return f"{model.name} takes none"
    return ""


class BatchEngine:
    """Sends trials of one tick through the provider's batches, and makes each answer a session like any other.

    What is sent is noted in the ledger before: a run that was stopped or killed leaves its batches where they are, since
    they are paid for, and the next one with ``batch=True`` takes up their answers. A request that its batch did not come to in time is sent
    again, up to ``SENDS`` times; one that failed or was canceled there fails. The run's budget bounds
    what is sent: as nothing can be taken back, each request counts with the longest answer that it allows, and what does
    not fit beside the others is sent when their answers are there, or refused. An arm that cannot be batched is a
    ``SessionError`` before anything is sent.
    """

    def __init__(self, ledger: Ledger, concurrency: int) -> None:
        self._ledger = ledger
        self._local = LocalEngine(concurrency)

    async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
        """See ``Engine``; the answers of a batch come together, when it has ended."""
        mail = _Mail(tasks, bench, self._ledger)
        try:
            await mail.take_up()
            while mail.left:
                if not mail.under_way and not await mail.send():
                    for task in mail.left.values():
                        yield Outcome(task.number, "refused", error=mail.refused[task.key])
                    return
                while mail.under_way:
                    answered = await mail.answered(mail.under_way[0])
                    async with aclosing(self._local.outcomes(answered, bench)) as outcomes:
                        async for outcome in outcomes:
                            yield outcome
                    del mail.under_way[0]
        except asyncio.CancelledError as stopped:
            raise asyncio.CancelledError(*mail.goes_on()) from stopped


@dataclass(slots=True)
class _Parcel:
    """Requests that are to be one batch, by their trials' keys, and the hashes of their contexts."""

    place: MessageBatches
    requests: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    contexts: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def takes(self, size: int) -> bool:
        """Say whether one more request of so many bytes goes in."""
        return not self.requests or (len(self.requests) < MOST_REQUESTS and self.size + size <= MOST_BYTES)

    def put(self, key: str, request: Mapping[str, Any], context: str, size: int) -> None:
        self.requests[key], self.contexts[key] = request, context
        self.size += size


class _Mail:
    """The tasks of one run that are ``left`` to be answered, and the batches that are ``under_way``.

    ``refused`` says of those that the budget kept from being sent the last time what they would have passed.
    """

    def __init__(self, tasks: Sequence[Task], bench: Bench, ledger: Ledger) -> None:
        self.left = {task.key: task for task in tasks}
        self.under_way: list[Submission] = []
        self.refused: dict[str, str] = {}
        self._bench = bench
        self._ledger = ledger
        self._reserved = Total()
        self._times: Counter[str] = Counter()
        self._models: dict[str, ModelAdapter] = {}
        self._places: dict[str, MessageBatches] = {}
        firsts = {task.arm.name: task for task in reversed(tasks)}
        for name, task in firsts.items():
            model: Any = bench.model(task.arm)
            self._models[name] = model
            self._check(task, bench.compile(task.arm, task.case))
            self._places[name] = model.batches()

    async def take_up(self) -> None:
        """Find the batches that an earlier run has sent, and that hold answers of what is left."""
        if not self.left:
            return
        submissions = await threads.beside(self._ledger.submissions)
        known = {batch.id for batch in submissions}
        for batch in submissions:
            if not batch.contexts.keys() & self.left.keys():
                continue
            if not batch.id:
                batch.id = await self._found(batch, known)
                known.add(batch.id)
            if batch.id:
                self.under_way.append(batch)

    async def send(self) -> bool:
        """Send what is left, as far as the budget goes; say whether anything was sent."""
        self.refused, self._reserved = {}, Total()
        parcels: dict[Any, _Parcel] = {}
        for number, task in enumerate(self.left.values()):
            if not number % _AT_A_TIME:
                await asyncio.sleep(0)
            context = self._bench.compile(task.arm, task.case)
            self._check(task, context)
            place = self._places[task.arm.name]
            request = place.request(context)
            try:
                self._reserve(task, context, request["max_tokens"])
            except BudgetError as error:
                self.refused[task.key] = str(error)
                continue
            size = len(json.dumps(request))
            parcel = parcels.setdefault(place.endpoint, _Parcel(place))
            if not parcel.takes(size):
                await self._post(parcel)
                parcel = parcels[place.endpoint] = _Parcel(place)
            parcel.put(task.key, request, context.hash, size)
        for parcel in parcels.values():
            await self._post(parcel)
        return bool(self.under_way)

    async def answered(self, batch: Submission) -> list[Task]:
        """Wait for a batch, and return its tasks with models that give what came; those to be sent again stay left."""
        replies = await self._replies(self._place_of(batch), batch.id)
        answered = []
        for key, asked in batch.contexts.items():
            task = self.left.get(key)
            reply = replies.get(key) or _lost()
            if task is None or (reply.expired and self._times[key] < SENDS):
                continue
            del self.left[key]
            model = Received(self._models[task.arm.name], reply, asked)
            answered.append(task._replace(arm=replace(task.arm, model=model), paid=True))
        return answered

    def goes_on(self) -> list[str]:
        """Say which batches are where they are though nobody waits for them, in one sentence or none."""
        ids = ", ".join(batch.id or "that was just being sent" for batch in self.under_way)
        said = (
            f"batch {ids} stays at the provider, which is paid for what it answers: run again with batch=True to take that "
            "up, or cancel it there"
        )
        return [said] if ids else []

    def _check(self, task: Task, context: CompiledContext) -> None:
        model = self._models[task.arm.name]
        against = against_a_batch(context, model)
        if not against and context.model != model.name:
            against = f"its model depends on the case ({context.model} for {task.case.name!r})"
        if against:
            raise SessionError(f"arm {task.arm.name!r} has no batch: {against}; run it without batch=True")

    def _reserve(self, task: Task, context: CompiledContext, answer: int) -> None:
        """Count a request as used; ``BudgetError`` where it does not fit."""
        account = self._bench.account
        budget, used = account.bound if account is not None else (None, Total())
        if budget is None:
            return
        used = used + self._reserved
        budget.check(
            "experiment's", task.model, used.usage, used.cost, context.tokens, answer=answer, batch=True
        )
        usage = Usage(calibrated(task.model).apply(context.tokens), answer, batch=True)
        self._reserved = self._reserved + Total.of(usage, cost(task.model, usage))

    async def _post(self, parcel: _Parcel) -> None:
        """Send a batch that was noted before, and note what it is called there."""
        batch = Submission(new_id("batch"), time.time(), len(parcel.requests), parcel.contexts)
        await self._ledger.submit(batch)
        self.under_way.append(batch)
        self._times.update(list(parcel.contexts))
        batch.id = await parcel.place.send(parcel.requests)
        await self._ledger.submitted(batch)

    async def _found(self, batch: Submission, known: set[str]) -> str:
        """Return the id of a batch that was noted, and then perhaps sent; ``""`` where it was not.

        The provider lists no ids of requests before there are answers: one that was made at that time with as many
        requests is waited for.
        """
        place = self._place_of(batch)
        for listed in reversed(await place.since(batch.time - _SKEW)):
            fits = listed.requests == batch.requests and listed.created <= batch.time + _LATEST
            if not fits or listed.id in known:
                continue
            if (await self._replies(place, listed.id)).keys() & batch.contexts.keys():
                batch.id = listed.id
                await self._ledger.submitted(batch)
                return batch.id
        return ""

    def _place_of(self, batch: Submission) -> MessageBatches:
        task = next(task for key in batch.contexts if (task := self.left.get(key)) is not None)
        return self._places[task.arm.name]

    async def _replies(self, place: MessageBatches, batch: str) -> dict[str, Reply]:
        """Wait until a batch has ended, and return what became of its requests."""
        pause, failures = FIRST_PAUSE, 0
        while True:
            try:
                if await place.ended(batch):
                    return await place.replies(batch)
                failures = 0
            except ModelError as error:
                failures += 1
                if not error.retryable or failures > PATIENCE:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)


def _lost() -> Reply:
    error = ModelError(
        "its batch has no answer for it; run again to send it once more", retryable=True, kind="server"
    )
    return Reply(error=error, expired=True)
