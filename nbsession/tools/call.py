"""The running of one tool call: where it runs, how long it may take, and what becomes of what it raises."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Rich, Text, ToolCall, ToolResult, bounded, result_content
from nbsession.errors import CompileError, ToolError
from nbsession.tools import steps
from nbsession.tools.pause import Pause
from nbsession.tools.steps import as_data, finish, is_stepwise, is_unfinished, run_through
from nbsession.tools.worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from nbsession.tools.context import ToolContext
    from nbsession.tools.permission import Verdict
    from nbsession.tools.steps import Tell
    from nbsession.tools.tool import Tool

TASK = "nbsession tool"
"""The name of the task that an async tool runs in on its user's loop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended: the result for the model, the value itself, and a traceback for the user.

    ``value`` is ``None`` and ``traceback`` set where it failed by accident.
    """

    result: ToolResult
    value: Any = None
    traceback: str = ""


async def run_tool(
    tool: Tool, call: ToolCall, context: ToolContext, *, user_loop: asyncio.AbstractEventLoop | None = None
) -> Outcome:
    """Run one call to its end; whatever the tool raises becomes an error result.

    The input is validated first. A sync tool runs in a worker thread, an async one on ``user_loop``
    where that is another loop that runs, else here; with ``thread=False`` both run here. Context variables reach it. What a generator yields
    is told by ``context``, as text where it is no JSON; the last of it is the value
    where it returns none. Another iterator is read as a list, of 1,000 items at most. A result that
    cannot be said, as a function, is an error. Only ``Pause`` and cancellation are raised: that is carried to an async
    tool, and leaves a thread behind, whose result is dropped; a generator is closed.
    ``KeyboardInterrupt`` in a tool gives the status ``"interrupted"``.
    """
    started = time.perf_counter()
    try:
        arguments = tool.validate(call.input)
        if tool.signature.context:
            arguments[tool.signature.context] = context
    except Exception as error:  # noqa: BLE001  # a validator of the user's may raise anything
        return _outcome(call, started, _Run(error=error))
    try:
        async with nullcontext() if tool.timeout is None else asyncio.timeout(tool.timeout):
            run = await _invoke(tool, arguments, functools.partial(_tell, context), user_loop)
    except TimeoutError:
        late = ToolError(f"{call.name} took longer than {tool.timeout:g} seconds and was given up")
        run = _Run(error=late)
    finally:
        context._emit = None
    if (pause := _pause_in(run.error)) is not None:
        raise pause
    return _outcome(call, started, run)


def _pause_in(error: BaseException | None) -> Pause | None:
    """Return the pause that an error is, also where it is all that a task group raised."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error if isinstance(error, Pause) else None


async def needs_confirmation(
    tool: Tool, call: ToolCall, context: ToolContext, verdict: Verdict | None = None
) -> str | None:
    """Return the question to ask before a call may run, or ``None`` where it needs no leave.

    A rule's ``verdict`` goes before the tool's own ``confirm``. An invalid input needs no leave: ``run_tool``
    refuses it. A confirm function that fails asks, and says so.
    """
    if not tool.confirm if verdict is None else verdict.action == "allow":
        return None
    try:
        tool.validate(call.input)
    except ToolError:
        return None
    question = f"Run {bounded(str(call), 500)}?"
    if verdict is not None:
        own = await _own_question(tool, call, context, question) if callable(tool.confirm) else None
        return f"{own or question} ({verdict.why})"
    return question if tool.confirm is True else await _own_question(tool, call, context, question)


async def _own_question(tool: Tool, call: ToolCall, context: ToolContext, question: str) -> str | None:
    """Return what the tool's own function has asked, ``None`` for nothing."""
    assert callable(tool.confirm)
    try:
        verdict = tool.confirm(call.input, context)
        if inspect.isawaitable(verdict):
            verdict = await verdict
    except Exception as error:  # noqa: BLE001  # no call may slip through because its guard broke
        return f"{question} (its confirm function raised {_one_line(error)})"
    if isinstance(verdict, str):
        return verdict or None
    return question if verdict else None


class _Run(NamedTuple):
    """What came of calling a handler; never both a value and an error.

    Where it is ``unfinished``, the value is still to be awaited, or run through.
    """

    value: Any = None
    content: tuple[Rich, ...] = ()
    error: BaseException | None = None
    unfinished: bool = False


