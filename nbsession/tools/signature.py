"""A tool's signature: the JSON schema of its input, and the check of one input.

Tools are made anew each time the component around them renders. Whatever is
derived from their function is therefore kept by its code object, and made only
when it is first asked for.
"""

from __future__ import annotations

import builtins
import inspect
import sys
import threading
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import ToolSpec
from nbsession.errors import CompileError, ToolError
from nbsession.tools import docstring
from nbsession.tools.input_faults import explain, unknown_parameters
from nbsession.tools.input_model import input_model, input_schema, is_field
from nbsession.tools.json_schema import checkable
from nbsession.tools.schema_faults import faults_against

if TYPE_CHECKING:
    from pydantic import BaseModel

_MOST_CODES = 1024
_MOST_SIGNATURES_PER_CODE = 8


class Signature:
    """What a function takes, as the model sees it.

    ``description`` is the docstring without its parameters; ``schema`` the JSON
    schema of the input, an object; ``context`` the name of the parameter that
    gets the ``ToolContext``, or ``""``.
    """

    __slots__ = (
        "_fields",
        "_forced",
        "_model",
        "_specs",
        "_whole",
        "context",
        "description",
        "names",
        "schema",
    )

    def __init__(
        self,
        model: type[BaseModel] | None,
        schema: Mapping[str, Any],
        *,
        description: str,
        context: str,
        fields: Mapping[str, str] | None = None,
        forced: frozenset[str] = frozenset(),
        whole: str = "",
    ) -> None:
        self._model = model
        self._fields = dict(fields or {})
        self._forced = forced
        self._whole = whole
        self._specs: dict[tuple[str, str], ToolSpec] = {}
        self.schema = schema
        self.description = description
        self.context = context
        self.names = None if model is None else _accepted_names(model, schema)

    def spec(self, name: str, description: str) -> ToolSpec:
        """Return the spec under a name and a description, the same object each time."""
        spec = self._specs.get((name, description))
        if spec is None:
            if len(self._specs) >= _MOST_SIGNATURES_PER_CODE:
                self._specs.clear()
            spec = self._specs[name, description] = ToolSpec(name, description, self.schema)
        return spec

    def validate(self, tool: str, given: Any) -> dict[str, Any]:
        """Return the keyword arguments that ``given`` stands for, without those left to their defaults.

        Raises ``ToolError`` with one line per fault.
        """
        import pydantic

        if not isinstance(given, Mapping):
            raise ToolError(f"invalid input for {tool}: expected an object, got {type(given).__name__}")
        if self._model is None:
            return self._by_schema(tool, given)
        faults = unknown_parameters(given, self.names) if self.names is not None else []
        cleaned = {key: value for key, value in given.items() if self.names is None or key in self.names}
        try:
            values = self._model.model_validate(cleaned)
        except pydantic.ValidationError as error:
            faults += explain(error.errors(include_url=False, include_context=False))
        else:
            if not faults:
                return self._arguments(values)
        raise ToolError(f"invalid input for {tool}:\n" + "\n".join(f"- {fault}" for fault in faults))

    def _by_schema(self, tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
        try:
            faults = faults_against(checkable(self.schema), dict(given))
        except Exception:  # noqa: BLE001  # somebody else's schema may hold anything, and they check the input themselves
            faults = []
        if faults:
            raise ToolError(f"invalid input for {tool}:\n" + "\n".join(f"- {fault}" for fault in faults))
        return {self._whole: dict(given)}

    def _arguments(self, values: BaseModel) -> dict[str, Any]:
        if self._whole:
            return {self._whole: values}
        given = values.model_fields_set | self._forced
        return {name: getattr(values, field) for field, name in self._fields.items() if field in given}


def _accepted_names(model: type[BaseModel], schema: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the names that an input may hold; ``None`` where the model takes any."""
    config = model.model_config
    if config.get("extra") == "allow":
        return None
    names = set(schema.get("properties", ()))
    if config.get("populate_by_name") or config.get("validate_by_name"):
        names.update(model.model_fields)
    return frozenset(names)


class _Variant(typing.NamedTuple):
    """One signature of a code object, and what has to be the same for it to hold."""

    facts: tuple[Any, ...]
    globals: dict[str, Any]
    signature: Signature


class Code:
    """What is kept for one code object.

    ``captures`` are the names, in string annotations, that only the surrounding
    function knows: each with its place in the closure, or -1 for a local of it.
    """

    __slots__ = ("captures", "code", "globals", "variants")

    def __init__(self, function: Callable[..., Any], code: types.CodeType) -> None:
        self.code = code
        self.variants: list[_Variant] = []
        self.captures: tuple[tuple[str, int], ...] = ()
        self.globals: tuple[str, ...] = ()
        names = _names_in_strings(function)
        if names:
            known = getattr(function, "__globals__", {})
            missing = [name for name in names if name not in known and not hasattr(builtins, name)]
            free = code.co_freevars
            self.captures = tuple((name, free.index(name) if name in free else -1) for name in missing)
            self.globals = tuple(name for name in names if name in known)


_codes: dict[int, Code] = {}
_lock = threading.Lock()


def code_of(function: Callable[..., Any], name: str) -> Code | None:
    """Return the record of a function's code, refusing what cannot be a tool.

    ``None`` where there is no code object, as for built-in functions. Raises
    ``CompileError``.
    """
    function = _written(function)  # the code of a decorator is that of all it decorates
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    # By identity: code objects compare by value, which is slow, and equal ones may have different globals.
    record = _codes.get(id(code))
    if record is None or record.code is not code:
        _refuse_shape(function, code, name)
        record = Code(function, code)
        with _lock:
            while len(_codes) >= _MOST_CODES:
                del _codes[next(iter(_codes))]
            _codes[id(code)] = record
    return record


def capture(record: Code, function: Callable[..., Any], package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the surrounding function's names that the annotations need; called while it is still running.

    ``package`` is the globals of the module that asks: its frames are skipped.
    """
    found: dict[str, Any] = {}
    closure = getattr(_written(function), "__closure__", None) or ()
    frame: types.FrameType | None = None
    for name, place in record.captures:
        if 0 <= place < len(closure):
            try:
                found[name] = closure[place].cell_contents
                continue
            except ValueError:  # not bound yet
                pass
        if frame is None:
            frame = sys._getframe(1)
            while frame.f_back is not None and frame.f_globals is package:
                frame = frame.f_back
        if name in frame.f_locals:
            found[name] = frame.f_locals[name]
    return found


def signature_of(
    function: Callable[..., Any],
    name: str,
    *,
    input: type[BaseModel] | Mapping[str, Any] | None,
    injected: type,
    captured: Mapping[str, Any],
) -> Signature:
    """Return the signature of a tool's function, from what is kept where that still holds.

    ``input`` is the model or the schema of the long form; a parameter annotated ``injected``
    is no part of the input. Raises ``CompileError`` for what has no schema.
    """
    record = code_of(function, name)
    if record is None or isinstance(input, Mapping):  # one function stands for many schemas
        return _derive(function, name, input, injected, captured)
    written: Any = _written(function)
    facts = (
        input,
        _annotations(written, name),
        written.__defaults__,
        written.__kwdefaults__,
        function.__doc__,
        captured,
        type(function),
    )
    known = written.__globals__ if record.globals else {}
    for variant in record.variants:
        if _same(variant.facts, facts) and all(known.get(n) is v for n, v in variant.globals.items()):
            return variant.signature
    signature = _derive(function, name, input, injected, captured)
    variant = _Variant(facts, {name: known.get(name) for name in record.globals}, signature)
    record.variants = [*record.variants[-_MOST_SIGNATURES_PER_CODE + 1 :], variant]
    return signature


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside its decorators."""
    return inspect.unwrap(function) if hasattr(function, "__wrapped__") else function


def _annotations(function: Callable[..., Any], name: str) -> Mapping[str, Any]:
    try:
        return function.__annotations__
    except NameError as error:  # since Python 3.14 they are evaluated here
        raise CompileError(
            f"tool {name!r}: an annotation ({_place(function)}) cannot be read: {error}; "
            "define it at module level, before the tool"
        ) from error


def _same(one: Any, other: Any) -> bool:
    """Compare facts; 1 and ``True`` differ, and what cannot be compared is not the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  # arrays and the like have no plain equality
        return False


def _names_in_strings(function: Callable[..., Any]) -> list[str]:
    try:
        annotations = [value for value in function.__annotations__.values() if isinstance(value, str)]
    except (NameError, AttributeError):  # told with the parameter's name when the signature is made
        return []
    names: dict[str, None] = {}
    for text in annotations:
        try:
            code = compile(text, "<annotation>", "eval")
        except SyntaxError:
            continue
        names.update(dict.fromkeys(code.co_names))
        if not code.co_names:  # a string in quotes, under postponed evaluation
            annotations += [inner for inner in code.co_consts if isinstance(inner, str)]
    return list(names)


def _refuse_shape(function: Callable[..., Any], code: types.CodeType, name: str) -> None:
    words = []
    if code.co_flags & inspect.CO_VARARGS:
        words.append("*" + code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    if code.co_flags & inspect.CO_VARKEYWORDS:
        last = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
        words.append("**" + code.co_varnames[last])
    if words:
        raise CompileError(
            f"tool {name!r} takes {' and '.join(words)} ({_place(function)}); give each parameter a name of its own"
        )
    if code.co_posonlyargcount and not inspect.ismethod(function):
        raise CompileError(
            f"tool {name!r} has positional-only parameters ({_place(function)}); take the '/' away"
        )


def _derive(
    function: Callable[..., Any],
    name: str,
    input: type[BaseModel] | Mapping[str, Any] | None,
    injected: type,
    captured: Mapping[str, Any],
) -> Signature:
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise CompileError(
            f"tool {name!r} has no signature to read: {error}; wrap it in a function"
        ) from error
    # A type checker's import is no import: the one name that we know ourselves need not be there.
    names = {injected.__name__: injected, **getattr(_written(function), "__globals__", {}), **captured}
    hints = {key: _resolve(function, name, parameter, names) for key, parameter in found.items()}
    context = next((key for key, hint in hints.items() if _is_injected(hint, injected)), "")
    parameters = [parameter for key, parameter in found.items() if key != context]
    documented = docstring.parse(function.__doc__)
    if input is not None:
        return _of_model(function, name, input, parameters, documented.description, context)
    _refuse_parameters(function, name, parameters)
    fields = {f"p{position}": parameter for position, parameter in enumerate(parameters)}
    model = input_model(name, fields, hints, documented.parameters)
    return Signature(
        model,
        input_schema(model, name),
        description=documented.description,
        context=context,
        fields={field: parameter.name for field, parameter in fields.items()},
        forced=frozenset(field for field, parameter in fields.items() if is_field(parameter.default)),
    )


def _of_model(
    function: Callable[..., Any],
    name: str,
    input: type[BaseModel] | Mapping[str, Any],
    parameters: list[inspect.Parameter],
    description: str,
    context: str,
) -> Signature:
    required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(required) != 1:
        raise CompileError(
            f"the handler of tool {name!r} ({_place(function)}) must take one parameter, the {'dict' if isinstance(input, Mapping) else input.__name__}, "
            f"besides a ToolContext; it takes {len(required)}"
        )
    if isinstance(input, Mapping):
        if input.get("type") != "object":
            raise CompileError(
                f"tool {name!r}: the schema of its input must be of type 'object', got {input.get('type')!r}"
            )
        return Signature(None, input, description=description, context=context, whole=required[0].name)
    schema = input_schema(input, name)
    own = schema.pop("description", "")
    return Signature(input, schema, description=own or description, context=context, whole=required[0].name)


def _refuse_parameters(function: Callable[..., Any], name: str, parameters: list[inspect.Parameter]) -> None:
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise CompileError(
                f"tool {name!r} takes {parameter.name!r} by its position only ({_place(function)}), "
                "and a model gives arguments by name; wrap it in a function"
            )
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise CompileError(
                f"tool {name!r} takes {parameter} ({_place(function)}); give each parameter a name of its own"
            )
    if (
        parameters
        and parameters[0].name in ("self", "cls")
        and parameters[0].annotation is inspect.Parameter.empty
    ):
        within, _, written = getattr(function, "__qualname__", "").rpartition(".")
        in_class = bool(within) and not within.endswith("<locals>")
        raise CompileError(
            f"tool {name!r} is a method without its object ({_place(function)}); "
            + (
                f"make it of the bound method: tool(instance.{written})"
                if in_class
                else f"define it in its class, under @tool, or take {parameters[0].name!r} away"
            )
        )


def _resolve(
    function: Callable[..., Any], name: str, parameter: inspect.Parameter, names: dict[str, Any]
) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    # As of a class, where Final and ClassVar can be read too.
    holder = type("Parameters", (), {"__annotations__": {parameter.name: annotation}})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)[parameter.name]
    except Exception as error:
        raise CompileError(
            f"tool {name!r}: the annotation {annotation!r} of {parameter.name!r} ({_place(function)}) cannot be read: "
            f"{type(error).__name__}: {error}; define or import it at module level (not under TYPE_CHECKING)"
        ) from error


def _is_injected(hint: Any, injected: type) -> bool:
    if hint is injected:
        return True
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    return injected in members


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    where = getattr(function, "__qualname__", repr(function))
    return f"{where}, line {code.co_firstlineno}" if code is not None else where
