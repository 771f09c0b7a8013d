"""What depends on the version of ipykernel, and nothing else does.

Everything that touches a private name of ipykernel stands here, gated by
version. On a version not known here it is left out: then widget messages wait
until the running cell ends, and all else works.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from nbsession.tools import TASK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    from IPython.core.interactiveshell import InteractiveShell

COMM_MESSAGES = frozenset({"comm_open", "comm_msg", "comm_close"})
DRAIN_SECONDS = 0.01

_PUMPING = "_nbsession_pumping"


def version() -> tuple[int, int]:
    """The version of ipykernel as (major, minor); (0, 0) where none is loaded."""
    module = sys.modules.get("ipykernel")
    info = getattr(module, "version_info", (0, 0))
    return int(info[0]), int(info[1])


def of(shell: InteractiveShell | None) -> Any | None:
    """The ipykernel behind a shell, or ``None`` in a terminal."""
    kernel = getattr(shell, "kernel", None)
    return kernel if hasattr(kernel, "comm_manager") else None


def loop(shell: InteractiveShell | None) -> asyncio.AbstractEventLoop | None:
    """The loop that cells run on, or ``None`` where cells have no lasting loop."""
    kernel = of(shell)
    if kernel is None:
        return None
    found = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return found if isinstance(found, asyncio.AbstractEventLoop) else None


def cell_id(shell: InteractiveShell | None) -> str | None:
    """The identity of the running cell, where the front end names one (JupyterLab 4 and Notebook 7 do)."""
    kernel = of(shell)
    if kernel is None:
        return None
    metadata = (_parent(kernel) or {}).get("metadata") or {}
    found = metadata.get("cellId")
    return found if isinstance(found, str) else None


def may_ask(shell: InteractiveShell | None) -> bool:
    """Whether ``input()`` can reach somebody in the running cell."""
    kernel = of(shell)
    if kernel is None:
        return bool(sys.stdin is not None and sys.stdin.isatty())
    content = (_parent(kernel) or {}).get("content") or {}
    return bool(content.get("allow_stdin", getattr(kernel, "_allow_stdin", False)))


def shows_widgets(shell: InteractiveShell | None) -> bool:
    """Whether somebody may look at a widget of the running cell.

    What can be asked nothing is a program that runs the notebook (nbclient, papermill): it would
    keep the state of each widget in the notebook's metadata, where nothing can be done with it.
    """
    return of(shell) is not None and may_ask(shell)


@contextlib.asynccontextmanager
async def live_comms(shell: InteractiveShell | None) -> AsyncIterator[str]:
    """Let widget messages through while the body awaits; say how: ``native``, ``pump`` or ``none``.

    To be entered on the kernel's own loop, from a cell. ipykernel dispatches
    comm messages during an async cell only since 7.4
    (https://github.com/ipython/ipykernel/blob/v7.4.0/ipykernel/kernelbase.py,
    ``shell_main``); before that a cell holds back every message.
    """
    kernel = of(shell)
    if kernel is None or version() >= (7, 4) or getattr(kernel, _PUMPING, False):
        yield "none" if kernel is None else "native"
        return
    pump = _choose_pump(kernel)
    if pump is None:
        yield "none"
        return
    setattr(kernel, _PUMPING, True)
    try:
        async with pump:
            yield "pump"
    finally:
        delattr(kernel, _PUMPING)


@contextlib.contextmanager
def interruptible_tools() -> Iterator[None]:
    """Let the kernel's interrupt reach an async tool that blocks the loop it runs on, as ``time.sleep`` does.

    While an async cell runs, ipykernel's SIGINT handler only cancels the cell's
    future, which the loop sees when it turns again
    (https://github.com/ipython/ipykernel/blob/main/ipykernel/ipkernel.py,
    ``_cancel_on_sigint``). To be entered on the main thread, from a cell.
    """
    earlier = signal.getsignal(signal.SIGINT)
    if not callable(earlier) or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        earlier(number, frame)
        task = asyncio.current_task(loop)
        if task is not None and task.get_name() == TASK:
            # Marked as well: an error alone would pass for the tool's own, and the model be told of a failure.
            task.cancel()
            raise asyncio.CancelledError

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


@contextlib.contextmanager
def idle_for_comms(shell: InteractiveShell | None) -> Iterator[None]:
    """Publish *idle* for widget messages that are handled while an async cell runs.

    ipykernel 7.4 handles them concurrently and publishes no status for them,
    but ipywidgets' front end holds back a control's next message until it has
    seen *idle* for the last one: a slider moved in mid-run would go dead for
    ever (``_handle_status`` in https://github.com/jupyter-widgets/ipywidgets,
    ``packages/base/src/widget.ts``). *busy* follows for the running cell, so
    that the kernel's indicator stays right. Does nothing on other versions.
    """
    kernel = of(shell)
    original = getattr(kernel, "dispatch_shell", None)
    if kernel is None or original is None or version() < (7, 4) or "dispatch_shell" in vars(kernel):
        yield
        return
    if "concurrent" not in inspect.signature(original).parameters:
        yield
        return

    async def dispatch(message: Any, /, subshell_id: str | None = None, *, concurrent: bool = False) -> None:
        if not concurrent:
            await original(message, subshell_id=subshell_id)
            return
        cell, header = _parent(kernel), _peek(kernel, message)
        try:
            await original(message, subshell_id=subshell_id, concurrent=True)
        finally:
            if header is not None:
                kernel._publish_status("idle", "shell", parent=header)
            if cell is not None:
                kernel._publish_status("busy", "shell", parent=cell)

    kernel.dispatch_shell = dispatch
    try:
        yield
    finally:
        del kernel.dispatch_shell


def _choose_pump(kernel: Any) -> contextlib.AbstractAsyncContextManager[None] | None:
    if (7, 0) <= version() < (7, 4) and hasattr(kernel, "_main_asyncio_lock"):
        return _past_the_lock(kernel)
    if version()[0] == 6 and hasattr(kernel, "msg_queue") and hasattr(kernel, "shell_stream"):
        return _past_the_queue(kernel)
    return None


@contextlib.asynccontextmanager
async def _past_the_lock(kernel: Any) -> AsyncIterator[None]:
    """On ipykernel 7.0 to 7.3 ``shell_main`` takes a lock for each message: move the lock behind it."""
    lock, original = kernel._main_asyncio_lock, kernel.dispatch_shell
    cell, identity = _parent(kernel), _identity(kernel)

    async def dispatch(message: Any, /, subshell_id: str | None = None, **options: Any) -> None:
        if subshell_id is not None:
            await original(message, subshell_id=subshell_id, **options)
        elif _is_comm(kernel, message):
            with _gives_back(kernel, cell, identity):
                await original(message, subshell_id=None, **options)
        else:
            async with lock:
                await original(message, subshell_id=None, **options)

    kernel._main_asyncio_lock, kernel.dispatch_shell = contextlib.nullcontext(), dispatch
    try:
        yield
    finally:
        del kernel.dispatch_shell
        kernel._main_asyncio_lock = lock


@contextlib.asynccontextmanager
async def _past_the_queue(kernel: Any) -> AsyncIterator[None]:
    """On ipykernel 6 one task takes messages off a queue in turn: take comm messages out before it."""
    kept: list[Any] = []
    cell, identity = _parent(kernel), _identity(kernel)

    async def drain() -> None:
        while True:
            kernel.shell_stream.flush()
            while not kernel.msg_queue.empty():
                _, dispatch, arguments = item = kernel.msg_queue.get_nowait()
                if arguments and _is_comm(kernel, arguments[0]):
                    with _gives_back(kernel, cell, identity):
                        await dispatch(*arguments)
                else:
                    kept.append(item)
            await asyncio.sleep(DRAIN_SECONDS)

    draining = asyncio.ensure_future(drain())
    try:
        yield
    finally:
        draining.cancel()
        await asyncio.wait({draining})
        while not kernel.msg_queue.empty():
            kept.append(kernel.msg_queue.get_nowait())
        for item in kept:
            kernel.msg_queue.put_nowait(item)


@contextlib.contextmanager
def _gives_back(kernel: Any, cell: dict[str, Any] | None, identity: Any) -> Iterator[None]:
    """Give the running cell its place back after another message was dispatched in its midst."""
    try:
        yield
    finally:
        if cell is not None:
            kernel.set_parent(identity, cell, channel="shell")
            # The message's own "idle" made the indicator say so.
            kernel._publish_status("busy", "shell", parent=cell)


def _parent(kernel: Any) -> dict[str, Any] | None:
    """The message whose handling this is: within a cell, its execute request."""
    try:
        return _parent_of(kernel) or None
    except (AttributeError, LookupError):
        return None


def _parent_of(kernel: Any) -> Any:
    # The kernel of a browser (JupyterLite) has one channel, and takes no name of one.
    return (
        kernel.get_parent("shell") if inspect.signature(kernel.get_parent).parameters else kernel.get_parent()
    )


def _identity(kernel: Any) -> Any:
    return getattr(kernel, "_parent_ident", {}).get("shell", b"")


def _peek(kernel: Any, message: Any) -> dict[str, Any] | None:
    """A message's header, read without its content, so that it does not count as received."""
    try:
        _, frames = kernel.session.feed_identities(message, copy=False)
        peeked: dict[str, Any] = kernel.session.deserialize(frames, content=False, copy=False)
    except (ValueError, TypeError, IndexError):  # malformed: dispatching it logs that
        return None
    return peeked


def _is_comm(kernel: Any, message: Any) -> bool:
    peeked = _peek(kernel, message)
    return peeked is not None and peeked["header"].get("msg_type") in COMM_MESSAGES
