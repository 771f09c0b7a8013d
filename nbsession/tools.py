"""Tools: functions that a model may call, their specs, and the running of one call."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, overload

from nbsession.content import Text, ToolCall, ToolResult, ToolSpec
from nbsession.errors import CompileError, ToolError
from nbsession.rich import Rich, bounded, result_content
from nbsession.signature import Signature, capture, code_of, signature_of
from nbsession.worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pydantic import BaseModel

    from nbsession.session import Session

Audience: TypeAlias = Literal["model", "user"]
"""Who may call a tool: the model, or only the user, by ``session.dispatch``."""

Confirm: TypeAlias = "bool | Callable[[Mapping[str, Any], ToolContext], bool | str | Awaitable[bool | str]]"
"""Whether a call has to be allowed first; a function decides by the input and may word the question."""

TASK = "nbsession tool"
"""The name of the task that an async tool runs in on its user's loop."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_known_names: set[str] = set()


class ToolContext:
    """What a running tool may reach; injected into a parameter annotated with this type.

    ``session`` is ``None`` outside a session; ``call_id`` and ``name`` are the
    call's.
    """

    __slots__ = ("_emit", "_spawn", "call_id", "name", "session")

    def __init__(
        self,
        session: Session | None = None,
        call_id: str = "",
        name: str = "",
        *,
        emit: Callable[[Any], None] | None = None,
        spawn: Callable[..., Any] | None = None,
    ) -> None:
        self.session = session
        self.call_id = call_id
        self.name = name
        self._emit = emit
        self._spawn = spawn

    def emit(self, data: Any) -> None:
        """Tell of progress: ``data`` (JSON) reaches readers as a ``tool_progress`` event.

        Nothing is told once the call has ended, as by a thread that was left behind.
        """
        if self._emit is not None:
            self._emit(data)

    def spawn(self, *arguments: Any, **options: Any) -> Any:
        """Start a session of its own under this one, as ``session.spawn`` does, and return its execution."""
        if self._spawn is None:
            raise ToolError(f"{self.name or 'this tool'} runs without a session, so it cannot spawn one")
        return self._spawn(*arguments, **options)


