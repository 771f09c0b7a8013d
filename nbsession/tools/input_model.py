"""The pydantic model of a function's parameters, and a model's JSON schema."""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Annotated, Any

from nbsession.errors import CompileError

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
        hint = hints[parameter.name]
        if default is None and hint is not Any:
            hint = typing.Optional[hint]  # noqa: UP045  # it is a value, not an annotation
        hint = _described(hint, parameter.name, texts.get(parameter.name))
        definitions[field] = (hint, default)
    try:
        model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **definitions)
    except Exception as error:
        raise CompileError(f"tool {name!r}: {_culprit(fields, hints, error)}") from error
    return model


def _described(hint: Any, name: str, text: str | None) -> Any:
    """Annotate a type with its parameter's name and text, behind which what the author annotated has its say."""
    from pydantic import Field

    own, said = hint, ()
    if typing.get_origin(hint) is Annotated:
        own, said = hint.__origin__, hint.__metadata__
    return Annotated[(own, Field(alias=name, description=text), *said)]


def _culprit(fields: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], error: Exception) -> str:
    from pydantic import TypeAdapter

    for parameter in fields.values():
        try:
            TypeAdapter(hints[parameter.name])
        except Exception:  # noqa: BLE001  # it is the one looked for
            return (
                f"the parameter {parameter.name!r} is of type {hints[parameter.name]!r}, which no JSON can give; "
                "use text, numbers, lists, dicts, enums, dataclasses or pydantic models"
            )
    return f"its input has no model: {error}"


def input_schema(model: type[BaseModel], name: str) -> dict[str, Any]:
    """Return the JSON schema of a tool's input. Raises ``CompileError`` where that is no object."""
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        schema = _tidy(model.model_json_schema(schema_generator=_quiet_generator()))
    except PydanticInvalidForJsonSchema as error:
        raise CompileError(f"tool {name!r}: its input has no JSON schema: {error.message}") from error
    reference = schema.get("$ref", "")
    if reference:  # a model that refers to itself
        schema = {**schema["$defs"][reference.rpartition("/")[2]], "$defs": schema["$defs"]}
    if schema.get("type") != "object":
        raise CompileError(
            f"tool {name!r}: its input must be an object, and {model.__name__} is "
            f"{schema.get('type') or 'a union'}; put it into a field of a model"
        )
    schema.setdefault("properties", {})
    return dict(schema)


@functools.cache
def _quiet_generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        # A default that is no JSON is left out of the schema; it stays the function's.
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # as in its base

    return Quiet


def _tidy(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of names: they cost tokens and say nothing."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {}
    for word, value in schema.items():
        if word in ("properties", "$defs"):
            tidied[word] = {key: _tidy(item) for key, item in value.items()}
        elif word in ("default", "const", "enum", "examples"):
            tidied[word] = value
        elif word != "title":
            tidied[word] = _tidy(value)
    return tidied
