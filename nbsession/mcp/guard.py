"""Run by its path, as a program: a command whose process group ends with it, and with the process that asked for it.

``guard.py PARENT COMMAND…``: servers are told to stop by the end of their input, and not all do; where ``PARENT`` was
killed, nobody else is left to end them. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE = 1.0
"""Seconds between asking the group to end and killing it."""

LOOK = 0.5
"""Seconds between two looks for the parent."""


def main(parent: int, command: list[str]) -> None:
    """Run a command until it ends or the parent is gone, say how it ended, and leave nothing of the group."""
    # A function, as a signal that is ignored would be ignored by the command, too.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command)  # noqa: S603  # to run what it is given is what it is for
    except (OSError, ValueError) as error:
        print(getattr(error, "strerror", None) or error, file=sys.stderr)  # noqa: T201  # its standard error is read
        return
    os.close(0)
    os.close(1)  # the end of the command's output is to be the end of it
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    code = process.wait()
    said = f"exit code {code}" if code >= 0 else f"ended by signal {-code}"
    print(said, file=sys.stderr, flush=True)  # noqa: T201  # as above
    _end_group()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    _end_group()


def _end_group() -> None:
    """Ask all that is left of the group to end, and kill it, this process too."""
    with suppress(OSError):
        os.killpg(0, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while _others() and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(0, signal.SIGKILL)


def _others() -> bool:
    """Say whether any other process of the group runs, where that can be told; else that there may be one."""
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # this is to start fast
    except OSError:
        return True
    return any(map(_is_other, processes))


def _is_other(process: str) -> bool:
    """Read a process's line (proc(5)): its state and its group stand behind the name in parentheses."""
    with suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123  # as above
        state, _, group = file.read().rpartition(b")")[2].split()[:3]
        return int(group) == os.getpgrp() and state not in (b"Z", b"X") and int(process) != os.getpid()
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
