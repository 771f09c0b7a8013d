"""What jobs can be given to: Dask, ipyparallel, Ray and executors of the standard library, by what they are asked alike.

None of them is imported here: whoever hands one over has done so.
"""

from __future__ import annotations

import concurrent.futures
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable


WAIT = 10.0
"""Seconds that a cluster gets until its first worker is there."""


class Note:
    """A file that is there once jobs are not wanted any more; where its folder is not shared, they go on to their end."""

    def __init__(self) -> None:
        self._path = Path(tempfile.gettempdir()) / f"nbsession-stop-{uuid.uuid4().hex}"

    def watch(self) -> Callable[[], bool]:
        """See ``Sign``."""
        return self._path.exists

    def leave(self) -> None:
        """Say that no job is wanted."""
        self._path.touch()

    def take_away(self) -> None:
        """Forget it: all jobs have ended."""
        self._path.unlink(missing_ok=True)


class Forgotten:
    """Dask's own sign: a worker is told when nobody waits for a task any more, also where its client is gone."""

    def watch(self) -> Callable[[], bool]:
        """See ``Sign``."""
        from distributed import get_worker

        worker = get_worker()
        key = worker.get_current_task()

        def forgotten() -> bool:
            task = worker.state.tasks.get(key)
            return task is None or task.state == "cancelled"

        return forgotten

    def leave(self) -> None:
        """Nothing: the client told it."""

    def take_away(self) -> None:
        """Nothing was left."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers that are there.

    ``slots`` says how many jobs run at the same time, ``lost`` whether an error means that a worker died with its job.
    """

    name: str
    submit: Callable[..., concurrent.futures.Future[Any]]
    slots: Callable[[], int]
    lost: Callable[[BaseException], bool]
    sign: Note | Forgotten


def opener_of(executor: Any) -> Callable[[], Pool] | None:
    """Return what opens a pool of what a user handed over, ``None`` where that is none.

    The opener may block, for ``WAIT`` seconds at most, and raises ``SessionError`` where there is nobody to work.
    """
    family = {base.__module__.partition(".")[0] for base in type(executor).__mro__}
    if "distributed" in family and hasattr(executor, "scheduler_info"):
        return lambda: _dask(executor)
    if "ipyparallel" in family:
        return lambda: _ipyparallel(executor)
    if getattr(executor, "__name__", "") == "ray" and hasattr(executor, "remote"):
        return lambda: _ray(executor)
    if isinstance(executor, concurrent.futures.Executor):
        return lambda: _executor(executor)
    return None


def _dask(client: Any) -> Pool:
    from distributed import KilledWorker

    if client.status != "running":
        raise SessionError(
            f"the Dask client is {client.status}: connect one to a cluster that runs, and hand that over"
        )
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except Exception as error:
        raise SessionError(
            f"the Dask cluster at {_address(client)} has no worker that answers ({type(error).__name__}): start one, and "
            "run again"
        ) from error
    jobs = client.get_executor(pure=False)
    return Pool(
        "the Dask cluster",
        jobs.submit,
        lambda: sum(client.nthreads().values()),
        lambda error: isinstance(error, KilledWorker),
        Forgotten(),
    )


def _address(client: Any) -> str:
    return str(getattr(getattr(client, "scheduler", None), "address", "its address"))


def _ipyparallel(given: Any) -> Pool:
    view = getattr(given, "view", given)  # of an executor of a view
    client = getattr(view, "client", view)
    if getattr(client, "_closed", False):
        raise SessionError(
            "the ipyparallel client is closed: connect one to a cluster that runs, and hand that over"
        )
    if not client.ids:
        raise SessionError("the ipyparallel cluster has no engines: start some, and run again")
    targets = None if view is client else view.targets
    # A view of all engines does each job on all of them.
    balanced = client.load_balanced_view(targets)
    engines = balanced.targets
    return Pool(
        "the ipyparallel cluster",
        lambda *given: _unbreakable(balanced.apply_async(*given)),
        lambda: len(client.ids if engines is None else set(engines) & set(client.ids)),
        lambda error: getattr(error, "ename", type(error).__name__) == "EngineError",
        Note(),
    )


def _ray(ray: Any) -> Pool:
    if not ray.is_initialized():
        raise SessionError("Ray is not started: call ray.init() first")

    def submit(function: Callable[..., Any], *given: Any) -> concurrent.futures.Future[Any]:
        return _unbreakable(ray.remote(function).remote(*given).future())

    died = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)
    return Pool(
        "the Ray cluster",
        submit,
        lambda: int(ray.cluster_resources().get("CPU", 1)),
        lambda error: isinstance(error, died),
        Note(),
    )


def _unbreakable(future: Any) -> concurrent.futures.Future[Any]:
    """Return one that ends when another one does, which takes itself for cancelled though its job runs."""
    lasting: concurrent.futures.Future[Any] = concurrent.futures.Future()
    lasting.set_running_or_notify_cancel()

    def ended(_: Any) -> None:
        try:
            lasting.set_result(future.result())
        except BaseException as error:  # noqa: BLE001  # raised where it is awaited
            lasting.set_exception(error)

    future.add_done_callback(ended)
    return lasting


def _executor(executor: concurrent.futures.Executor) -> Pool:
    name = f"the {type(executor).__name__}"
    try:
        executor.submit(int)
    except Exception as error:
        raise SessionError(
            f"{name} takes nothing any more ({error}): make a new one, and run again"
        ) from error
    slots = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    return Pool(name, executor.submit, lambda: slots, lambda _: False, Note())