async def _invoke(
    tool: Tool, arguments: dict[str, Any], tell: Tell, user_loop: asyncio.AbstractEventLoop | None
) -> _Run:
    handler = tool.handler
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        work = functools.partial(_call_async, handler, arguments, tell)
    else:
        run = await _in_thread(handler, arguments, tell) if tool.thread else _call(handler, arguments)
        if not run.unfinished:
            return run
        if inspect.isgenerator(run.value):  # as any sync tool that wants no thread: on this loop
            return await _finish(run.value, tell)
        work = functools.partial(_finish, run.value, tell)
    elsewhere = user_loop is not None and user_loop.is_running() and tool.thread
    if user_loop is None or not elsewhere or user_loop is asyncio.get_running_loop():
        return await work()

    async def named() -> _Run:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(TASK)
        return await work()

    try:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(named(), user_loop))
    except asyncio.CancelledError as error:
        _cancelled_inside(error)
        # Only the tool's own task was cancelled, on the user's loop: that is their interrupt.
        return _Run(error=KeyboardInterrupt("stopped by the interrupt"))


async def _in_thread(handler: Callable[..., Any], arguments: dict[str, Any], tell: Tell) -> _Run:
    """Call a handler, and run a generator that it gives through, in a worker thread."""
    given_up = False

    def call() -> _Run:
        run = _call(handler, arguments)
        return _through(run.value, tell, lambda: given_up) if inspect.isgenerator(run.value) else run

    try:
        return await in_thread(call)
    finally:
        given_up = True


def _call(handler: Callable[..., Any], arguments: dict[str, Any]) -> _Run:
    try:
        value = handler(**arguments)
        if is_unfinished(value) and is_stepwise(handler):
            return _Run(value, unfinished=True)
        return _given(value)
    except BaseException as error:  # noqa: BLE001  # even SystemExit must not end the thread or the loop
        return _Run(error=error)


def _through(steps: Generator[Any, Any, Any], tell: Tell, is_given_up: Callable[[], bool]) -> _Run:
    """Run a generator that a call gave through, in the thread that called."""
    try:
        return _given(run_through(steps, tell, is_given_up))
    except BaseException as error:  # noqa: BLE001  # as above
        return _Run(error=error)


async def _call_async(handler: Callable[..., Any], arguments: dict[str, Any], tell: Tell) -> _Run:
    try:
        value = handler(**arguments)
    except BaseException as error:  # noqa: BLE001  # as above
        return _Run(error=error)
    return await _finish(value, tell)


def _given(value: Any) -> _Run:
    """Return what a tool gave, with what a model reads of it where that is all."""
    value = as_data(value)
    if is_unfinished(value):
        return _Run(value, unfinished=True)
    try:
        return _Run(value, result_content(value))
    except CompileError as error:
        raise ToolError(f"what the tool gave cannot be said: {error}") from error


async def _finish(value: Any, tell: Tell) -> _Run:
    try:
        run = _Run(value, unfinished=True)
        while run.unfinished:
            run = _given(await finish(run.value, tell))
        return run
    except asyncio.CancelledError as error:
        return _cancelled_inside(error)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001  # as above
        return _Run(error=error)


def _tell(context: ToolContext, value: Any) -> None:
    """Tell of a yielded value as progress."""
    try:
        context.emit(value)
    except Exception:  # noqa: BLE001  # it is no JSON, or fails to say it: then what a model would read of it is
        context.emit(_in_words(value))


def _in_words(value: Any) -> str:
    """Return what a model would read of a value; of one that cannot be said, what it is: that ends no work."""
    try:
        return "\n".join(map(str, result_content(value)))
    except CompileError:
        return f"({type(value).__name__})"


def _cancelled_inside(error: asyncio.CancelledError) -> _Run:
    """Tell a tool that cancelled itself, which is its failure, from a cancelled call, which goes on up."""
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return _Run(error=error)


def _outcome(call: ToolCall, started: float, run: _Run) -> Outcome:
    duration = time.perf_counter() - started
    error = run.error
    if error is None:
        return Outcome(ToolResult(call.id, call.name, run.content, duration=duration), run.value)
    deliberate = isinstance(error, ToolError)
    text = (str(error) if deliberate else _one_line(error)) or f"{call.name} failed"
    result = ToolResult(
        call.id,
        call.name,
        (Text(bounded(text)),),
        is_error=True,
        status="interrupted" if isinstance(error, KeyboardInterrupt) else "error",
        duration=duration,
    )
    return Outcome(result, None, "" if deliberate else _formatted(error))


def _one_line(error: BaseException) -> str:
    message = bounded(" ".join(str(error).split()), 1000)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _formatted(error: BaseException) -> str:
    """Return the traceback from the tool's own first frame on."""
    trace = error.__traceback__
    ours = (__file__, steps.__file__)
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))
