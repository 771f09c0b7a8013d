"""The pydantic model of a function's parameters, and a model's JSON schema."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Annotated, Any

from nbsession.errors import CompileError
from nbsession.tools.hint import readable
from nbsession.tools.json_schema import generator, object_schema, tidy
from nbsession.tools.type_faults import fault_of

if TYPE_CHECKING:
    import inspect
    from collections.abc import Mapping

    from pydantic import BaseModel


def is_field(value: Any) -> bool:
    """Say whether a default is a pydantic ``Field(...)``, which the function itself cannot use."""
    from pydantic.fields import FieldInfo

    return isinstance(value, FieldInfo)


def input_model(
    name: str, fields: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], texts: Mapping[str, str]
) -> type[BaseModel]:
    """Make the model of a tool's input from its parameters, their types and what is said of them.

    Its fields have names of our own, and the parameters' as aliases: those may
    be called ``json`` or ``_x``. Raises ``CompileError`` for a type that no JSON
    can give.
    """
    from pydantic import ConfigDict, create_model

    definitions: dict[str, Any] = {}
    for field, parameter in fields.items():
        default = ... if parameter.default is parameter.empty else parameter.default
        hint = readable(hints[parameter.name])
        if default is None and hint is not Any:
            hint = typing.Optional[hint]  # noqa: UP045  # it is a value, not an annotation
        hint = _described(hint, parameter.name, texts.get(parameter.name))
        definitions[field] = (hint, default)
    try:
        model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **definitions)
    except Exception as error:
        raise _refused(name, hints, error) from error
    if len(model.model_fields) < len(fields):  # a ClassVar is none
        raise _refused(name, hints)
    return model


def _refused(name: str, hints: Mapping[str, Any], error: Exception | None = None) -> CompileError:
    """Return the error that names the parameter whose type is to blame."""
    for parameter, hint in hints.items():
        fault = fault_of(hint)
        if fault:
            return CompileError(f"tool {name!r}: the parameter {parameter!r} is of type {fault}")
    return CompileError(f"tool {name!r}: its input has no model: {error}")


def _described(hint: Any, name: str, text: str | None) -> Any:
    """Annotate a type with its parameter's name and text, behind which what the author annotated has its say."""
    from pydantic import Field

    own, said = hint, ()
    if typing.get_origin(hint) is Annotated:
        own, said = hint.__origin__, hint.__metadata__
    return Annotated[(own, Field(alias=name, description=text), *said)]


def input_schema(model: type[BaseModel], name: str) -> dict[str, Any]:
    """Return the JSON schema of a tool's input. Raises ``CompileError`` where that is no object."""
    try:
        schema = object_schema(tidy(model.model_json_schema(schema_generator=generator())))
    except Exception as error:
        hints = {field.alias or key: field.annotation for key, field in model.model_fields.items()}
        raise _refused(name, hints, error) from error
    if schema.get("type") != "object":
        raise CompileError(
            f"tool {name!r}: its input must be an object, and {model.__name__} is "
            f"{schema.get('type') or 'a union'}; put it into a field of a model"
        )
    schema.setdefault("properties", {})
    return dict(schema)
