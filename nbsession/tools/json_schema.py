"""JSON schemas as pydantic makes them, less what costs tokens and says nothing."""

from __future__ import annotations

import functools
import json
from typing import Any


@functools.cache
def generator() -> Any:
    """Return the class that pydantic makes schemas with."""
    from pydantic.json_schema import GenerateJsonSchema
    from pydantic_core import PydanticSerializationError

    class Generator(GenerateJsonSchema):
        # A default that is no JSON is left out of the schema; it stays the function's.
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # as in its base

        def is_subclass_schema(self, schema: Any) -> Any:
            """Refuse a class, as an instance is refused: no JSON is one."""
            return self.handle_invalid_for_json_schema(schema, "a class")

        def encode_default(self, dft: Any) -> Any:
            """Take infinity and NaN, for which JSON has no word, for a default that is no JSON."""
            try:
                json.dumps(dft, default=str, skipkeys=True, allow_nan=False)
            except ValueError as error:
                raise PydanticSerializationError(str(error)) from error
            return super().encode_default(dft)

        def generate(self, schema: Any, mode: Any = "validation") -> Any:
            """Refuse a schema that is no JSON, as of an enum with infinity in it."""
            made = super().generate(schema, mode)
            json.dumps(made, allow_nan=False)
            return made

    return Generator


def tidy(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of names."""
    if isinstance(schema, list):
        return [tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {}
    for word, value in schema.items():
        if word in ("properties", "$defs"):
            tidied[word] = {key: tidy(item) for key, item in value.items()}
        elif word in ("default", "const", "enum", "examples"):
            tidied[word] = value
        elif word != "title":
            tidied[word] = tidy(value)
    return tidied


def object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type that refers to itself with what it refers to at its top."""
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    return {**schema["$defs"][reference.rpartition("/")[2]], "$defs": schema["$defs"]}


_UNCHECKED = ("$ref", "$dynamicRef", "pattern", "patternProperties", "propertyNames", "format")


def checkable(schema: Any) -> Any:
    """Return what of somebody else's schema can be checked in a time that its size bounds: no references, no patterns."""
    if isinstance(schema, list):
        return [checkable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for word, value in schema.items():
        if word == "properties" and isinstance(value, dict):
            kept[word] = {name: checkable(item) for name, item in value.items()}
        elif word in ("default", "const", "enum", "examples"):
            kept[word] = value
        elif word not in _UNCHECKED and not (
            word == "additionalProperties" and "patternProperties" in schema
        ):
            kept[word] = checkable(value)
    return kept
