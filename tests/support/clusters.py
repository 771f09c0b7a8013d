"""Clusters of this machine, whose workers are other processes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_PORT = "127.0.0.1:0"
"""Where Dask serves its metrics, which it does in any case: several clusters may run, and none is seen from outside."""
ROOT = Path(__file__).parents[2]


@contextmanager
def dask_client(workers: int = 2) -> Iterator[Any]:
    """Connect to a new Dask cluster; a task over which a worker dies a second time has failed."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=ANY_PORT,
            worker_dashboard_address=ANY_PORT,
            silence_logs="CRITICAL",
        ) as cluster,
    ):
        client = Client(cluster)  # whose own block ends only in the context in which it began
        try:
            yield client
        finally:
            client.close()


@contextmanager
def ipyparallel_cluster(folder: Path, engines: int = 2) -> Iterator[Any]:
    """Start a controller and engines, with all their files in a folder."""
    import ipyparallel

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    cluster = ipyparallel.Cluster(
        n=engines, profile_dir=str(folder), controller_ip="127.0.0.1", log_level=50, engines="local"
    )
    try:
        cluster.start_controller_sync()
        cluster.start_engines_sync(n=engines)
        client = cluster.connect_client_sync()
        try:
            client.wait_for_engines(engines, timeout=60)
            yield cluster, client
        finally:
            client.close()
    finally:
        _stop(cluster)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _stop(cluster: Any) -> None:
    """Stop a cluster of ipyparallel, which looks through its engines while a thread of its own takes those away that ended."""
    for last in (False, False, True):
        try:
            cluster.stop_cluster_sync()
        except RuntimeError as error:
            if last or "changed size during iteration" not in str(error):
                raise
        else:
            return
