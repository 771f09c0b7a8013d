"""Who may write a session: one owner at a time, for a while, numbered so that a late one is known."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nbsession.errors import SessionBusyError, SessionError
from nbsession.stores import every


@dataclass(frozen=True, slots=True)
class Lease:
    """A session's latest lease. Times are in seconds since the epoch.

    ``token`` only grows. An owner that released it is ``""``. ``process`` is what
    `this_process` said where it was acquired.
    """

    token: int = 0
    owner: str = ""
    since: float = 0.0
    expires: float = 0.0
    process: str = ""

    def check_free(self, session: str, owner: str, now: float) -> None:
        """Refuse ``owner`` while the lease is another's: not expired, and of no process known to be gone."""
        if self.held(now) and self.owner != owner:
            raise SessionBusyError(
                f"session {session!r} is held by {self.owner} since {_clock(self.since, now)}; "
                "it can be read and forked here; to write it, close it there or stop that process"
            )

    def check_deletable(self, session: str, now: float) -> None:
        """Refuse to delete what another process holds."""
        if self.held(now) and self.owner != this_owner():
            raise SessionBusyError(
                f"session {session!r} is held by {self.owner} since {_clock(self.since, now)}: close it there or stop that "
                "process, and delete it then; nothing was deleted"
            )

    def held(self, now: float) -> bool:
        """Say whether it is somebody's: not released, not expired, and of no process known to be gone."""
        return bool(self.owner) and self.expires > now and not is_gone(self.process)

    def check_token(self, session: str, token: int, *, writes: bool = False) -> None:
        """Refuse a token that is not the latest, as a late owner's is."""
        if token == self.token:
            return
        if not self.token:  # a lease goes only with its session
            raise every.gone(session)
        by = f"was taken over by {self.owner}" if self.owner else "was acquired by another and released"
        nothing = ", and nothing of this was kept" if writes else ""
        raise SessionBusyError(
            f"the lease of session {session!r} {by} since this writer acquired it{nothing}; open {session!r} "
            "again to go on from what is there, or fork what is in memory here under a new id"
        )

    def check_renewable(self, session: str, token: int) -> None:
        """Refuse to renew what another took over, or what was released."""
        self.check_token(session, token)
        if not self.owner:
            raise SessionError(f"the lease of session {session!r} was released: acquire it again")


def check_request(owner: str, seconds: float) -> None:
    """Refuse a lease without an owner's name, or for less than no time."""
    if not owner.strip():
        raise SessionError(f"a lease needs an owner such as {this_owner()!r}, got {owner!r}")
    check_seconds(seconds)


def check_seconds(seconds: float) -> None:
    """Refuse less than no time, and what is no time at all."""
    if not 0 <= seconds < float("inf"):
        raise SessionError(f"a lease lasts a finite number of seconds, got {seconds}")


def this_owner() -> str:
    """Return how a message names this process: ``"process 4711 on host-a"``."""
    import socket

    return f"process {os.getpid()} on {socket.gethostname()}"


def this_process() -> str:
    """Return what tells this process from every other, before and after it; ``""`` where that is not known.

    On Linux that is the boot, the PID namespace, the PID and when it started.
    """
    pid = os.getpid()
    started = _started(pid)
    return f"{_world()} {pid} {started}" if started else ""


def is_gone(process: str) -> bool:
    """Say whether the process that `this_process` described has certainly ended.

    That can be known only where it ran: in the same boot and PID namespace. So a
    kernel that was killed does not keep its successor waiting for its leases.
    """
    world, _, rest = process.partition(" ")
    if not rest or world != _world():
        return False
    pid, _, started = rest.partition(" ")
    return _started(int(pid)) != started


@cache
def _world() -> str:
    if not sys.platform.startswith("linux"):
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks since the boot; ``""`` for one that ended."""
    if not _world():
        return ""
    try:
        # The name, in parentheses, may hold anything (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _clock(at: float, now: float) -> str:
    """Return the local time of day, with the date where it was another day."""
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%Y-%m-%d %H:%M", there)