class Tool:
    """A function that a model may call. Tools are compared by identity.

    Usually made by ``@tool``. The long form names everything: ``input`` is a
    pydantic model, and ``handler`` gets an instance of it. ``timeout`` is in
    seconds; ``thread=False`` runs a sync handler on the event loop itself, which
    it must not block. Calling a tool calls its function.
    """

    __slots__ = (
        "_captured",
        "_description",
        "_input",
        "_signature",
        "_spec",
        "aliases",
        "audience",
        "confirm",
        "handler",
        "name",
        "parallel",
        "parts",
        "thread",
        "timeout",
    )

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        input: type[BaseModel] | None = None,
        *,
        handler: Callable[..., Any],
        audience: Audience = "model",
        aliases: Sequence[str] = (),
        timeout: float | None = None,
        confirm: Confirm = False,
        parallel: bool = False,
        thread: bool = True,
    ) -> None:
        self.name: str = name if name is not None else _name_of(handler)
        if self.name not in _known_names:
            _check_name(self.name)
        self.handler = handler
        self.audience = audience
        self.aliases = aliases
        self.timeout = timeout
        self.confirm = confirm
        self.parallel = parallel
        self.thread = thread
        self._description = description
        self._input = input
        self._signature: Signature | None = None
        self._spec: ToolSpec | None = None
        self.parts: dict[str, Any] = {}  # what stands for it in contexts, by path; the compiler keeps it here
        if audience != "model" or aliases or timeout is not None or confirm is not False:
            _check_options(self)
        record = code_of(handler, self.name)
        self._captured: Mapping[str, Any] = (
            capture(record, handler, globals()) if record is not None and record.captures else _NOTHING
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @property
    def spec(self) -> ToolSpec:
        """The tool as the model sees it. Raises ``CompileError`` for a signature that has no JSON schema."""
        if self._spec is None:
            signature = self.signature
            description = signature.description if self._description is None else self._description
            self._spec = signature.spec(self.name, description)
        return self._spec

    @property
    def signature(self) -> Signature:
        """What the function takes."""
        if self._signature is None:
            self._signature = signature_of(
                self.handler, self.name, input=self._input, injected=ToolContext, captured=self._captured
            )
        return self._signature

    def replace(self, name: str | None = None, description: str | None = None) -> Tool:
        """Return the same tool under another name or description; this one stays as it is."""
        copy = Tool.__new__(Tool)
        for slot in Tool.__slots__:
            setattr(copy, slot, getattr(self, slot))
        copy._spec = None
        copy.parts = {}
        if name is not None:
            _check_name(name)
            copy.name = name
        if description is not None:
            copy._description = description
        return copy

    def validate(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments for an input; defaults are left to the function.

        Raises ``ToolError`` with a line per fault: the parameter, what was
        expected, what was given.
        """
        return self.signature.validate(self.name, input)


_NOTHING: Mapping[str, Any] = {}


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    audience: Audience = "model",
    aliases: Sequence[str] = (),
    timeout: float | None = None,
    confirm: Confirm = False,
    parallel: bool = False,
    thread: bool = True,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Tool | Callable[..., Tool]:
    """Make a function a tool that a model may call: ``@tool`` or ``@tool(name=..., ...)``.

    Name, description and JSON schema come from the signature and the docstring
    (Google, NumPy or Sphinx style). ``audience="user"`` keeps it from the model;
    ``aliases`` are other names that a call may use; ``timeout`` is in seconds;
    ``confirm`` asks before each call (or a function of input and context decides);
    ``parallel`` says that it may run beside others; ``thread=False`` runs a sync
    function on the event loop instead of a worker thread. Raises
    ``CompileError`` for names and signatures that cannot be a tool's.
    """
    if function is not None:
        return Tool(handler=function, **options)
    return lambda function: Tool(handler=function, **options)


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

    The input is validated first. A sync tool runs in a worker thread (with
    ``thread=False`` here), an async one on ``user_loop`` where that is another
    loop that runs, else here; context variables reach it. Only cancellation is
    raised: it is carried to an async tool, and leaves a thread behind, whose
    result is dropped. ``KeyboardInterrupt`` in a tool gives the status
    ``"interrupted"``.
    """
    started = time.perf_counter()
    try:
        arguments = tool.validate(call.input)
        if tool.signature.context:
            arguments[tool.signature.context] = context
    except Exception as error:  # noqa: BLE001  # a validator of the user's may raise anything
        return _outcome(call, started, _Run(error=error))
    try:
        async with asyncio.timeout(tool.timeout):
            run = await _invoke(tool, arguments, user_loop)
    except TimeoutError:
        late = ToolError(f"{call.name} took longer than {tool.timeout:g} seconds and was given up")
        run = _Run(error=late)
    finally:
        context._emit = None
    return _outcome(call, started, run)


async def needs_confirmation(tool: Tool, call: ToolCall, context: ToolContext) -> str | None:
    """Return the question to ask before a call may run, or ``None`` where it needs no leave.

    An invalid input needs none: ``run_tool`` refuses it. A confirm function that
    fails asks, and says so.
    """
    if not tool.confirm:
        return None
    try:
        tool.validate(call.input)
    except ToolError:
        return None
    question = f"Run {bounded(str(call), 500)}?"
    if tool.confirm is True:
        return question
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
    """What came of calling a handler; never both a value and an error."""

    value: Any = None
    content: tuple[Rich, ...] = ()
    error: BaseException | None = None


async def _invoke(tool: Tool, arguments: dict[str, Any], user_loop: asyncio.AbstractEventLoop | None) -> _Run:
    if not inspect.iscoroutinefunction(tool.handler):
        call = functools.partial(_call, tool.handler, arguments)
        run = await in_thread(call) if tool.thread else call()
        if run.error is not None or not inspect.isawaitable(run.value):
            return run
        steps = functools.partial(_await, run.value)
    else:
        steps = functools.partial(_call_async, tool.handler, arguments)
    if user_loop is None or user_loop is asyncio.get_running_loop() or not user_loop.is_running():
        return await steps()

    async def named() -> _Run:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(TASK)
        return await steps()

    try:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(named(), user_loop))
    except asyncio.CancelledError as error:
        _cancelled_inside(error)
        # Only the tool's own task was cancelled, on the user's loop: that is their interrupt.
        return _Run(error=KeyboardInterrupt("stopped by the interrupt"))


def _call(handler: Callable[..., Any], arguments: dict[str, Any]) -> _Run:
    try:
        value = handler(**arguments)
        return _Run(value, () if inspect.isawaitable(value) else result_content(value))
    except BaseException as error:  # noqa: BLE001  # even SystemExit must not end the thread or the loop
        return _Run(error=error)


async def _call_async(handler: Callable[..., Awaitable[Any]], arguments: dict[str, Any]) -> _Run:
    try:
        awaitable = handler(**arguments)
    except BaseException as error:  # noqa: BLE001  # as above
        return _Run(error=error)
    return await _await(awaitable)


async def _await(awaitable: Awaitable[Any]) -> _Run:
    try:
        value = await awaitable
        return _Run(value, result_content(value))
    except asyncio.CancelledError as error:
        return _cancelled_inside(error)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001  # as above
        return _Run(error=error)


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
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _name_of(handler: Callable[..., Any]) -> str:
    name = getattr(handler, "__name__", None)
    if not isinstance(name, str):
        raise CompileError(f"{handler!r} has no name to call the tool by; pass name=")
    return name


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CompileError(
            f"a tool's name must be 1 to 128 letters, digits, '_' or '-', got {name!r}; pass another as name="
        )
    if len(_known_names) > 4096:
        _known_names.clear()
    _known_names.add(name)


def _check_options(tool: Tool) -> None:
    """Refuse options that would only fail once the tool is called."""
    if tool.audience not in ("model", "user"):
        raise CompileError(
            f"tool {tool.name!r} has the audience {tool.audience!r}; it is 'model' (which a user may dispatch too) or 'user'"
        )
    if isinstance(tool.aliases, str):
        raise CompileError(f"tool {tool.name!r} needs a list of aliases, got {tool.aliases!r}")
    for alias in tool.aliases:
        _check_name(alias)
    timeout = tool.timeout
    if timeout is not None and not timeout > 0:
        raise CompileError(f"tool {tool.name!r} needs a timeout above 0 seconds, got {timeout!r}")
    if not isinstance(tool.confirm, bool) and not callable(tool.confirm):
        raise CompileError(
            f"tool {tool.name!r} needs True, False or a function as confirm, got {tool.confirm!r}"
        )
