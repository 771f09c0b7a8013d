"""Engines of an experiment whose trials are made in other processes.

What they share with this one travels by cloudpickle; each worker makes its trials as they are made here, on a loop of
its own and in memory, and sends the sessions back, which only this process stores.
"""

from __future__ import annotations

from typing import Any

from nbsession.errors import SessionError
from nbsession.experiment.engine import Engine, LocalEngine
from nbsession.experiment.engines.pools import opener_of
from nbsession.experiment.engines.remote import RemoteEngine


def engine_of(executor: Any, concurrency: int) -> Engine:
    """Return what does the trials for ``executor=``. Raises ``SessionError`` for what cannot."""
    if executor is None:
        return LocalEngine(concurrency)
    if isinstance(executor, Engine):
        return executor
    opener = opener_of(executor)
    if opener is None:
        raise SessionError(
            "executor= takes a Dask Client, an ipyparallel Client or view, the module ray, an executor of "
            f"concurrent.futures, or an Engine, got {type(executor).__name__}: {executor!r:.80}"
        )
    return RemoteEngine(opener, concurrency)


__all__ = ["engine_of"]
