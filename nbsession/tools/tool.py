"""Tools: functions that a model may call, and their specs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload
from weakref import WeakValueDictionary

from nbsession.errors import CompileError
from nbsession.tools.context import ToolContext
from nbsession.tools.signature import Signature, capture, code_of, signature_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pydantic import BaseModel

    from nbsession.content import ToolSpec


Audience: TypeAlias = Literal["model", "user"]
"""Who may call a tool: the model, or only the user, by ``session.dispatch``."""

Confirm: TypeAlias = "bool | Callable[[Mapping[str, Any], ToolContext], bool | str | Awaitable[bool | str]]"
"""Whether a call has to be allowed first; a function decides by the input and may word the question."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_known_names: set[str] = set()


class Tool:
    """A function that a model may call. Tools are compared by identity.

    Usually made by ``@tool``. The long form names everything: ``input`` is a
    pydantic model, and ``handler`` gets an instance of it, or a JSON schema of an object, which the
    model is given as it is, and ``handler`` gets the input as a dict. ``timeout`` is in
    seconds; ``thread=False`` runs a handler on the sessions' own event loop, which
    it must not block. Calling a tool calls its function. ``qualified`` is the same tool under a
    longer name, which it has where another tool has its own; without it, two of one name are an error.
    ``known_as`` are names that it does not have now, and by which it is refused and asked about all the same.

    A method marked ``@tool`` is a tool of each instance: ``agent.search`` is the same
    one for as long as anything holds it. Read from the class it may be called, and not
    be given to a model.
    """

    __slots__ = (
        "__isabstractmethod__",
        "__weakref__",
        "_bound",
        "_captured",
        "_description",
        "_input",
        "_kind",
        "_of_class",
        "_signature",
        "_spec",
        "aliases",
        "audience",
        "confirm",
        "handler",
        "known_as",
        "name",
        "parallel",
        "parts",
        "qualified",
        "thread",
        "timeout",
    )

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        input: type[BaseModel] | Mapping[str, Any] | None = None,
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
        function = handler.__func__ if isinstance(handler, (staticmethod, classmethod)) else handler
        self._kind: type = type(handler)
        self.handler = function if self._kind is staticmethod else handler
        self.__isabstractmethod__: bool = getattr(handler, "__isabstractmethod__", False)
        self._of_class = ""  # as "Shop(…).buy", where to read it, while it is a method without its object
        self._bound: WeakValueDictionary[int, Tool] | None = None
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
        self.qualified: Tool | None = None
        self.known_as: tuple[str, ...] = ()
        self.parts: dict[str, Any] = {}  # what stands for it in contexts, by path; the compiler keeps it here
        if audience != "model" or aliases or timeout is not None or confirm is not False:
            _check_options(self)
        record = code_of(function, self.name)
        self._captured: Mapping[str, Any] = (
            capture(record, function, globals()) if record is not None and record.captures else _NOTHING
        )

    def __set_name__(self, owner: type, name: str) -> None:
        """Be a method of the class in whose body the function stands; one from elsewhere stays what it is."""
        within = getattr(self.handler, "__qualname__", "").rpartition(".")
        if self._kind is not staticmethod and within[0] == owner.__qualname__ and within[2] != "<lambda>":
            self._of_class = f"{owner.__name__}(…).{name}"

    def __get__(self, instance: Any, owner: type) -> Tool:
        """Return the tool of an instance (of the class, for a class method)."""
        inside_classmethod = instance is owner  # as that reads what it was put around
        if self._kind is classmethod:
            target = owner
        elif instance is not None and (self._of_class or inside_classmethod):
            target = instance
        else:
            return self
        if self._bound is None:
            self._bound = WeakValueDictionary()
        # An id stands for one object for as long as the tool is there, since that holds the object.
        known = self._bound.get(id(target))
        if known is None:
            made = self._copy()
            made.handler = self.handler.__get__(target, owner)
            made._kind = type(made.handler)
            known = self._bound.setdefault(id(target), made)
        return known

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
            if self._of_class:
                raise CompileError(
                    f"tool {self.name!r} is a method that was read from the class {self._of_class.partition('(')[0]}; "
                    f"read it from an instance: {self._of_class}"
                )
            self._signature = signature_of(
                self.handler, self.name, input=self._input, injected=ToolContext, captured=self._captured
            )
        return self._signature

    def replace(self, name: str | None = None, description: str | None = None) -> Tool:
        """Return the same tool under another name or description; this one stays as it is."""
        copy = self._copy()
        copy._signature, copy._of_class = self._signature, self._of_class
        if name is not None:
            _check_name(name)
            copy.name = name
        if description is not None:
            copy._description = description
        return copy

    def qualify(self, longer: str) -> None:
        """Give it a longer name, for where another tool has its own; rules that refuse or ask know it by both."""
        self.qualified = self.replace(name=longer)
        self.known_as, self.qualified.known_as = (longer,), (self.name,)

    def _copy(self) -> Tool:
        copy = Tool.__new__(Tool)
        for slot in Tool.__slots__:
            if slot != "__weakref__":
                setattr(copy, slot, getattr(self, slot))
        copy._spec = copy._signature = copy._bound = None
        copy._of_class = ""
        copy.parts = {}
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
    ``parallel`` says that it may run beside others; ``thread=False`` runs it
    on the sessions' own event loop, a sync function instead of in a worker thread, an async one instead of on
    a notebook's loop, which a cell may block. What a generator yields is
    progress, as told by ``ToolContext.emit``; what it returns, or else the last that it
    yielded, is the result. In a class, it makes the
    method a tool of each instance; it stands above ``@classmethod`` and
    ``@staticmethod``, and on either side of ``@abstractmethod``. Raises ``CompileError`` for names and signatures that cannot be a tool's.
    """
    if function is not None:
        return Tool(handler=function, **options)
    return lambda function: Tool(handler=function, **options)


def _name_of(handler: Callable[..., Any]) -> str:
    name = getattr(handler, "__name__", None)
    if not isinstance(name, str):
        raise CompileError(
            f"{handler!r} has no name to call the tool by; pass name=, as in @tool(name='search')"
        )
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
